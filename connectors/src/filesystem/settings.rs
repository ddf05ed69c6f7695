//! The options of a table of files.

use std::path::{Path, PathBuf};
use std::time::Duration;

use regex::Regex;
use updraft_dataflow::Error;
use updraft_dataflow::connector::{OptionSpec, Table};

use crate::columns::Format;
use crate::compression::Compression;

pub(super) const OPTIONS: [OptionSpec; 13] = [
    OptionSpec { name: "path", about: "A file, a folder or a glob (logs/*.csv.gz)." },
    OptionSpec {
        name: "compression",
        about: "How files are compressed: auto (by their names, the default), none, gzip or zstd.",
    },
    OptionSpec {
        name: "source.monitor-interval",
        about: "How often to look for new files (10 s, say); then the source never ends.",
    },
    OptionSpec { name: "source.path.regex-pattern", about: "Only files whose whole path matches are read." },
    OptionSpec { name: "source.report-statistics", about: "Accepted for Flink's sake; nothing is made of it." },
    OptionSpec { name: "source.partitions", about: "In how many parts files are read at the same time, at most (8)." },
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
];

/// How many partitions there are at most, unless said otherwise.
const PARTITIONS: usize = 8;

/// What the options say.
#[derive(Clone, Debug)]
pub(super) struct Settings {
    pub(super) path: String,
    pub(super) format: Format,
    /// `None`: by the names of the files.
    pub(super) compression: Option<Compression>,
    pub(super) monitor: Option<Duration>,
    pub(super) pattern: Option<Regex>,
    pub(super) partitions: usize,
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
        let compression = match options.get("compression") {
            None | Some("auto") => None,
            Some("none") => Some(Compression::Plain),
            Some("gzip" | "gz") => Some(Compression::Gzip),
            Some("zstd" | "zst") => Some(Compression::Zstd),
            Some(other) => return Err(format!("'compression' = '{other}': auto, none, gzip or zstd").into()),
        };
        let format = Format::of(options)?;
        if format.is_block() && compression.is_some_and(|compression| compression != Compression::Plain) {
            return Err(
                format!("'compression': '{format}' files are compressed within, if at all: leave it out").into()
            );
        }
        let pattern = options.get("source.path.regex-pattern").map(pattern).transpose()?;
        let time = |name| options.get(name).map(|text| duration(name, text)).transpose();
        options.parse::<usize>("sink.parallelism", "a number of tasks")?;
        let half_an_hour = Duration::from_secs(1_800);
        let size = options.get("sink.rolling-policy.file-size").map(size).transpose()?;
        let partitions = options.parse("source.partitions", "a number of partitions")?.unwrap_or(PARTITIONS);
        Ok(Self {
            path: local(options.required("path")?)?.to_owned(),
            format,
            compression,
            monitor: time("source.monitor-interval")?.filter(|_| !table.bounded),
            pattern,
            partitions: partitions.max(1),
            default_name: options.get("partition.default-name").unwrap_or("__DEFAULT_PARTITION__").to_owned(),
            roll: Roll {
                size: size.unwrap_or(128 << 20),
                age: time("sink.rolling-policy.rollover-interval")?.unwrap_or(half_an_hour),
                silence: time("sink.rolling-policy.inactivity-interval")?.unwrap_or(half_an_hour),
            },
        })
    }

    /// How a file is compressed.
    pub(super) fn compression_of(&self, path: &Path) -> Compression {
        self.compression.unwrap_or_else(|| Compression::of_path(path))
    }

    pub(super) fn path(&self) -> PathBuf {
        PathBuf::from(&self.path)
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
        Some((scheme, rest)) if rest.starts_with("//") => Err(format!(
            "'path' = '{path}': {scheme}:// is not read by this build; only files of this machine are: mount it, or copy it here"
        )
        .into()),
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
fn size(text: &str) -> Result<u64, Error> {
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
        .ok_or_else(|| format!("option 'sink.rolling-policy.file-size' = '{text}': not a size, such as '128MB'").into())
}

fn split(text: &str) -> (Option<f64>, String) {
    let text = text.trim();
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    (text[..end].parse().ok(), text[end..].trim().to_lowercase())
}
