//! The options of a table of files.

use std::path::{Path, PathBuf};
use std::time::Duration;

use regex::Regex;
use updraft_dataflow::Error;
use updraft_dataflow::connector::{OptionSpec, Options, Table};

use crate::columns::Format;
use crate::compression::Compression;
use crate::store::Store;

pub(super) const OPTIONS: [OptionSpec; 25] = [
    OptionSpec {
        name: "path",
        about: "A file, a folder or a glob (logs/*.csv.gz), or a URL of them (s3://bucket/logs).",
    },
    OptionSpec {
        name: "compression",
        about: "How files are compressed: auto (by their names, the default), none, gzip, zstd, bzip2 or xz.",
    },
    OptionSpec {
        name: "source.monitor-interval",
        about: "How often to look for new files (10 s, say); then the source never ends.",
    },
    OptionSpec { name: "source.path.regex-pattern", about: "Only files whose whole path matches are read." },
    OptionSpec { name: "source.report-statistics", about: "Accepted for Flink's sake; nothing is made of it." },
    OptionSpec { name: "source.partitions", about: "In how many parts files are read at the same time, at most (8)." },
    OptionSpec {
        name: "source.split-size",
        about: "How large a file of lines must be to be read in two parts at the same time, and so on (64MB in batch mode; \
                streams go through files from one end to the other, for their times mostly ascend).",
    },
    OptionSpec {
        name: "partition.default-name",
        about: "The folder of rows whose partition column is NULL or empty (__DEFAULT_PARTITION__).",
    },
    OptionSpec { name: "sink.parallelism", about: "Accepted for Flink's sake: one task writes." },
    OptionSpec { name: "sink.rolling-policy.file-size", about: "After how much a new file is begun (128MB)." },
    OptionSpec {
        name: "sink.rolling-policy.rollover-interval",
        about: "After how long a new file is begun, where the job has no end (30 min).",
    },
    OptionSpec {
        name: "sink.rolling-policy.check-interval",
        about: "Accepted for Flink's sake: files are looked at with every bundle and epoch.",
    },
    OptionSpec {
        name: "sink.rolling-policy.inactivity-interval",
        about: "After how long without a row a file is ended, where the job has no end (30 min).",
    },
    OptionSpec { name: "sink.shuffle-by-partition.enable", about: "Accepted for Flink's sake: one task writes." },
    OptionSpec { name: "auto-compaction", about: "'false': files stay as they were written." },
    OptionSpec {
        name: "partition.time-extractor.kind",
        about: "'default': a partition's time is told by the pattern below.",
    },
    OptionSpec { name: "partition.time-extractor.class", about: "Refused: no classes can be loaded." },
    OptionSpec {
        name: "partition.time-extractor.timestamp-pattern",
        about: "A partition's time, with $name for a column's value: '$dt $hm:00' (the first column's value).",
    },
    OptionSpec {
        name: "partition.time-extractor.timestamp-formatter",
        about: "How that time is written, of yyyy, MM, dd, HH, mm, ss and SSS (yyyy-MM-dd, with or without HH:mm:ss).",
    },
    OptionSpec {
        name: "sink.partition-commit.trigger",
        about: "When a partition is complete: by 'process-time' (the default), or by 'partition-time' and the watermark.",
    },
    OptionSpec {
        name: "sink.partition-commit.delay",
        about: "How long after its first row, or its time, a partition is complete (0 s: once its files are whole, or from its time on).",
    },
    OptionSpec { name: "sink.partition-commit.watermark-time-zone", about: "Where it is a partition's time (UTC)." },
    OptionSpec {
        name: "sink.partition-commit.policy.kind",
        about: "What is done for a complete partition: 'success-file' (nothing).",
    },
    OptionSpec { name: "sink.partition-commit.policy.class", about: "Refused: no classes can be loaded." },
    OptionSpec {
        name: "sink.partition-commit.success-file.name",
        about: "The empty file that says that a partition is complete (_SUCCESS).",
    },
];

/// How many partitions there are at most, unless said otherwise.
const PARTITIONS: usize = 8;
/// How much of a file of lines a partition reads in batch mode, about, in bytes.
const SPLIT: u64 = 64 << 20;

/// What the options say.
#[derive(Clone, Debug)]
pub(super) struct Settings {
    /// Where `path` is; on disk if it is `None`.
    pub(super) store: Option<Store>,
    pub(super) path: String,
    pub(super) format: Format,
    /// `None`: by the names of the files.
    pub(super) compression: Option<Compression>,
    pub(super) monitor: Option<Duration>,
    pub(super) pattern: Option<Regex>,
    pub(super) partitions: usize,
    /// How much of a file of lines each of several partitions reads, about; all, if not said.
    pub(super) split: Option<u64>,
    pub(super) default_name: String,
    pub(super) roll: Roll,
}

/// When a sink begins a new file.
#[derive(Clone, Copy, Debug)]
pub(super) struct Roll {
    pub(super) size: u64,
    pub(super) age: Duration,
    pub(super) silence: Duration,
}

impl Settings {
    pub(super) fn of(table: &Table) -> Result<Self, Error> {
        let options = &table.options;
        let format = Format::of(options)?;
        let compression = compression(options, &format)?;
        let pattern = options.get("source.path.regex-pattern").map(pattern).transpose()?;
        options.parse::<usize>("sink.parallelism", "a number of tasks")?;
        if options.parse("auto-compaction", "'true' or 'false'")? == Some(true) {
            let remedy = "raise 'sink.rolling-policy.rollover-interval' for larger files";
            return Err(format!("'auto-compaction' = 'true': files are not compacted; {remedy}").into());
        }
        let path = options.required("path")?;
        let (store, path) = match Store::of_url(path)? {
            Some((store, path)) => (Some(store), path),
            None => (None, local(path)?.to_owned()),
        };
        let partitions = options.parse("source.partitions", "a number of partitions")?.unwrap_or(PARTITIONS);
        Ok(Self {
            store,
            path,
            format,
            compression,
            monitor: time(options, "source.monitor-interval")?.filter(|_| !table.bounded),
            pattern,
            partitions: partitions.max(1),
            split: bytes(options, "source.split-size")?.or(table.bounded.then_some(SPLIT)),
            default_name: options.get("partition.default-name").unwrap_or("__DEFAULT_PARTITION__").to_owned(),
            roll: Roll::of(options)?,
        })
    }

    /// How a file is compressed.
    pub(super) fn compression_of(&self, path: &Path) -> Compression {
        self.compression.unwrap_or_else(|| Compression::of_path(path))
    }

    pub(super) fn path(&self) -> PathBuf {
        PathBuf::from(&self.path)
    }

    /// The path, for people.
    pub(super) fn name(&self) -> String {
        self.store.as_ref().map_or_else(|| self.path.clone(), |store| store.name(&self.path))
    }
}

impl Roll {
    fn of(options: &Options) -> Result<Self, Error> {
        let half_an_hour = Duration::from_secs(1_800);
        time(options, "sink.rolling-policy.check-interval")?;
        Ok(Self {
            size: bytes(options, "sink.rolling-policy.file-size")?.unwrap_or(128 << 20),
            age: time(options, "sink.rolling-policy.rollover-interval")?.unwrap_or(half_an_hour),
            silence: time(options, "sink.rolling-policy.inactivity-interval")?.unwrap_or(half_an_hour),
        })
    }
}

fn time(options: &Options, name: &str) -> Result<Option<Duration>, Error> {
    options.get(name).map(|text| duration(name, text)).transpose()
}

fn bytes(options: &Options, name: &str) -> Result<Option<u64>, Error> {
    options.get(name).map(|text| size(name, text)).transpose()
}

/// `None` where it is told by the files' names.
fn compression(options: &Options, format: &Format) -> Result<Option<Compression>, Error> {
    let Some(name) = options.get("compression").filter(|name| *name != "auto") else { return Ok(None) };
    match Compression::of_name(name) {
        None => Err(format!("'compression' = '{name}': auto, none, gzip, zstd, bzip2 or xz").into()),
        Some(Compression::Plain) => Ok(Some(Compression::Plain)),
        Some(_) if format.is_block() => {
            Err(format!("'compression': '{format}' files are compressed within, if at all: leave it out").into())
        }
        known => Ok(known),
    }
}

fn pattern(text: &str) -> Result<Regex, Error> {
    Regex::new(&format!("^(?:{text})$"))
        .map_err(|error| format!("'source.path.regex-pattern' = '{text}': not a regular expression: {error}").into())
}

/// The path of a place on this machine.
fn local(path: &str) -> Result<&str, Error> {
    match path.split_once(':') {
        Some(("file", rest)) => Ok(rest.strip_prefix("//").unwrap_or(rest)),
        _ if path.is_empty() => Err("'path' is empty: name a file, a folder or a glob".into()),
        _ => Ok(path),
    }
}

/// A number and a unit: `10 s`, `500ms`, `1 min`.
pub(super) fn duration(name: &str, text: &str) -> Result<Duration, Error> {
    let (number, unit) = split(text);
    let millis = match unit.as_str() {
        "ms" | "milli" | "millis" | "millisecond" | "milliseconds" | "" => 1.0,
        "s" | "sec" | "secs" | "second" | "seconds" => 1_000.0,
        "m" | "min" | "mins" | "minute" | "minutes" => 60_000.0,
        "h" | "hour" | "hours" => 3_600_000.0,
        "d" | "day" | "days" => 86_400_000.0,
        _ => f64::NAN,
    };
    number
        .map(|number| number * millis / 1_000.0)
        .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
        .filter(|duration| !duration.is_zero())
        .ok_or_else(|| format!("option '{name}' = '{text}': not a duration, such as '10 s' or '1 min'").into())
}

/// A number of bytes: `128MB`, `1 gb`.
fn size(name: &str, text: &str) -> Result<u64, Error> {
    let (number, unit) = split(text);
    let bytes = match unit.as_str() {
        "" | "b" | "bytes" => 1u64,
        "k" | "kb" | "kib" => 1 << 10,
        "m" | "mb" | "mib" => 1 << 20,
        "g" | "gb" | "gib" => 1 << 30,
        "t" | "tb" | "tib" => 1 << 40,
        _ => 0,
    };
    number
        .map(|number| (number * bytes as f64) as u64)
        .filter(|bytes| *bytes > 0)
        .ok_or_else(|| format!("option '{name}' = '{text}': not a size, such as '128MB'").into())
}

fn split(text: &str) -> (Option<f64>, String) {
    let text = text.trim();
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    (text[..end].parse().ok(), text[end..].trim().to_lowercase())
}
