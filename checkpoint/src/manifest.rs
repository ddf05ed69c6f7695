//! [`Manifest`]: what a checkpoint is made of.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// A checkpoint: of each part of a job, by its stable name, what it was.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Manifest {
    /// The job's name.
    pub job: String,
    /// The last epoch that is in it.
    pub epoch: u64,
    /// When it was asked for: microseconds since 1970.
    pub at: i64,
    /// How long it took until all was stored but this, in microseconds.
    #[serde(default)]
    pub took: u64,
    /// On how many kernels the job ran.
    #[serde(default)]
    pub kernels: u64,
    /// Whether the job has come to its end: then it is of sinks alone.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub finished: bool,
    /// What had been set while the job ran, as its owner writes it.
    #[serde(default, skip_serializing_if = "serde_json::Value::is_null")]
    pub control: serde_json::Value,
    /// Sources, stages and sinks.
    pub parts: BTreeMap<String, Part>,
}

/// What a part of a job was.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Part {
    /// What is too small for a file, as its owner writes it: the positions of a source, the open transactions of a sink.
    #[serde(default, skip_serializing_if = "serde_json::Value::is_null")]
    pub note: serde_json::Value,
    /// What is known of its state without reading it, as its owner writes it.
    #[serde(default, skip_serializing_if = "serde_json::Value::is_null")]
    pub about: serde_json::Value,
    /// In this order: what is in a later one is newer. Many are files of checkpoints before.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<File>,
}

/// A file of state.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct File {
    /// Its name in the folder of data.
    pub name: String,
    /// How long it is.
    pub bytes: u64,
    /// The CRC-32 of what stands before the bytes of all its [frames](crate::file).
    pub checksum: u32,
}

impl Manifest {
    /// All files that it is made of.
    pub fn files(&self) -> impl Iterator<Item = &File> {
        self.parts.values().flat_map(|part| &part.files)
    }

    /// How many bytes all files are.
    pub fn bytes(&self) -> u64 {
        self.files().map(|file| file.bytes).sum()
    }
}
