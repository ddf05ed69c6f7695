//! `updraft state show`.

use clap::Args;
use updraft::dataflow::Place;
use updraft::dataflow::checkpoint::{Archive, Kept, StateReader, layout_of};
use updraft_sql::Export;

use super::{checkpoint, existing, numbers, print, runtime, texts};
use crate::command::Outcome;
use crate::command::sql::Layout;

/// Show what a checkpoint is made of: where sources stand, what operators keep, what sinks have prepared.
#[derive(Args)]
pub(super) struct Show {
    /// The folder or URL that the job was given with --state, or a savepoint.
    dir: String,
    /// Which one; the newest by default.
    #[arg(long)]
    checkpoint: Option<u64>,
    /// Read the state of SQL's operators, and count its rows.
    #[arg(long)]
    rows: bool,
    /// How rows are shown.
    #[arg(long, short, value_enum)]
    output: Option<Layout>,
}

/// A line.
struct Line {
    folder: String,
    id: String,
    kind: Option<String>,
    objects: Option<u64>,
    rows: Option<u64>,
    bytes: Option<u64>,
    about: String,
}

impl Show {
    pub(super) fn run(self) -> Outcome {
        let mut lines = Vec::new();
        runtime()?.block_on(async {
            for (name, archive) in existing(&self.dir).await? {
                let kept = checkpoint(&self.dir, &archive, self.checkpoint).await?;
                self.show(&name, &archive, &kept, &mut lines).await?;
            }
            Ok::<_, Box<dyn std::error::Error + Send + Sync>>(())
        })?;
        let text = |of: &dyn Fn(&Line) -> Option<String>| texts(lines.iter().map(of));
        let number = |of: &dyn Fn(&Line) -> Option<u64>| numbers(lines.iter().map(of));
        let mut columns = vec![
            ("folder", text(&|line| Some(line.folder.clone()))),
            ("part", text(&|line| Some(line.id.clone()))),
            ("kind", text(&|line| line.kind.clone())),
            ("objects", number(&|line| line.objects)),
            ("bytes", number(&|line| line.bytes)),
        ];
        if self.rows {
            columns.push(("rows", number(&|line| line.rows)));
        }
        columns.push(("about", text(&|line| Some(line.about.clone()))));
        print(columns, self.output)
    }

    async fn show(
        &self,
        folder: &str,
        archive: &Archive,
        kept: &Kept,
        lines: &mut Vec<Line>,
    ) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        let folder = if folder.is_empty() { "." } else { folder };
        for (id, part) in &kept.manifest.parts {
            let line = Line {
                folder: folder.to_owned(),
                id: id.clone(),
                kind: None,
                objects: None,
                rows: None,
                bytes: None,
                about: String::new(),
            };
            lines.push(if id.starts_with("source ") {
                Line { about: places(&part.note), ..line }
            } else if id.starts_with("sink ") {
                let all = part.note.as_array().map(Vec::as_slice).unwrap_or_default();
                let prepared: Vec<_> = all.iter().filter(|one| !one.is_null()).map(ToString::to_string).collect();
                let about = if prepared.is_empty() {
                    "nothing prepared".into()
                } else {
                    format!("prepared: {}", prepared.join("; "))
                };
                Line { about, ..line }
            } else {
                let (layout, mut reader) = (layout_of(part), StateReader::new(archive, id, part)?);
                let objects = Some(reader.objects());
                let mut rows = None;
                if self.rows
                    && let Some(mut export) = Export::of(&layout)
                {
                    while let Some(saved) = reader.next().await? {
                        export.add(saved)?;
                    }
                    rows = Some(export.finish()?.num_rows() as u64);
                }
                let bytes = Some(part.files.iter().map(|file| file.bytes).sum());
                let columns = layout.tables.iter().map(|table| {
                    let columns = table.columns.iter().map(|column| format!("{} {}", column.name, column.data_type));
                    format!("{}({})", table.name, columns.collect::<Vec<_>>().join(", "))
                });
                let columns = columns.collect::<Vec<_>>().join(" ");
                let about = if layout.text.is_empty() { columns } else { format!("{}: {columns}", layout.text) };
                Line { kind: Some(layout.kind), objects, rows, bytes, about, ..line }
            });
        }
        Ok(())
    }
}

/// Where the partitions of a source stand.
fn places(note: &Place) -> String {
    let place = |partition: &Place| match &partition["place"] {
        place if place.is_null() => "cannot be read again".to_owned(),
        place => place.to_string(),
    };
    let partitions: Vec<_> = note.as_array().into_iter().flatten().map(place).collect();
    partitions.join("; ")
}
