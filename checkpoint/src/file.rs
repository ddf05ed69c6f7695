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
//! when it is read, at the latest at the end: what has been read of a file counts only then. By the CRC-32 of what stands before the
//! bytes of all frames, their checksums among it, it is known whether it is the file that is meant.

use std::sync::Arc;

use bytes::{Buf, Bytes, BytesMut};
use futures_util::TryStreamExt;
use futures_util::stream::{self, BoxStream, StreamExt};
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
/// Bytes that are worth being sent as they are: fewer are copied, to be sent with what is around them.
const LARGE: usize = if cfg!(test) { 8 } else { 4 << 10 };

/// Bytes that are read at a time, and how often that is done ahead.
const RANGE: u64 = if cfg!(test) { 24 } else { 4 << 20 };
const AHEAD: usize = 2;

const MORE: u8 = 0;
const WHOLE: u8 = 1;
const END: u8 = 2;

/// Writes a file. One that is not [finished](Self::finish) does not count.
pub struct Writer {
    store: Arc<dyn ObjectStore>,
    path: Path,
    name: String,
    /// What is to be sent, and how many bytes that is.
    parts: Vec<Bytes>,
    waiting: usize,
    /// What comes after that, and can still be added to.
    open: BytesMut,
    frames: u64,
    bytes: u64,
    checksum: crc32fast::Hasher,
    upload: Option<Box<dyn MultipartUpload>>,
}

impl Writer {
    pub(crate) fn new(store: Arc<dyn ObjectStore>, path: Path, name: String) -> Self {
        let (parts, open, checksum) = (Vec::new(), BytesMut::new(), crc32fast::Hasher::new());
        let mut new = Self { store, path, name, parts, waiting: 0, open, frames: 0, bytes: 0, checksum, upload: None };
        new.add(MAGIC);
        new
    }

    /// What the file is called.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Adds a record, of parts that follow each other.
    ///
    /// # Errors
    /// When the store fails. Then the file is to be written anew, under another name.
    pub async fn write(&mut self, group: u8, record: &[Bytes]) -> Result<(), Error> {
        let mut later = record.to_vec();
        loop {
            let now = cut(&mut later, FRAME);
            self.frame(group, if later.is_empty() { WHOLE } else { MORE }, &now);
            if self.waiting >= PART {
                self.send().await?;
            }
            if later.is_empty() {
                return Ok(());
            }
        }
    }

    /// Ends the file, which is stored then.
    ///
    /// # Errors
    /// As [`write`](Self::write).
    pub async fn finish(mut self) -> Result<File, Error> {
        let frames = self.frames;
        self.frame(0, END, &[Bytes::copy_from_slice(&frames.to_le_bytes())]);
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

    fn frame(&mut self, group: u8, kind: u8, bytes: &[Bytes]) {
        self.frames += 1;
        let length: usize = bytes.iter().map(Bytes::len).sum();
        let [a, b, c, d] = (length as u32).to_le_bytes();
        let [e, f, g, h] = checksum(group, kind, bytes.iter().map(|bytes| &**bytes)).to_le_bytes();
        let head: [u8; HEAD] = [a, b, c, d, e, f, g, h, group, kind];
        self.checksum.update(&head);
        self.add(&head);
        for bytes in bytes {
            if bytes.len() < LARGE {
                self.add(bytes);
            } else {
                self.close();
                self.count(bytes);
                self.parts.push(bytes.clone());
            }
        }
    }

    fn add(&mut self, bytes: &[u8]) {
        self.count(bytes);
        self.open.extend_from_slice(bytes);
    }

    fn count(&mut self, bytes: &[u8]) {
        self.waiting += bytes.len();
        self.bytes += bytes.len() as u64;
    }

    /// What has been copied is not added to any more.
    fn close(&mut self) {
        if !self.open.is_empty() {
            self.parts.push(self.open.split().freeze());
        }
    }

    /// What waits to be stored.
    fn take(&mut self) -> PutPayload {
        self.close();
        self.waiting = 0;
        self.parts.drain(..).collect()
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

/// Takes up to `most` bytes off the first ones of `parts`.
fn cut(parts: &mut Vec<Bytes>, mut most: usize) -> Vec<Bytes> {
    let mut taken = Vec::with_capacity(parts.len());
    for part in parts.iter_mut() {
        let first = part.split_to(part.len().min(most));
        most -= first.len();
        taken.push(first);
    }
    parts.retain(|part| !part.is_empty());
    taken
}

fn checksum<'a>(group: u8, kind: u8, bytes: impl IntoIterator<Item = &'a [u8]>) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&[group, kind]);
    bytes.into_iter().for_each(|bytes| hasher.update(bytes));
    hasher.finalize()
}

/// A record of a file, or a part of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Piece {
    /// The key group.
    pub group: u8,
    /// Its bytes: 1 MiB at most.
    pub bytes: Bytes,
    /// Whether the record ends with it.
    pub ends: bool,
}

/// Finds the frames in the bytes of a file, however they come.
#[derive(Debug, Default)]
pub struct Decoder {
    /// What comes next.
    buffer: BytesMut,
    has_begun: bool,
    frames: u64,
    is_over: bool,
    /// Whether the last frame was not the end of its record.
    is_open: bool,
    /// Of what stands before the bytes of all frames.
    checksum: crc32fast::Hasher,
}

impl Decoder {
    /// More bytes have come.
    pub fn feed(&mut self, bytes: &[u8]) {
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
            self.has_begun = true;
            self.buffer.advance(MAGIC.len());
        }
        if self.is_over && !self.buffer.is_empty() {
            return Err("it goes on after its end".into());
        }
        let Some(head) = self.buffer.first_chunk::<HEAD>() else { return Ok(None) };
        let [a, b, c, d, e, f, g, h, group, kind] = *head;
        let (length, expected) = (u32::from_le_bytes([a, b, c, d]) as usize, u32::from_le_bytes([e, f, g, h]));
        if length > FRAME {
            return Err(format!("frame {} is of {length} bytes, and may have {FRAME}", self.frames));
        }
        if self.buffer.len() < HEAD + length {
            return Ok(None);
        }
        self.checksum.update(head);
        self.buffer.advance(HEAD);
        let bytes = self.buffer.split_to(length).freeze();
        if checksum(group, kind, [&*bytes]) != expected {
            return Err(format!("the checksum of frame {} is another one", self.frames));
        }
        match kind {
            MORE | WHOLE => {
                self.frames += 1;
                self.is_open = kind == MORE;
                Ok(Some(Piece { group, bytes, ends: kind == WHOLE }))
            }
            END if self.is_open => Err("it ends within a record".into()),
            END if *bytes == self.frames.to_le_bytes() => {
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

/// Reads a file, some pieces of it ahead. What it gives counts only when it has come to the end without an error.
pub struct Reader {
    path: Path,
    file: File,
    ranges: BoxStream<'static, object_store::Result<Bytes>>,
    decoder: Decoder,
}

impl Reader {
    pub(crate) async fn open(store: Arc<dyn ObjectStore>, path: Path, file: File) -> Result<Self, Error> {
        must_be_there(&*store, &path, file.bytes).await?;
        let ranges = (0..file.bytes).step_by(RANGE as usize).map({
            let (path, end) = (path.clone(), file.bytes);
            move |from| {
                let (store, path) = (store.clone(), path.clone());
                async move { store.get_range(&path, from..end.min(from + RANGE)).await }
            }
        });
        let ranges = stream::iter(ranges).buffered(AHEAD).boxed();
        Ok(Self { path, file, ranges, decoder: Decoder::default() })
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
            let next = self.ranges.try_next().await.map_err(Error::store("cannot read", &self.path))?;
            let Some(bytes) = next else { return self.end().map(|()| None) };
            self.decoder.feed(&bytes);
        }
    }

    /// The next record, whole; none at the end.
    ///
    /// # Errors
    /// As [`next`](Self::next).
    pub async fn next_record(&mut self) -> Result<Option<Bytes>, Error> {
        let mut record = BytesMut::new();
        while let Some(Piece { bytes, ends, .. }) = self.next().await? {
            // Most are of one piece, which is not copied.
            if ends && record.is_empty() {
                return Ok(Some(bytes));
            }
            record.extend_from_slice(&bytes);
            if ends {
                return Ok(Some(record.freeze()));
            }
        }
        Ok(None)
    }

    fn end(&self) -> Result<(), Error> {
        let whole = self.decoder.finish().and_then(|()| match self.decoder.checksum.clone().finalize() {
            checksum if checksum == self.file.checksum => Ok(()),
            _ => Err("it is not the file that its checkpoint is made of".into()),
        });
        whole.map_err(|reason| Error::damaged(&self.path, reason))
    }
}

/// A file has to be there, and of so many bytes.
pub(crate) async fn must_be_there(store: &dyn ObjectStore, path: &Path, bytes: u64) -> Result<(), Error> {
    match store.head(path).await {
        Ok(meta) if meta.size == bytes => Ok(()),
        Ok(meta) => Err(Error::damaged(path, format!("it is of {} bytes, and was of {bytes}", meta.size))),
        Err(object_store::Error::NotFound { .. }) => Err(Error::damaged(path, "it is not there")),
        Err(error) => Err(Error::store("cannot look for", path)(error)),
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
        for (group, bytes) in records {
            // In two parts, of which either may be empty.
            let (first, rest) = bytes.split_at(bytes.len() / 3);
            let parts = [first, rest].map(Bytes::copy_from_slice);
            now(writer.write(*group, &parts).boxed()).unwrap();
        }
        let file = now(writer.finish().boxed()).unwrap();
        let bytes = now(async { store.get(&Path::from("file")).await.unwrap().bytes().await.unwrap() }.boxed());
        (store, file, bytes.to_vec())
    }

    fn read(store: &Arc<dyn ObjectStore>, file: &File) -> Result<Vec<Record>, Error> {
        let mut reader = now(Reader::open(store.clone(), Path::from("file"), file.clone()).boxed())?;
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
            prop_assert_eq!(read(&store, &file).unwrap(), records);
        }

        /// Whatever is done to the bytes, it is told.
        #[test]
        fn damage_is_found(records in records(), place in any::<prop::sample::Index>(), bit in 0..8u32, cut in any::<bool>()) {
            let (store, file, mut bytes) = written(&records);
            let at = place.index(bytes.len());
            if cut { bytes.truncate(at) } else { bytes[at] ^= 1 << bit }
            now(store.put(&Path::from("file"), bytes.into()).boxed()).unwrap();
            let error = read(&store, &file).unwrap_err();
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
