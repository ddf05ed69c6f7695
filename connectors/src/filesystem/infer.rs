//! The columns of a table that was declared without any: those of its first file.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use arrow_schema::SchemaRef;
use tokio::io::AsyncReadExt;
use updraft_dataflow::Error;

use super::find::{Found, required};
use super::settings::Settings;
use crate::compression::Compression;

/// How much of a file is looked at, in bytes.
const SAMPLE: usize = 1 << 20;

pub(super) fn infer(settings: &Settings, table: &str) -> Result<SchemaRef, Error> {
    let files = required(settings)?;
    let first = files.iter().find(|file| file.size > 0).unwrap_or(&files[0]);
    let schema = if settings.format.is_block() {
        settings.format.block_schema(&first.whole()?)?
    } else {
        let (sample, name) = (sample(first, settings)?, first.name());
        settings.format.text_schema(&sample).map_err(|error| -> Error {
            format!("table `{table}`: its columns cannot be told from {name}: {error}").into()
        })?
    };
    Ok(Arc::new(schema))
}

/// The beginning of a file, up to the end of a line.
fn sample(file: &Found, settings: &Settings) -> Result<Vec<u8>, Error> {
    let packed = file.head(SAMPLE)?;
    let cut = packed.len() == SAMPLE;
    let unpacked = unpacked(packed, settings.compression_of(&file.path));
    let mut sample = unpacked.map_err(|error| file.cannot_read(&error))?;
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
