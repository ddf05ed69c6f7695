//! A line of an access log in the "combined" format:
//! `address - user [day/month/year:hour:minute:second zone] "method path protocol" status bytes …`

use std::str::FromStr;

use compact_str::CompactString;
use updraft::prelude::Time;

/// A request, as far as it is looked at.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Access {
    pub(crate) time: Time,
    pub(crate) path: CompactString,
    pub(crate) status: u16,
    pub(crate) bytes: u64,
}

impl Access {
    pub(crate) fn parse(line: &[u8]) -> Result<Self, String> {
        let line = std::str::from_utf8(line).map_err(|_| "the line is not UTF-8".to_string())?;
        let (_, rest) = line.split_once('[').ok_or("no `[` before the time")?;
        let (time, rest) = rest.split_once(']').ok_or("no `]` after the time")?;
        let (_, rest) = rest.split_once('"').ok_or("no `\"` before the request")?;
        let (request, rest) = rest.split_once('"').ok_or("no `\"` after the request")?;
        let mut fields = rest.split_ascii_whitespace();
        // What is no HTTP at all is logged as it came: it is counted under its own text.
        let target = request.split_ascii_whitespace().nth(1).unwrap_or(request);
        let path = target.split('?').next().unwrap_or_default().into();
        let status = number("status", fields.next())?;
        let bytes = match fields.next() {
            Some("-") => 0,
            bytes => number("bytes", bytes)?,
        };
        Ok(Self { time: parse_time(time)?, path, status, bytes })
    }
}

fn number<T: FromStr>(field: &str, text: Option<&str>) -> Result<T, String> {
    let text = text.ok_or_else(|| format!("{field}: missing"))?;
    text.parse().map_err(|_| format!("{field}: `{text}` is not a number"))
}

const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// `20/Nov/2026:22:27:00 +0100`
fn parse_time(text: &str) -> Result<Time, String> {
    let wrong = || format!("time: `{text}` is not like `20/Nov/2026:22:27:00 +0000`");
    let (stamp, zone) = text.split_once(' ').ok_or_else(wrong)?;
    let parts: Vec<&str> = stamp.split(['/', ':']).collect();
    let [day, month, year, hour, minute, second] = parts[..] else { return Err(wrong()) };
    let month = MONTHS.iter().position(|name| *name == month).ok_or_else(wrong)? as i64 + 1;
    let number = |text: &str, range: std::ops::RangeInclusive<i64>| {
        text.parse::<i64>().ok().filter(|n| range.contains(n)).ok_or_else(wrong)
    };
    let days = days_since_1970(number(year, 0..=9999)?, month, number(day, 1..=31)?);
    let seconds = number(hour, 0..=23)? * 3600 + number(minute, 0..=59)? * 60 + number(second, 0..=60)?;
    let zone = number(zone, -2359..=2359)?;
    let east = (zone / 100 * 60 + zone % 100) * 60;
    Ok(Time::from_secs(days * 86_400 + seconds - east))
}

/// Days from 1970-01-01 in the Gregorian calendar (Hinnant, "chrono-Compatible Low-Level Date Algorithms").
fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}
