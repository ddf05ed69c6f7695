//! The values of options: yes or no, numbers, spans of time, sizes, as Flink writes them.

use std::time::Duration;

use updraft_dataflow::Error;
use updraft_dataflow::connector::Options;

/// `true` or `false`.
pub(super) fn flag(options: &Options, name: &str) -> Result<Option<bool>, Error> {
    match options.get(name) {
        None => Ok(None),
        Some(value) if value.eq_ignore_ascii_case("true") => Ok(Some(true)),
        Some(value) if value.eq_ignore_ascii_case("false") => Ok(Some(false)),
        Some(value) => Err(format!("option '{name}' = '{value}': neither true nor false").into()),
    }
}

/// A number from 1 on.
pub(super) fn at_least_one(options: &Options, name: &str) -> Result<Option<u64>, Error> {
    let number = options.parse(name, "a number from 1 on")?;
    match number {
        Some(0) => Err(format!("option '{name}' = '0': not a number from 1 on").into()),
        number => Ok(number),
    }
}

/// A share of all, from 0 to 1.
pub(super) fn share(options: &Options, name: &str) -> Result<Option<f64>, Error> {
    let share: Option<f64> = options.parse(name, "a share from 0 to 1")?;
    match share {
        Some(share) if !(0.0..=1.0).contains(&share) => {
            Err(format!("option '{name}' = '{share}': not a share from 0 to 1").into())
        }
        share => Ok(share),
    }
}

/// A number and its unit: `1 min`, `500ms`. Milliseconds where there is none.
pub(crate) fn duration(options: &Options, name: &str) -> Result<Option<Duration>, Error> {
    let read = |value: &str| {
        let (number, unit) = amount(value)?;
        let nanos: u64 = match unit.as_str() {
            "ns" | "nano" | "nanos" | "nanosecond" | "nanoseconds" => 1,
            "µs" | "us" | "micro" | "micros" | "microsecond" | "microseconds" => 1_000,
            "" | "ms" | "milli" | "millis" | "millisecond" | "milliseconds" => 1_000_000,
            "s" | "sec" | "secs" | "second" | "seconds" => 1_000_000_000,
            "m" | "min" | "minute" | "minutes" => 60_000_000_000,
            "h" | "hour" | "hours" => 3_600_000_000_000,
            "d" | "day" | "days" => 86_400_000_000_000,
            _ => return None,
        };
        Some(Duration::from_nanos(number.checked_mul(nanos)?))
    };
    value(options, name, "a span of time such as '500 ms', '1 min' or '2 h'", read)
}

/// A number of bytes and its unit: `200b`, `1 kb`. Bytes where there is none.
pub(super) fn bytes(options: &Options, name: &str) -> Result<Option<usize>, Error> {
    let read = |value: &str| {
        let (number, unit) = amount(value)?;
        let scale: u64 = match unit.as_str() {
            "" | "b" | "bytes" => 1,
            "k" | "kb" | "kibibytes" => 1 << 10,
            "m" | "mb" | "mebibytes" => 1 << 20,
            "g" | "gb" | "gibibytes" => 1 << 30,
            _ => return None,
        };
        usize::try_from(number.checked_mul(scale)?).ok()
    };
    value(options, name, "a size such as '200b' or '1 kb'", read)
}

/// A point in time, in nanoseconds since 1970: `2020-01-01 00:00:00`.
pub(super) fn time(options: &Options, name: &str) -> Result<Option<i64>, Error> {
    let read = |value: &str| arrow_cast::parse::string_to_timestamp_nanos(value).ok();
    value(options, name, "a time such as '2020-01-01 00:00:00'", read)
}

fn value<T>(options: &Options, name: &str, what: &str, read: impl Fn(&str) -> Option<T>) -> Result<Option<T>, Error> {
    let read = |value| read(value).ok_or_else(|| format!("option '{name}' = '{value}': not {what}").into());
    options.get(name).map(read).transpose()
}

/// The number, and what follows it.
fn amount(value: &str) -> Option<(u64, String)> {
    let value = value.trim();
    let end = value.find(|c: char| !c.is_ascii_digit()).unwrap_or(value.len());
    Some((value[..end].parse().ok()?, value[end..].trim().to_lowercase()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

    use super::*;

    fn options(value: &str) -> Options {
        [("x".to_owned(), value.to_owned())].into_iter().collect()
    }

    #[test]
    fn values_are_read_as_flink_reads_them() {
        let span = |value| duration(&options(value), "x");
        assert_eq!(span("1 min").unwrap(), Some(Duration::from_secs(60)));
        assert_eq!(span("250").unwrap(), Some(Duration::from_millis(250)));
        assert_eq!(span("3DAYS").unwrap(), Some(Duration::from_secs(259_200)));
        assert_eq!(duration(&options("1"), "y").unwrap(), None);
        assert_eq!(bytes(&options("2 kb"), "x").unwrap(), Some(2_048));
        assert_eq!(flag(&options("TRUE"), "x").unwrap(), Some(true));
        assert_eq!(share(&options("0.25"), "x").unwrap(), Some(0.25));
        assert_eq!(at_least_one(&options("3"), "x").unwrap(), Some(3));
    }

    #[test]
    fn what_is_no_value_is_told() {
        let told = |error: Error| error.to_string();
        let error = told(duration(&options("5 parsecs"), "x").unwrap_err());
        assert_eq!(error, "option 'x' = '5 parsecs': not a span of time such as '500 ms', '1 min' or '2 h'");
        assert!(duration(&options("99999999999999999999 s"), "x").is_err());
        assert!(bytes(&options("-1"), "x").is_err());
        assert_eq!(told(flag(&options("yes"), "x").unwrap_err()), "option 'x' = 'yes': neither true nor false");
        assert_eq!(told(share(&options("2"), "x").unwrap_err()), "option 'x' = '2': not a share from 0 to 1");
        assert_eq!(told(at_least_one(&options("0"), "x").unwrap_err()), "option 'x' = '0': not a number from 1 on");
    }
}
