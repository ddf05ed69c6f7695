//! Time zones as Flink names them: `UTC`, `Europe/Berlin`, `GMT-08:00`, `PST`.

use chrono::{DateTime, Duration, FixedOffset, LocalResult, NaiveDateTime, Offset, TimeZone, Utc};
use chrono_tz::Tz;
use datafusion_common::{Result, exec_err};

/// A time zone.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Zone {
    /// One with a name, whose distance from UTC changes.
    Named(Tz),
    /// One that is always this far from UTC.
    Fixed(FixedOffset),
}

impl Zone {
    /// UTC.
    pub(super) const UTC: Self = Self::Named(Tz::UTC);

    /// The session's time zone: UTC where none is set.
    pub(super) fn session(name: Option<&str>) -> Result<Self> {
        name.map_or(Ok(Self::UTC), Self::named)
    }

    /// The time zone of this name.
    pub(super) fn named(name: &str) -> Result<Self> {
        let trimmed = name.trim();
        let offset = ["GMT", "UTC", ""].iter().find_map(|prefix| offset(trimmed.strip_prefix(prefix)?));
        if let Some(offset) = offset {
            return Ok(Self::Fixed(offset));
        }
        match abbreviation(trimmed).parse::<Tz>() {
            Ok(zone) => Ok(Self::Named(zone)),
            Err(_) => exec_err!(
                "there is no time zone '{name}': write a full name such as 'America/Los_Angeles', 'UTC', or 'GMT-08:00'"
            ),
        }
    }

    /// What clocks show there at this time of UTC.
    pub(super) fn local(self, utc: NaiveDateTime) -> NaiveDateTime {
        match self {
            Self::Named(Tz::UTC) => utc,
            Self::Named(zone) => zone.from_utc_datetime(&utc).naive_local(),
            Self::Fixed(offset) => offset.from_utc_datetime(&utc).naive_local(),
        }
    }

    /// The time of UTC when clocks there show `local`: the earlier one of two; what never shows is taken an hour later.
    pub(super) fn utc(self, local: NaiveDateTime) -> NaiveDateTime {
        match self {
            Self::Named(Tz::UTC) => local,
            Self::Named(zone) => resolve(zone.from_local_datetime(&local))
                .or_else(|| {
                    resolve(zone.from_local_datetime(&(local + Duration::hours(1)))).map(|t| t - Duration::hours(1))
                })
                .unwrap_or(local),
            Self::Fixed(offset) => resolve(offset.from_local_datetime(&local)).unwrap_or(local),
        }
    }

    /// How far it is from UTC, at this time of UTC.
    pub(super) fn offset(self, utc: NaiveDateTime) -> FixedOffset {
        match self {
            Self::Named(zone) => zone.offset_from_utc_datetime(&utc).fix(),
            Self::Fixed(offset) => offset,
        }
    }
}

fn resolve<Z: TimeZone>(local: LocalResult<DateTime<Z>>) -> Option<NaiveDateTime> {
    Some(local.earliest()?.with_timezone(&Utc).naive_utc())
}

/// `+8`, `-08:00`, `+0530`, `Z`.
pub(super) fn offset(text: &str) -> Option<FixedOffset> {
    if text == "Z" {
        return FixedOffset::east_opt(0);
    }
    let digits = text.strip_prefix(['+', '-'])?;
    let sign = if text.starts_with('-') { -1 } else { 1 };
    let (hours, minutes) = match digits.split_once(':') {
        Some(halves) => halves,
        None if digits.len() > 2 => (digits.get(..digits.len() - 2)?, digits.get(digits.len() - 2..)?),
        None => (digits, "0"),
    };
    let (hours, minutes) = (hours.parse::<i32>().ok()?, minutes.parse::<i32>().ok()?);
    (hours <= 18 && minutes < 60).then(|| FixedOffset::east_opt(sign * (hours * 3600 + minutes * 60)))?
}

/// The abbreviations that Java knows and the IANA database does not.
fn abbreviation(name: &str) -> &str {
    match name {
        "PST" => "America/Los_Angeles",
        "CST" => "America/Chicago",
        "JST" => "Asia/Tokyo",
        "IST" => "Asia/Kolkata",
        "CTT" => "Asia/Shanghai",
        "ECT" => "Europe/Paris",
        "BST" => "Asia/Dhaka",
        "AET" => "Australia/Sydney",
        "Z" => "UTC",
        other => other,
    }
}
