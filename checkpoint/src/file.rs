//! Files of state: records by key group, in frames of bounded size, so that neither who writes nor who reads holds more than a
//! few of them.
//!
//! ```text
//! file  = "UPDRAFT\x01" frame* end
//! frame = length: u32, checksum: u32, group: u8, kind: u8, length bytes
//! kind  = 0: the record goes on in the next frame, 1: its end, 2: the end of the file, of which the bytes are how many frames
//!         there were: u64
//! ```
//!
//! Numbers are little-endian; the checksum is the CRC-32 of group, kind and bytes. What is cut off, or has a bit flipped, is found
//! when it is read, at the latest at the end: what has been read of a file counts only then.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::TryStreamExt;
use futures_util::stream::BoxStream;
use object_store::path::Path;
use object_store::{MultipartUpload, ObjectStore, ObjectStoreExt, PutMode, PutOptions, PutPayload};

use crate::{Error, File};

const MAGIC: &[u8; 8] = b"UPDRAFT\x01";
/// Bytes before those of a frame.
const HEAD: usize = 10;
/// Bytes of a frame, at most.
const FRAME: usize = if cfg!(test) { 16 } else { 1 << 20 };
/// Bytes that are sent at a time. Stores want 5 MiB at least.
const PART: usize = if cfg!(test) { 64 } else { 8 << 20 };

const MORE: u8 = 0;
const WHOLE: u8 = 1;
const END: u8 = 2;

/// Writes a file. One that is not [finished](Self::finish) does not count.
pub struct Writer {
    store: Arc<dyn ObjectStore>,
    path: Path,
    name: String,
    buffer: Vec<u8>,
    frames: u64,
    bytes: u64,
    checksum: crc32fast::Hasher,
    upload: Option<Box<dyn MultipartUpload>>,
}

impl Writer {
    pub(crate) fn new(store: Arc<dyn ObjectStore>, path: Path, name: String) -> Self {
        let checksum = crc32fast::Hasher::new();
        Self { store, path, name, buffer: MAGIC.to_vec(), frames: 0, bytes: 0, checksum, upload: None }
    }

    /// What the file is called.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Adds a record.
    ///
    /// # Errors
    /// When the store fails. Then the file is to be written anew, under another name.
    pub async fn write(&mut self, group: u8, mut record: &[u8]) -> Result<(), Error> {
        loop {
            let (now, later) = record.split_at(record.len().min(FRAME));
            self.frame(group, if later.is_empty() { WHOLE } else { MORE }, now);
            if self.buffer.len() >= PART {
                self.send().await?;
            }
            if later.is_empty() {
                return Ok(());
            }
            record = later;
        }
    }

    /// Ends the file, which is stored then.
    ///
    /// # Errors
    /// As [`write`](Self::write).
    pub async fn finish(mut self) -> Result<File, Error> {
        let frames = self.frames;
        self.frame(0, END, &frames.to_le_bytes());
        let error = Error::store("cannot write", &self.path);
        if self.upload.is_some() {
            self.send().await?;
        }
        let stored = match &mut self.upload {
            Some(upload) => upload.complete().await,
            None => {
                let payload = self.take();
                self.store.put_opts(&self.path, payload, PutOptions::from(PutMode::Create)).await
            }
        };
        stored.map_err(error)?;
        Ok(File { name: self.name, bytes: self.bytes, checksum: self.checksum.finalize() })
    }

    fn frame(&mut self, group: u8, kind: u8, bytes: &[u8]) {
        self.frames += 1;
        self.buffer.extend_from_slice(&(bytes.len() as u32).to_le_bytes());
        self.buffer.extend_from_slice(&checksum(group, kind, bytes).to_le_bytes());
        self.buffer.extend_from_slice(&[group, kind]);
        self.buffer.extend_from_slice(bytes);
    }

    /// What waits to be stored.
    fn take(&mut self) -> PutPayload {
        let bytes = std::mem::take(&mut self.buffer);
        self.bytes += bytes.len() as u64;
        self.checksum.update(&bytes);
        bytes.into()
    }

    async fn send(&mut self) -> Result<(), Error> {
        let payload = self.take();
        let upload = match &mut self.upload {
            Some(upload) => upload,
            none => {
                let upload = self.store.put_multipart(&self.path).await;
                none.insert(upload.map_err(Error::store("cannot write", &self.path))?)
            }
        };
        upload.put_part(payload).await.map_err(Error::store("cannot write", &self.path))
    }
}

fn checksum(group: u8, kind: u8, bytes: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&[group, kind]);
    hasher.update(bytes);
    hasher.finalize()
}

/// A record of a file, or a part of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Piece {
    /// The key group.
    pub group: u8,
    /// Its bytes: 1 MiB at most.
    pub bytes: Vec<u8>,
    /// Whether the record ends with it.
    pub ends: bool,
}

/// Finds the frames in the bytes of a file, however they come.
#[derive(Debug, Default)]
pub struct Decoder {
    buffer: Vec<u8>,
    /// Where in the buffer the next frame begins.
    at: usize,
    has_begun: bool,
    frames: u64,
    is_over: bool,
    /// Whether the last frame was not the end of its record.
    is_open: bool,
}

impl Decoder {
    /// More bytes have come.
    pub fn feed(&mut self, bytes: &[u8]) {
        self.buffer.drain(..std::mem::take(&mut self.at));
        self.buffer.extend_from_slice(bytes);
    }

    /// The next piece; none where more bytes are needed, or all have come.
    ///
    /// # Errors
    /// With what is wrong with the file.
    pub fn next_piece(&mut self) -> Result<Option<Piece>, String> {
        if !self.has_begun {
            let Some(magic) = self.buffer.first_chunk::<8>() else { return Ok(None) };
            if magic != MAGIC {
                return Err("it is no file of state, or of another version".into());
            }
            (self.has_begun, self.at) = (true, MAGIC.len());
        }
        let rest = &self.buffer[self.at..];
        if self.is_over && !rest.is_empty() {
            return Err("it goes on after its end".into());
        }
        let Some(head) = rest.first_chunk::<HEAD>() else { return Ok(None) };
        let [a, b, c, d, e, f, g, h, group, kind] = *head;
        let (length, expected) = (u32::from_le_bytes([a, b, c, d]) as usize, u32::from_le_bytes([e, f, g, h]));
        if length > FRAME {
            return Err(format!("frame {} is of {length} bytes, and may have {FRAME}", self.frames));
        }
        let Some(bytes) = rest.get(HEAD..HEAD + length) else { return Ok(None) };
        if checksum(group, kind, bytes) != expected {
            return Err(format!("the checksum of frame {} is another one", self.frames));
        }
        self.at += HEAD + length;
        match kind {
            MORE | WHOLE => {
                self.frames += 1;
                self.is_open = kind == MORE;
                Ok(Some(Piece { group, bytes: bytes.to_vec(), ends: kind == WHOLE }))
            }
            END if self.is_open => Err("it ends within a record".into()),
            END if bytes == self.frames.to_le_bytes() => {
                self.is_over = true;
                self.next_piece()
            }
            END => Err(format!("it has {} frames, and tells of another number", self.frames)),
            _ => Err(format!("frame {} is of the unknown kind {kind}", self.frames)),
        }
    }

    /// No more bytes will come.
    ///
    /// # Errors
    /// When the end is missing.
    pub fn finish(&self) -> Result<(), String> {
        if self.is_over { Ok(()) } else { Err(format!("it is cut off after {} frames", self.frames)) }
    }
}

/// Reads a file. What it gives counts only when it has come to the end without an error.
pub struct Reader {
    path: Path,
    file: File,
    stream: BoxStream<'static, object_store::Result<Bytes>>,
    decoder: Decoder,
    bytes: u64,
    checksum: crc32fast::Hasher,
}

impl Reader {
    pub(crate) async fn open(store: &dyn ObjectStore, path: Path, file: File) -> Result<Self, Error> {
        let stream = match store.get(&path).await {
            Ok(object) => object.into_stream(),
            Err(object_store::Error::NotFound { .. }) => return Err(Error::damaged(&path, "it is not there")),
            Err(error) => return Err(Error::store("cannot read", &path)(error)),
        };
        let (decoder, checksum) = (Decoder::default(), crc32fast::Hasher::new());
        Ok(Self { path, file, stream, decoder, bytes: 0, checksum })
    }

    /// The next record, or a part of it; none at the end.
    ///
    /// # Errors
    /// When the store fails, or the file is damaged.
    pub async fn next(&mut self) -> Result<Option<Piece>, Error> {
        loop {
            if let Some(piece) = self.decoder.next_piece().map_err(|reason| Error::damaged(&self.path, reason))? {
                return Ok(Some(piece));
            }
            let next = self.stream.try_next().await.map_err(Error::store("cannot read", &self.path))?;
            let Some(bytes) = next else { return self.end().map(|()| None) };
            self.bytes += bytes.len() as u64;
            self.checksum.update(&bytes);
            self.decoder.feed(&bytes);
        }
    }

    /// The next record, whole; none at the end.
    ///
    /// # Errors
    /// As [`next`](Self::next).
    pub async fn next_record(&mut self) -> Result<Option<Vec<u8>>, Error> {
        let mut record = Vec::new();
        while let Some(piece) = self.next().await? {
            record.extend(piece.bytes);
            if piece.ends {
                return Ok(Some(record));
            }
        }
        Ok(None)
    }

    fn end(&self) -> Result<(), Error> {
        let is_other = self.bytes != self.file.bytes || self.checksum.clone().finalize() != self.file.checksum;
        let whole = self.decoder.finish().and_then(|()| match is_other {
            true => Err("it is not the file that its checkpoint is made of".into()),
            false => Ok(()),
        });
        whole.map_err(|reason| Error::damaged(&self.path, reason))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

    use futures_util::future::{BoxFuture, FutureExt};
    use object_store::memory::InMemory;
    use proptest::prelude::*;

    use super::*;

    type Record = (u8, Vec<u8>);

    fn records() -> impl Strategy<Value = Vec<Record>> {
        // Some are of several frames, and all of several parts.
        proptest::collection::vec((any::<u8>(), proptest::collection::vec(any::<u8>(), 0..50)), 0..12)
    }

    fn now<T>(future: BoxFuture<'_, T>) -> T {
        future.now_or_never().expect("memory does not wait")
    }

    fn written(records: &[Record]) -> (Arc<dyn ObjectStore>, File, Vec<u8>) {
        let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
        let mut writer = Writer::new(store.clone(), Path::from("file"), "file".into());
        records.iter().for_each(|(group, bytes)| now(writer.write(*group, bytes).boxed()).unwrap());
        let file = now(writer.finish().boxed()).unwrap();
        let bytes = now(async { store.get(&Path::from("file")).await.unwrap().bytes().await.unwrap() }.boxed());
        (store, file, bytes.to_vec())
    }

    fn read(store: &dyn ObjectStore, file: &File) -> Result<Vec<Record>, Error> {
        let mut reader = now(Reader::open(store, Path::from("file"), file.clone()).boxed())?;
        let (mut records, mut open) = (Vec::new(), Vec::new());
        while let Some(piece) = now(reader.next().boxed())? {
            open.extend(piece.bytes);
            if piece.ends {
                records.push((piece.group, std::mem::take(&mut open)));
            }
        }
        Ok(records)
    }

    proptest! {
        #[test]
        fn what_is_read_is_what_was_written(records in records()) {
            let (store, file, bytes) = written(&records);
            prop_assert_eq!(file.bytes, bytes.len() as u64);
            prop_assert_eq!(read(&*store, &file).unwrap(), records);
        }

        /// Whatever is done to the bytes, it is told.
        #[test]
        fn damage_is_found(records in records(), place in any::<prop::sample::Index>(), bit in 0..8u32, cut in any::<bool>()) {
            let (store, file, mut bytes) = written(&records);
            let at = place.index(bytes.len());
            if cut { bytes.truncate(at) } else { bytes[at] ^= 1 << bit }
            now(store.put(&Path::from("file"), bytes.into()).boxed()).unwrap();
            let error = read(&*store, &file).unwrap_err();
            prop_assert!(matches!(error, Error::Damaged { .. }), "{}", error);
        }

        /// However the bytes come, and whatever they are: pieces or an error.
        #[test]
        fn any_bytes_can_be_decoded(records in records(), noise in proptest::collection::vec(any::<u8>(), 0..40), step in 1usize..30) {
            let (_, _, mut bytes) = written(&records);
            let whole = bytes.len();
            bytes.extend(&noise);
            let mut decoder = Decoder::default();
            let mut decode = || {
                let mut pieces = 0;
                for bytes in bytes.chunks(step) {
                    decoder.feed(bytes);
                    while decoder.next_piece()?.is_some() {
                        pieces += 1;
                    }
                }
                decoder.finish().map(|()| pieces)
            };
            let decoded = decode();
            prop_assert_eq!(decoded.is_ok(), bytes.len() == whole, "{:?}", decoded);
        }
    }
}
