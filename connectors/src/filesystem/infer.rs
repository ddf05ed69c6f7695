//! The columns of a table that was declared without any: those of its first file.

use std::fs::File;
use std::future::Future;
use std::io::Read;
use std::path::Path;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use arrow_schema::SchemaRef;
use tokio::io::AsyncReadExt;
use updraft_dataflow::Error;

use super::find::required;
use super::settings::Settings;
use crate::columns::blocks::Whole;
use crate::compression::Compression;
use crate::files::cannot_read;

/// How much of a file is looked at, in bytes.
const SAMPLE: usize = 1 << 20;

pub(super) fn infer(settings: &Settings, table: &str) -> Result<SchemaRef, Error> {
    let files = required(settings)?;
    let first = files.iter().find(|file| file.size > 0).unwrap_or(&files[0]);
    let open = || File::open(&first.path).map_err(|error| cannot_read(&first.path, &error));
    let schema = if settings.format.is_block() {
        settings.format.block_schema(&Whole { file: open()?, name: first.name() })?
    } else {
        let failed = |error| cannot_read(&first.path, &error);
        let sample = sample(open()?, settings, &first.path).map_err(failed)?;
        let name = first.name();
        settings.format.text_schema(&sample).map_err(|error| -> Error {
            format!("table `{table}`: its columns cannot be told from {name}: {error}").into()
        })?
    };
    Ok(Arc::new(schema))
}

/// The beginning of a file, up to the end of a line.
fn sample(file: File, settings: &Settings, path: &Path) -> std::io::Result<Vec<u8>> {
    let mut packed = Vec::new();
    file.take(SAMPLE as u64).read_to_end(&mut packed)?;
    let cut = packed.len() == SAMPLE;
    let mut sample = unpacked(packed, settings.compression_of(path))?;
    if cut {
        let end = memchr::memrchr(b'\n', &sample).map_or(sample.len(), |end| end + 1);
        sample.truncate(end);
    }
    Ok(sample)
}

/// What compressed bytes say, as far as they go.
pub(crate) fn unpacked(packed: Vec<u8>, compression: Compression) -> std::io::Result<Vec<u8>> {
    let unpack = async {
        let mut reader = compression.reader(std::io::Cursor::new(packed)).await?;
        let mut bytes = Vec::new();
        // It may be cut off: what came before that counts.
        while bytes.len() < 4 * SAMPLE && matches!(reader.read_buf(&mut bytes).await, Ok(1..)) {}
        Ok(bytes)
    };
    // Bytes in memory are always there: nothing is waited for.
    match pin!(unpack).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(bytes) => bytes,
        Poll::Pending => Err(std::io::Error::other("cannot be unpacked")),
    }
}
