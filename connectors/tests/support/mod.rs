//! Drives partitions and sinks on a kernel, without a job around them.
#![allow(dead_code, unused_imports, reason = "each test uses its part")]

pub(crate) mod kernel;

use std::io::Write;
use std::path::{Path, PathBuf};

use tokio::io::AsyncWriteExt;
use updraft_dataflow::{Batch, Bundle, DeadLetter, Error, Partition, Sink, Source};

pub(crate) use self::kernel::run;

/// What a partition gives until it ends.
#[derive(Debug, PartialEq)]
pub(crate) struct All<T> {
    pub(crate) records: Vec<T>,
    pub(crate) rejected: Vec<DeadLetter>,
}

impl<T: Clone> All<T> {
    pub(crate) fn add(&mut self, batch: Batch<T>) {
        self.records.extend(batch.records.into_vec());
        self.rejected.extend(batch.rejected);
    }
}

impl<T> Default for All<T> {
    fn default() -> Self {
        Self { records: Vec::new(), rejected: Vec::new() }
    }
}

pub(crate) async fn drain<P: Partition>(partition: &mut P, limit: usize) -> Result<All<P::Item>, Error> {
    let mut all = All::default();
    while let Some(batch) = partition.next(limit).await? {
        assert!(batch.records.len() + batch.rejected.len() > 0, "a batch of nothing");
        assert!(batch.records.len() <= limit, "more than asked for");
        all.add(batch);
    }
    Ok(all)
}

/// What each partition of `source` gives.
pub(crate) fn read_parts<S: Source>(source: S, limit: usize) -> Result<Vec<All<S::Item>>, Error> {
    let partitions = source.open()?;
    run(move || async move {
        let mut parts = Vec::new();
        for mut partition in partitions {
            parts.push(drain(&mut partition, limit).await?);
        }
        Ok(parts)
    })
}

/// What all partitions of `source` give, one after the other.
pub(crate) fn read<S: Source>(source: S, limit: usize) -> Result<All<S::Item>, Error> {
    let mut all = All::default();
    for part in read_parts(source, limit)? {
        all.records.extend(part.records);
        all.rejected.extend(part.rejected);
    }
    Ok(all)
}

/// Writes `bundles` to `sink` and closes it.
pub(crate) fn write<T: Send + 'static, S: Sink<T>>(mut sink: S, bundles: Vec<Vec<T>>) -> Result<(), Error> {
    run(move || async move {
        for bundle in bundles {
            sink.write(Bundle::from(bundle)).await?;
        }
        sink.close().await
    })
}

/// Writes a file; compressed, each of `parts` as a member of its own, as its name says.
pub(crate) fn put(path: &Path, parts: &[&[u8]]) {
    let packed = parts.iter().flat_map(|part| pack(path, part)).collect::<Vec<u8>>();
    std::fs::write(path, packed).unwrap();
}

/// Adds to a file that somebody may be following.
pub(crate) fn append(path: &Path, bytes: &[u8]) {
    let mut file = std::fs::OpenOptions::new().append(true).create(true).open(path).unwrap();
    file.write_all(bytes).unwrap();
}

fn pack(path: &Path, bytes: &[u8]) -> Vec<u8> {
    let bytes = bytes.to_vec();
    let extension = path.extension().and_then(|e| e.to_str()).unwrap_or_default().to_owned();
    run(move || async move {
        use async_compression::tokio::write::{BzEncoder, GzipEncoder, XzEncoder, ZstdEncoder};
        let mut out = Vec::new();
        match extension.as_str() {
            "gz" => finish(GzipEncoder::new(&mut out), &bytes).await,
            "bz2" => finish(BzEncoder::new(&mut out), &bytes).await,
            "xz" => finish(XzEncoder::new(&mut out), &bytes).await,
            "zst" => finish(ZstdEncoder::new(&mut out), &bytes).await,
            _ => out = bytes,
        }
        out
    })
}

async fn finish(mut encoder: impl tokio::io::AsyncWrite + Unpin, bytes: &[u8]) {
    encoder.write_all(bytes).await.unwrap();
    encoder.shutdown().await.unwrap();
}

/// All files of a folder and the folders in it, in order.
pub(crate) fn files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in folder.read_dir().unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { files.extend(self::files(&path)) } else { files.push(path) }
    }
    files.sort();
    files
}

/// Has `source` read to somewhere, told by `random`, then again by others that go on from where the one before stood,
/// `times` over; what they give together, partition by partition.
pub(crate) async fn read_on<S: Source>(
    source: impl Fn() -> S,
    limit: usize,
    times: usize,
    mut random: impl FnMut(u64) -> u64,
) -> Result<Vec<All<S::Item>>, Error> {
    let mut partitions = source().open()?;
    let mut parts: Vec<_> = partitions.iter().map(|_| All::default()).collect();
    for _ in 0..times {
        let mut places = Vec::new();
        for (partition, all) in partitions.iter_mut().zip(&mut parts) {
            for _ in 0..random(4) {
                let Some(batch) = partition.next(limit).await? else { break };
                all.add(batch);
            }
            // As text, as it is kept.
            let place = partition.place().map(|place| place.to_string());
            places.push(place.map(|place| serde_json::from_str(&place).unwrap()));
        }
        partitions = source().resume(places)?;
        assert_eq!(partitions.len(), parts.len());
    }
    for (partition, all) in partitions.iter_mut().zip(&mut parts) {
        while let Some(batch) = partition.next(limit).await? {
            all.add(batch);
        }
    }
    Ok(parts)
}
