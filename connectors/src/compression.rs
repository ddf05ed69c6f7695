//! Compressed bytes: told by the name of a file or by its first bytes, read and written as if they were plain.
//! Shared by [`crate::files`], [`crate::stdin`] and [`crate::file`].

use std::io;
use std::path::Path;

use async_compression::tokio::bufread::{GzipDecoder, ZstdDecoder};
use async_compression::tokio::write::{GzipEncoder, ZstdEncoder};
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWrite, BufReader};

/// How bytes are compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Compression {
    Plain,
    Gzip,
    Zstd,
}

/// Bytes to read, whatever they come from.
pub(crate) type Input = Box<dyn AsyncRead + Send + Unpin>;
/// Bytes to write, wherever they go.
pub(crate) type Target = Box<dyn AsyncWrite + Send + Unpin>;

/// How much compressed data is read at a time, in bytes.
const CHUNK: usize = 256 << 10;

impl Compression {
    /// By the extension of `path`: `.gz`, `.zst`.
    pub(crate) fn of_path(path: &Path) -> Self {
        match path.extension().and_then(|extension| extension.to_str()) {
            Some("gz" | "gzip") => Self::Gzip,
            Some("zst" | "zstd") => Self::Zstd,
            _ => Self::Plain,
        }
    }

    /// By the first bytes of a file.
    fn of_magic(head: &[u8]) -> Self {
        match head {
            [0x1F, 0x8B, ..] => Self::Gzip,
            [0x28, 0xB5, 0x2F, 0xFD, ..] => Self::Zstd,
            _ => Self::Plain,
        }
    }

    /// `input` decompressed, all its members (gzip) or frames (zstd). Where this is plain, the first bytes
    /// of the input decide.
    pub(crate) async fn reader(self, input: impl AsyncRead + Send + Unpin + 'static) -> io::Result<Input> {
        let mut input = BufReader::with_capacity(CHUNK, input);
        let known = match self {
            Self::Plain => Self::of_magic(input.fill_buf().await?),
            named => named,
        };
        Ok(match known {
            Self::Plain => Box::new(input),
            Self::Gzip => {
                let mut decoder = GzipDecoder::new(input);
                decoder.multiple_members(true);
                Box::new(decoder)
            }
            Self::Zstd => {
                let mut decoder = ZstdDecoder::new(input);
                decoder.multiple_members(true);
                Box::new(decoder)
            }
        })
    }

    /// What compresses on its way to `output`. Shut it down to end the stream.
    pub(crate) fn writer(self, output: impl AsyncWrite + Send + Unpin + 'static) -> Target {
        match self {
            Self::Plain => Box::new(output),
            Self::Gzip => Box::new(GzipEncoder::new(output)),
            Self::Zstd => Box::new(ZstdEncoder::new(output)),
        }
    }
}
