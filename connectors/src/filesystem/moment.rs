//! The time that a partition stands for, told from the names of its folders: `'partition.time-extractor.…'`.

use chrono::{NaiveDate, NaiveDateTime, TimeDelta, TimeZone};
use chrono_tz::Tz;
use updraft_dataflow::connector::Options;
use updraft_dataflow::{Error, Time};

use super::hive;

/// How to tell the time of a partition.
#[derive(Clone, Debug)]
pub(super) struct Moments {
    /// With `$name` for the value of a column; without one the first column's value is the time.
    pattern: Option<String>,
    format: Vec<Piece>,
    /// Where it is that time.
    zone: Tz,
    default_name: String,
}

/// A piece of a format of times.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Text(String),
    /// A letter of Java's, so many times.
    Number(char, usize),
    /// What follows may be left out.
    Optional,
}

const PATTERN: &str = "partition.time-extractor.timestamp-pattern";
const FORMATTER: &str = "partition.time-extractor.timestamp-formatter";

/// What is meant unless said otherwise: days, with or without a time.
const FORMAT: &str = "y-M-d";
const CLOCK: &str = " H:m:s";

impl Moments {
    pub(super) fn of(options: &Options, default_name: &str) -> Result<Self, Error> {
        let remedy = format!("say how by '{PATTERN}'");
        match options.get("partition.time-extractor.kind") {
            None | Some("default") => {}
            Some(other) => {
                return Err(format!("'partition.time-extractor.kind' = '{other}': 'default' only; {remedy}").into());
            }
        }
        if options.get("partition.time-extractor.class").is_some() {
            return Err(format!("'partition.time-extractor.class': no classes can be loaded; {remedy}").into());
        }
        let format = match options.get(FORMATTER) {
            Some(format) => pieces(format)?,
            None => [pieces(FORMAT)?, vec![Piece::Optional], pieces(CLOCK)?].concat(),
        };
        let zone = options.get("sink.partition-commit.watermark-time-zone").unwrap_or("UTC");
        let zone = zone.parse::<Tz>().map_err(|_| {
            format!("'sink.partition-commit.watermark-time-zone' = '{zone}': not a time zone, such as 'Europe/Berlin'")
        })?;
        let pattern = options.get(PATTERN).map(str::to_owned);
        Ok(Self { pattern, format, zone, default_name: default_name.to_owned() })
    }

    /// The time of a partition; `None` where a column that it is told from is NULL.
    pub(super) fn of_folder(&self, folder: &str) -> Result<Option<Time>, Error> {
        let Some(text) = self.text(folder) else { return Ok(None) };
        let Some(local) = parse(&self.format, &text) else {
            let remedy = format!("set '{PATTERN}' (such as '$dt $hm:00') so that it is, or '{FORMATTER}'");
            return Err(format!("partition {folder}: its time would be '{text}', which is not one; {remedy}").into());
        };
        // Where clocks skip an hour, a time within it is taken for that of the hour after.
        let later = || local.checked_add_signed(TimeDelta::hours(1));
        let here = |local: NaiveDateTime| self.zone.from_local_datetime(&local).earliest();
        let zoned = here(local).or_else(|| here(later()?));
        Ok(zoned.map(|zoned| Time(zoned.timestamp_micros())))
    }

    /// The time as it is written.
    fn text(&self, folder: &str) -> Option<String> {
        let mut columns = hive::columns(folder, &self.default_name);
        let Some(pattern) = &self.pattern else { return columns.into_iter().next()?.1 };
        // The longest name first: `$date` is not `$d` and more.
        columns.sort_by_key(|(name, _)| std::cmp::Reverse(name.len()));
        let mut text = pattern.clone();
        for (name, value) in columns {
            let name = format!("${name}");
            if text.contains(&name) {
                text = text.replace(&name, &value?);
            }
        }
        Some(text)
    }
}

/// Reads a format as Java's `DateTimeFormatter` writes it, of numbers alone.
fn pieces(format: &str) -> Result<Vec<Piece>, Error> {
    let mut pieces = Vec::new();
    let mut rest = format.chars().peekable();
    while let Some(char) = rest.next() {
        match char {
            '\'' => {
                let quoted: String = rest.by_ref().take_while(|char| *char != '\'').collect();
                pieces.push(Piece::Text(if quoted.is_empty() { "'".into() } else { quoted }));
            }
            'y' | 'u' | 'M' | 'd' | 'H' | 'm' | 's' | 'S' => {
                let more = std::iter::from_fn(|| rest.next_if_eq(&char)).count();
                pieces.push(Piece::Number(if char == 'u' { 'y' } else { char }, more + 1));
            }
            _ if char.is_ascii_alphabetic() || "[]{}#".contains(char) => {
                let known = "there are y, M, d, H, m, s, S and text in quotes";
                return Err(format!("'{FORMATTER}' = '{format}': '{char}' is not known; {known}").into());
            }
            _ => pieces.push(Piece::Text(char.into())),
        }
    }
    Ok(pieces)
}

fn parse(format: &[Piece], text: &str) -> Option<NaiveDateTime> {
    let (mut year, mut month, mut day) = (None, 1, 1);
    let (mut hour, mut minute, mut second, mut nanos) = (0, 0, 0, 0);
    let mut rest = text;
    for piece in format {
        match piece {
            Piece::Optional if rest.is_empty() => break,
            Piece::Optional => {}
            Piece::Text(text) => rest = rest.strip_prefix(text.as_str())?,
            Piece::Number(letter, width) => {
                let (digits, after) = number(rest, *width)?;
                rest = after;
                let value: u32 = digits.parse().ok()?;
                match letter {
                    'y' => year = Some(value as i32 + if *width == 2 { 2_000 } else { 0 }),
                    'M' => month = value,
                    'd' => day = value,
                    'H' => hour = value,
                    'm' => minute = value,
                    's' => second = value,
                    _ => nanos = value.checked_mul(10u32.checked_pow(9u32.checked_sub(digits.len() as u32)?)?)?,
                }
            }
        }
    }
    let date = NaiveDate::from_ymd_opt(year?, month, day).filter(|_| rest.is_empty())?;
    date.and_hms_nano_opt(hour, minute, second, nanos)
}

/// As many digits as letters; a single letter stands for any number of them.
fn number(text: &str, width: usize) -> Option<(&str, &str)> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let taken = if width == 1 { digits } else { width };
    (taken > 0 && taken <= digits).then(|| text.split_at(taken))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

    use super::*;

    fn time(options: &[(&str, &str)], folder: &str) -> Result<Option<Time>, String> {
        let full = |name: &str| match name {
            "zone" => "sink.partition-commit.watermark-time-zone".to_owned(),
            _ => format!("partition.time-extractor.{name}"),
        };
        let options = options.iter().map(|(name, value)| (full(name), (*value).to_owned())).collect();
        Moments::of(&options, "NONE").and_then(|moments| moments.of_folder(folder)).map_err(|error| error.to_string())
    }

    fn at(text: &str) -> Result<Option<Time>, String> {
        Ok(Some(Time(text.parse::<NaiveDateTime>().unwrap().and_utc().timestamp_micros())))
    }

    #[test]
    fn times_of_folders() {
        let pattern = |text| ("timestamp-pattern", text);
        assert_eq!(time(&[], "dt=2026-01-02"), at("2026-01-02T00:00:00"));
        assert_eq!(time(&[], "dt=2026-1-2 3%3A4%3A5"), at("2026-01-02T03:04:05"));
        assert_eq!(time(&[pattern("$dt $hm:00")], "dt=2026-01-02/hm=13%3A59"), at("2026-01-02T13:59:00"));
        let hours = "year=2026/month=5/day=6/hour=7";
        assert_eq!(time(&[pattern("$year-$month-$day $hour:00:00")], hours), at("2026-05-06T07:00:00"));
        assert_eq!(time(&[pattern("$dth-$dt-01")], "dt=12/dth=2026"), at("2026-12-01T00:00:00"));
        let compact = [pattern("$dt$h"), ("timestamp-formatter", "yyyyMMddHH")];
        assert_eq!(time(&compact, "dt=20260102/h=23"), at("2026-01-02T23:00:00"));
        let quoted = [("timestamp-formatter", "yy.M.d 'at' H'h'mm")];
        assert_eq!(time(&quoted, "t=26.1.2 at 3h04"), at("2026-01-02T03:04:00"));
        assert_eq!(time(&[("zone", "Asia/Tokyo")], "dt=2026-01-02"), at("2026-01-01T15:00:00"));
        assert_eq!(time(&[pattern("$dt $hm:00")], "dt=2026-01-02/hm=NONE"), Ok(None));
    }

    #[test]
    fn what_is_no_time_is_told() {
        let error = time(&[], "dt=soon").unwrap_err();
        assert!(error.starts_with("partition dt=soon: its time would be 'soon', which is not one; set '"), "{error}");
        assert!(time(&[], "dt=2026-02-30").is_err());
        assert!(time(&[], "dt=2026-02-03x").is_err());
        assert!(time(&[("timestamp-formatter", "EEE")], "dt=Mon").unwrap_err().contains("'E' is not known"));
        assert!(time(&[("kind", "custom")], "").unwrap_err().contains("'default' only"));
        assert!(time(&[("class", "my.Extractor")], "").unwrap_err().contains("no classes"));
        assert!(time(&[("zone", "Nowhere")], "").unwrap_err().contains("not a time zone"));
    }
}
