//! `updraft state export`.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use updraft::connectors::columns::Format;
use updraft::dataflow::checkpoint::{StateReader, layout_of};
use updraft::dataflow::{Error, Saved};
use updraft_sql::Export as Table;
use updraft_sql::arrow::array::{ArrayRef, BinaryArray, Int16Array, Int64Array, RecordBatch};

use super::{checkpoint, existing, runtime};
use crate::command::Outcome;

/// Write what an operator keeps to a Parquet file.
#[derive(Args)]
pub(super) struct Export {
    /// The folder or URL that the job was given with --state, or a savepoint.
    dir: String,
    /// The operator, as `updraft state show` calls it; `stage` may be left out.
    operator: String,
    /// The file.
    file: PathBuf,
    /// Of which checkpoint; the newest by default.
    #[arg(long)]
    checkpoint: Option<u64>,
}

impl Export {
    pub(super) fn run(self) -> Outcome {
        let dir = &self.dir;
        let batch = runtime()?.block_on(async {
            let mut known = Vec::new();
            for (name, archive) in existing(dir).await? {
                let kept = checkpoint(dir, &archive, self.checkpoint).await?;
                let is_asked = |id: &str| id == self.operator || id.strip_prefix("stage ") == Some(&self.operator);
                let Some((id, part)) = kept.manifest.parts.iter().find(|(id, _)| is_asked(id)) else {
                    known.extend(kept.manifest.parts.into_keys().filter(|id| id.starts_with("stage ")));
                    continue;
                };
                if !id.starts_with("stage ") {
                    return Err(format!(
                        "{dir}: {id} has no state that could be written to a table; see `updraft state show {dir}`"
                    )
                    .into());
                }
                let layout = layout_of(part);
                let mut reader = StateReader::new(&archive, id, part)?;
                let failed = |error: &dyn std::fmt::Display| format!("{dir}: {name}: {id}: {error}");
                let mut table = Table::of(&layout);
                let mut records = Records::default();
                while let Some(saved) = reader.next().await.map_err(|error| failed(&error))? {
                    match &mut table {
                        Some(table) => table.add(saved).map_err(|error| failed(&error))?,
                        None => records.add(saved),
                    }
                }
                let batch = match table {
                    Some(table) => table.finish(),
                    None => records.finish(),
                };
                return Ok(batch.map_err(|error| failed(&error))?);
            }
            let known = if known.is_empty() { "no operator with state".into() } else { known.join(", ") };
            Err::<_, Box<dyn std::error::Error + Send + Sync>>(
                format!("{dir}: there is no `{}`: there is {known}", self.operator).into(),
            )
        })?;
        let rows = batch.num_rows();
        write(&self.file, batch).map_err(|error| format!("{}: {error}", self.file.display()))?;
        eprintln!("{}: {rows} rows", self.file.display());
        Ok(())
    }
}

fn write(file: &Path, batch: RecordBatch) -> Outcome {
    let options = [("format".to_owned(), "parquet".to_owned())].into_iter().collect();
    let mut encoder = Format::of(&options)?.file_encoder(&batch.schema())?;
    let mut bytes = Vec::new();
    encoder.encode(&batch, &mut bytes)?;
    encoder.finish(&mut bytes)?;
    std::fs::write(file, bytes)?;
    Ok(())
}

/// The records of an operator whose state only its own types can read.
#[derive(Default)]
struct Records {
    objects: Vec<u64>,
    first: Vec<u8>,
    last: Vec<u8>,
    bytes: Vec<Vec<u8>>,
}

impl Records {
    fn add(&mut self, saved: Saved) {
        self.objects.push(saved.object.0);
        self.first.push(saved.groups.start().0);
        self.last.push(saved.groups.end().0);
        self.bytes.push(saved.bytes);
    }

    fn finish(self) -> Result<RecordBatch, Error> {
        let group =
            |groups: Vec<u8>| Arc::new(Int16Array::from_iter_values(groups.into_iter().map(i16::from))) as ArrayRef;
        let columns: [(&str, ArrayRef); 4] = [
            ("object", Arc::new(Int64Array::from_iter_values(self.objects.into_iter().map(|object| object as i64)))),
            ("first_key_group", group(self.first)),
            ("last_key_group", group(self.last)),
            ("record", Arc::new(BinaryArray::from_iter_values(self.bytes))),
        ];
        Ok(RecordBatch::try_from_iter(columns)?)
    }
}
