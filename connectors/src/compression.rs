//! Compressed bytes: told by the name of a file or by its first bytes, read and written as if they were plain.
//! Shared by [`crate::files`], [`crate::stdin`] and [`crate::file`].

use std::io;
use std::path::Path;

use async_compression::tokio::bufread::{BzDecoder, GzipDecoder, XzDecoder, ZstdDecoder};
use async_compression::tokio::write::{BzEncoder, GzipEncoder, XzEncoder, ZstdEncoder};
use tokio::fs::File;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncSeekExt, AsyncWrite, BufReader, SeekFrom};

/// How bytes are compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Compression {
    Plain,
    Gzip,
    Zstd,
    Bzip2,
    Xz,
}

/// Bytes to read, whatever they come from.
pub(crate) type Input = Box<dyn AsyncRead + Send + Unpin>;
/// Bytes to write, wherever they go.
pub(crate) type Target = Box<dyn AsyncWrite + Send + Unpin>;

/// How many bytes tell whether a file is compressed.
pub(crate) const MAGIC: u64 = 16;

/// How much compressed data is read at a time, in bytes.
const CHUNK: usize = 256 << 10;

impl Compression {
    /// By what options call it.
    pub(crate) fn of_name(name: &str) -> Option<Self> {
        Some(match name {
            "none" => Self::Plain,
            "gzip" | "gz" => Self::Gzip,
            "zstd" | "zst" => Self::Zstd,
            "bzip2" | "bz2" => Self::Bzip2,
            "xz" => Self::Xz,
            _ => return None,
        })
    }

    /// What names of such files end in.
    pub(crate) fn extension(self) -> &'static str {
        match self {
            Self::Plain => "",
            Self::Gzip => ".gz",
            Self::Zstd => ".zst",
            Self::Bzip2 => ".bz2",
            Self::Xz => ".xz",
        }
    }

    /// By the extension of `path`: `.gz`, `.zst`, `.bz2`, `.xz`.
    pub(crate) fn of_path(path: &Path) -> Self {
        match path.extension().and_then(|extension| extension.to_str()) {
            Some("gz" | "gzip") => Self::Gzip,
            Some("zst" | "zstd") => Self::Zstd,
            Some("bz2" | "bzip2") => Self::Bzip2,
            Some("xz") => Self::Xz,
            _ => Self::Plain,
        }
    }

    /// By the first bytes of a file.
    pub(crate) fn of_magic(head: &[u8]) -> Self {
        match head {
            [0x1F, 0x8B, ..] => Self::Gzip,
            [0x28, 0xB5, 0x2F, 0xFD, ..] => Self::Zstd,
            [b'B', b'Z', b'h', b'1'..=b'9', 0x31, 0x41, 0x59, 0x26, ..] => Self::Bzip2,
            [0xFD, b'7', b'z', b'X', b'Z', 0, ..] => Self::Xz,
            _ => Self::Plain,
        }
    }

    /// `input` decompressed, all its members (gzip, bzip2, xz) or frames (zstd). Where this is plain, the first bytes
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
            Self::Bzip2 => {
                let mut decoder = BzDecoder::new(input);
                decoder.multiple_members(true);
                Box::new(decoder)
            }
            Self::Xz => {
                let mut decoder = XzDecoder::new(input);
                decoder.multiple_members(true);
                Box::new(decoder)
            }
        })
    }

    /// What is in the file at `path` from byte `from` on, which is not 0: what is not compressed is not read up to
    /// there. `None` where the file is shorter.
    pub(crate) async fn reader_from(self, path: &Path, from: u64) -> io::Result<Option<Input>> {
        let mut file = File::open(path).await?;
        if self == Self::Plain {
            let mut magic = Vec::new();
            (&mut file).take(MAGIC).read_to_end(&mut magic).await?;
            if Self::of_magic(&magic) == Self::Plain {
                let is_there = file.metadata().await?.len() >= from;
                file.seek(SeekFrom::Start(from)).await?;
                return Ok(is_there.then(|| Box::new(file) as Input));
            }
            file.rewind().await?;
        }
        let mut input = self.reader(file).await?;
        let passed = pass(&mut input, from).await?;
        Ok((passed == from).then_some(input))
    }

    /// What compresses on its way to `output`. Shut it down to end the stream.
    pub(crate) fn writer(self, output: impl AsyncWrite + Send + Unpin + 'static) -> Target {
        match self {
            Self::Plain => Box::new(output),
            Self::Gzip => Box::new(GzipEncoder::new(output)),
            Self::Zstd => Box::new(ZstdEncoder::new(output)),
            Self::Bzip2 => Box::new(BzEncoder::new(output)),
            Self::Xz => Box::new(XzEncoder::new(output)),
        }
    }
}

/// Reads so many bytes and drops them, as far as there are as many; how many there were.
pub(crate) async fn pass(input: &mut Input, bytes: u64) -> io::Result<u64> {
    tokio::io::copy(&mut input.take(bytes), &mut tokio::io::sink()).await
}
