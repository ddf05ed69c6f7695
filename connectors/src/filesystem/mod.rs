//! Tables that are files: `'connector' = 'filesystem'`.
//!
//! `settings.rs` reads the options, `find.rs` finds the files, `hive.rs` reads columns from the names of folders. `source.rs`
//! deals files out to partitions, cut up by `share.rs` and `section.rs`, or finds them as they come (`monitor.rs`);
//! `open.rs` reads one, of whose text `input.rs` has the bytes. `sink.rs` writes each as a draft (`draft.rs`), and
//! tells when partitions are complete (`commit.rs`, `moment.rs`); with checkpoints `transaction.rs` and `single.rs` see
//! to it that each row is written once. What is in the files is told by [`crate::columns`]; where they are if not on
//! disk, by `crate::store`.
//!
//! * `'path'` is a file, a folder (all files below it, but for those whose names, or whose folders' names, begin with `.` or `_`) or a glob;
//!   or the same in a store of objects: `s3://bucket/folder/*.parquet`, `gs://`, `az://`, `abfs://`, `http(s)://`, each if the
//!   build has the cargo feature (`aws`, `gcp`, `azure`, `http`).
//! * Columns of `PARTITIONED BY` are in no file, but in the names of folders: `dt=2026-01-01/hour=3/`.
//! * A table of columns that are not declared has those of its first file.
//! * With `'source.monitor-interval'` new files are read as they appear, each once, and the source never ends.
//! * A sink writes `part-….csv` and the like into a folder, or the file that the path names, if it has an extension. Files
//!   take their names when they are whole: see [`sink`](mod@sink).

use std::sync::Arc;

use arrow_schema::{DataType, Field, SchemaRef, TimeUnit};
use updraft_dataflow::Error;
use updraft_dataflow::connector::{AnySink, AnySource, Connector, OptionSpec, Scan, Table};

use crate::columns::Format;

mod commit;
mod counted;
mod draft;
mod find;
mod hive;
pub(crate) mod infer;
mod input;
mod moment;
mod monitor;
pub(crate) mod open;
mod plan;
mod section;
mod settings;
mod share;
mod single;
pub mod sink;
pub mod source;
mod text;
mod transaction;

pub use sink::FolderSink;
pub use source::FilesSource;

use settings::Settings;

/// The `filesystem` connector.
#[derive(Clone, Copy, Debug, Default)]
pub struct Filesystem;

impl Connector for Filesystem {
    fn name(&self) -> &'static str {
        "filesystem"
    }

    fn options(&self) -> Vec<OptionSpec> {
        [settings::OPTIONS.to_vec(), Format::options()].concat()
    }

    fn metadata(&self) -> Vec<(&'static str, DataType)> {
        vec![
            ("file.path", DataType::Utf8View),
            ("file.name", DataType::Utf8View),
            ("file.size", DataType::Int64),
            ("file.modification-time", DataType::Timestamp(TimeUnit::Millisecond, Some("UTC".into()))),
        ]
    }

    fn infer(&self, table: &Table) -> Result<SchemaRef, Error> {
        infer::infer(&Settings::of(table)?, &table.name)
    }

    fn is_bounded(&self, table: &Table) -> bool {
        // A value that is none is told where the source is made.
        table.bounded || table.options.get("source.monitor-interval").is_none()
    }

    fn size(&self, table: &Table) -> Option<u64> {
        let files = find::find(&Settings::of(table).ok()?).ok()?;
        Some(files.iter().map(|file| file.size).sum())
    }

    fn source(&self, table: &Table, scan: &Scan) -> Result<AnySource, Error> {
        Ok(AnySource::new(FilesSource::new(table, scan)?))
    }

    fn sink(&self, table: &Table) -> Result<AnySink, Error> {
        Ok(AnySink::new(FolderSink::new(table)?))
    }
}

/// The columns that are in the files, and which of the table's they are: all but those that it is partitioned by.
fn stored(table: &Table) -> (SchemaRef, Vec<usize>) {
    let kept = |column: &usize| !table.partition_keys.contains(column);
    let columns: Vec<usize> = (0..table.schema.fields().len()).filter(kept).collect();
    let fields: Vec<Arc<Field>> = columns.iter().map(|column| table.schema.fields()[*column].clone()).collect();
    (Arc::new(arrow_schema::Schema::new(fields)), columns)
}
