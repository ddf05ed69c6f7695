//! Date formats as Java writes them (`yyyy-MM-dd HH:mm:ss.SSS`): to a string, and back.

use chrono::{Datelike, Duration, FixedOffset, NaiveDate, NaiveDateTime, NaiveTime, Timelike};
use datafusion_common::{Result, exec_err};

use super::zone::offset;

/// A compiled format.
#[derive(PartialEq, Debug)]
pub(super) struct Format(Vec<Piece>);

#[derive(PartialEq, Debug)]
enum Piece {
    /// A letter, and how often it stands there.
    Field(char, usize),
    /// What stands there as it is.
    Literal(String),
}

const FIELDS: &str = "yuMLdDHhKkmsSnaEXxZ";
const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
const DAYS: [&str; 7] = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"];

impl Format {
    /// The format that this pattern describes.
    pub(super) fn new(pattern: &str) -> Result<Self> {
        let mut pieces = Vec::new();
        let mut rest = pattern;
        while let Some(first) = rest.chars().next() {
            let (piece, length) = match first {
                '\'' => quoted(rest),
                _ if first.is_ascii_alphabetic() && !FIELDS.contains(first) => {
                    return exec_err!(
                        "the date format '{pattern}' has the letter {first}: known are {FIELDS}, and text in single quotes"
                    );
                }
                _ if first.is_ascii_alphabetic() => {
                    let count = rest.chars().take_while(|char| *char == first).count();
                    (Piece::Field(first, count), count)
                }
                _ => (Piece::Literal(first.to_string()), first.len_utf8()),
            };
            pieces.push(piece);
            rest = &rest[length..];
        }
        Ok(Self(pieces))
    }

    /// How long what it shows stays the same, in seconds that a day or an hour begins with; `None` where that is less than one.
    pub(super) fn step(&self) -> Option<i64> {
        let steps = self.0.iter().map(|piece| match piece {
            Piece::Literal(_) | Piece::Field('y' | 'u' | 'M' | 'L' | 'd' | 'D' | 'E', _) => Some(86_400),
            Piece::Field('H' | 'k' | 'K' | 'h' | 'a', _) => Some(3_600),
            Piece::Field('m', _) => Some(60),
            Piece::Field('S' | 'n', _) => None,
            // An offset may change at any second.
            Piece::Field(..) => Some(1),
        });
        steps.min().unwrap_or(Some(86_400))
    }

    /// What clocks show, as text.
    pub(super) fn write(&self, moment: NaiveDateTime, offset: FixedOffset) -> String {
        let mut to = String::new();
        for piece in &self.0 {
            match piece {
                Piece::Literal(text) => to.push_str(text),
                Piece::Field(letter, count) => field(&mut to, *letter, *count, moment, offset),
            }
        }
        to
    }

    /// The moment that a text shows, the offset from UTC if it tells one, and how much of the text was read.
    pub(super) fn read(&self, text: &str) -> Option<(NaiveDateTime, Option<FixedOffset>, usize)> {
        let mut parts = Parts::default();
        let mut rest = text;
        for (place, piece) in self.0.iter().enumerate() {
            rest = match piece {
                Piece::Literal(literal) => rest.strip_prefix(literal.as_str())?,
                Piece::Field(letter, count) => {
                    let adjacent =
                        matches!(self.0.get(place + 1), Some(Piece::Field(next, _)) if !"aEXxZ".contains(*next));
                    parts.read(*letter, *count, adjacent, rest)?
                }
            };
        }
        Some((parts.moment()?, parts.offset, text.len() - rest.len()))
    }
}

/// `'text'`, in which two quotes stand for one, or a quote itself where there are two alone; and its length.
fn quoted(rest: &str) -> (Piece, usize) {
    if rest.starts_with("''") {
        return (Piece::Literal("'".into()), 2);
    }
    let (mut text, mut done) = (String::new(), 1);
    while let Some(end) = rest[done..].find('\'') {
        text.push_str(&rest[done..done + end]);
        done += end + 1;
        if !rest[done..].starts_with('\'') {
            return (Piece::Literal(text), done);
        }
        text.push('\'');
        done += 1;
    }
    text.push_str(&rest[done..]);
    (Piece::Literal(text), rest.len())
}

fn field(to: &mut String, letter: char, count: usize, moment: NaiveDateTime, offset: FixedOffset) {
    let number = |value: u32| format!("{value:0count$}");
    let (hour, name) = (moment.hour(), count >= 4);
    let text = match letter {
        'y' | 'u' if count == 2 => format!("{:02}", moment.year().rem_euclid(100)),
        'y' | 'u' => format!("{:0count$}", moment.year()),
        'M' | 'L' if count >= 3 => name_of(MONTHS[moment.month0() as usize], name).to_owned(),
        'M' | 'L' => number(moment.month()),
        'd' => number(moment.day()),
        'D' => number(moment.ordinal()),
        'H' => number(hour),
        'k' => number(if hour == 0 { 24 } else { hour }),
        'K' => number(hour % 12),
        'h' => number(if hour % 12 == 0 { 12 } else { hour % 12 }),
        'm' => number(moment.minute()),
        's' => number(moment.second()),
        'S' => format!("{:09}", moment.nanosecond()).chars().chain(std::iter::repeat('0')).take(count).collect(),
        'n' => number(moment.nanosecond()),
        'a' => if hour < 12 { "AM" } else { "PM" }.to_owned(),
        'E' => name_of(DAYS[moment.weekday().num_days_from_monday() as usize], name).to_owned(),
        _ => written(letter, count, offset.local_minus_utc()),
    };
    to.push_str(&text);
}

fn name_of(name: &str, full: bool) -> &str {
    if full { name } else { &name[..3] }
}

/// An offset from UTC: `X` is `Z`, `+08`, `+0800`, `+08:00` as its count grows; `Z` is `+0800`.
fn written(letter: char, count: usize, seconds: i32) -> String {
    if letter == 'X' && seconds == 0 {
        return "Z".into();
    }
    let sign = if seconds < 0 { '-' } else { '+' };
    let (hours, minutes) = (seconds.abs() / 3600, seconds.abs() / 60 % 60);
    match count {
        1 if letter != 'Z' && minutes == 0 => format!("{sign}{hours:02}"),
        3.. if letter != 'Z' => format!("{sign}{hours:02}:{minutes:02}"),
        _ => format!("{sign}{hours:02}{minutes:02}"),
    }
}

/// What was read so far.
#[derive(Default)]
struct Parts {
    year: Option<i32>,
    month: Option<u32>,
    day: Option<u32>,
    ordinal: Option<u32>,
    hour: u32,
    half: Option<bool>,
    minute: u32,
    second: u32,
    nanos: u32,
    offset: Option<FixedOffset>,
}

impl Parts {
    /// Reads a field; gives what follows it.
    fn read<'a>(&mut self, letter: char, count: usize, adjacent: bool, text: &'a str) -> Option<&'a str> {
        match letter {
            'M' | 'L' if count >= 3 => {
                return named(&MONTHS, text).map(|(place, rest)| (self.month = Some(place), rest).1);
            }
            'E' => return named(&DAYS, text).map(|(_, rest)| rest),
            'a' => {
                let half = text.get(..2)?.to_ascii_uppercase();
                self.half = Some(half == "PM");
                return (half == "AM" || half == "PM").then(|| &text[2..]);
            }
            'X' | 'x' | 'Z' => return self.read_offset(text),
            _ => {}
        }
        let most = match letter {
            'S' | 'n' => {
                if adjacent {
                    count
                } else {
                    9
                }
            }
            _ if adjacent => count,
            'y' | 'u' => 9,
            _ => count.max(2),
        };
        let signed = if "yu".contains(letter) { text.strip_prefix('-') } else { None };
        let (negative, digits) = (signed.is_some(), signed.unwrap_or(text));
        let length = digits.bytes().take(most).take_while(u8::is_ascii_digit).count();
        let number: u32 = digits[..length].parse().ok()?;
        self.set(letter, count, if negative { -i64::from(number) } else { i64::from(number) }, length)?;
        Some(&digits[length..])
    }

    fn set(&mut self, letter: char, count: usize, number: i64, digits: usize) -> Option<()> {
        let small = u32::try_from(number);
        match letter {
            'y' | 'u' if count == 2 && digits == 2 => self.year = Some(2000 + number as i32),
            'y' | 'u' => self.year = i32::try_from(number).ok(),
            'M' | 'L' => self.month = Some(small.ok()?),
            'd' => self.day = Some(small.ok()?),
            'D' => self.ordinal = Some(small.ok()?),
            'H' => self.hour = small.ok()?,
            'k' => self.hour = small.ok()? % 24,
            'h' | 'K' => {
                self.hour = small.ok()? % 12;
                self.half = self.half.or(Some(false));
            }
            'm' => self.minute = small.ok()?,
            's' => self.second = small.ok()?,
            'S' => self.nanos = small.ok()? * 10_u32.pow(9 - digits as u32),
            _ => self.nanos = small.ok()?,
        }
        Some(())
    }

    fn read_offset<'a>(&mut self, text: &'a str) -> Option<&'a str> {
        let length = text.bytes().take_while(|byte| byte.is_ascii_digit() || b"+-:Z".contains(byte)).count();
        self.offset = Some(offset(&text[..length])?);
        Some(&text[length..])
    }

    fn moment(&self) -> Option<NaiveDateTime> {
        let year = self.year.unwrap_or(1970);
        let date = match self.ordinal {
            Some(day) => NaiveDate::from_yo_opt(year, day)?,
            None => NaiveDate::from_ymd_opt(year, self.month.unwrap_or(1), self.day.unwrap_or(1))?,
        };
        let hour = self.hour + if self.half == Some(true) { 12 } else { 0 };
        Some(date.and_time(NaiveTime::from_hms_nano_opt(hour, self.minute, self.second, self.nanos)?))
    }
}

/// One of these names, in full or its first three letters: its place from 1, and what follows.
fn named<'a>(names: &[&str], text: &'a str) -> Option<(u32, &'a str)> {
    let starts = |name: &str| text.get(..name.len()).is_some_and(|start| start.eq_ignore_ascii_case(name));
    let length = |name: &&str| {
        if starts(name) {
            name.len()
        } else if starts(&name[..3]) {
            3
        } else {
            0
        }
    };
    let (place, length) = names.iter().map(length).enumerate().find(|(_, length)| *length > 0)?;
    Some((place as u32 + 1, &text[length..]))
}

/// `yyyy-MM-dd`, alone or with `HH:mm:ss` and up to nine digits of a second: what is read where no format is given.
pub(super) fn read_default(text: &str) -> Option<NaiveDateTime> {
    let text = text.trim();
    let (date, time) = text.split_once([' ', 'T']).unwrap_or((text, "00:00:00"));
    let date = date_of(date)?;
    let (whole, fraction) = time.split_once('.').unwrap_or((time, ""));
    let mut parts = whole.splitn(3, ':').map(|part| part.parse::<i64>().ok());
    let (hour, minute, second) = (parts.next()??, parts.next()??, parts.next().unwrap_or(Some(0))?);
    let fits = (0..24).contains(&hour) && (0..60).contains(&minute) && (0..60).contains(&second);
    if !fits || fraction.len() > 9 || !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let nanos = format!("{fraction:0<9}").parse::<i64>().ok()?;
    Some(
        date.and_time(NaiveTime::MIN)
            + Duration::seconds(hour * 3600 + minute * 60 + second)
            + Duration::nanoseconds(nanos),
    )
}

fn date_of(text: &str) -> Option<NaiveDate> {
    let mut parts = text.splitn(3, '-');
    let (year, month, day) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
    NaiveDate::from_ymd_opt(year, month, day)
}
