//! What format bytes are in, where nobody has said: told by how they begin.

use updraft_dataflow::connector::Options;

/// Bytes that files of a format begin with.
const MAGIC: [(&[u8], &str); 4] =
    [(b"PAR1", "parquet"), (b"ARROW1", "arrow"), (&[0xFF, 0xFF, 0xFF, 0xFF], "arrow"), (b"Obj\x01", "avro")];

/// What may be between the fields of a line, the most likely first.
const DELIMITERS: [char; 4] = [',', '\t', ';', '|'];

/// Whether `sample` is enough to tell by: two lines, or bytes that are no text. What is compressed hardly ever is.
pub(super) fn is_enough(sample: &[u8]) -> bool {
    let is_packed = sample.starts_with(&[0x1F, 0x8B]) || sample.starts_with(&[0x28, 0xB5, 0x2F, 0xFD]);
    magic(sample).is_some() || !is_packed && memchr::memchr_iter(b'\n', sample).nth(1).is_some()
}

/// The options of a table with its `'format'`: what they say, or what `sample` looks like.
pub(super) fn with_format(options: &Options, sample: &[u8]) -> Options {
    let mut options = options.clone();
    if options.get("format").is_some() {
        return options;
    }
    let format = match (magic(sample), sample.trim_ascii_start().first()) {
        (Some(format), _) => format,
        (None, Some(b'{')) => "json",
        _ => match delimiter(&String::from_utf8_lossy(sample)) {
            Some(delimiter) => {
                if options.get("csv.field-delimiter").is_none() {
                    options.set(
                        "csv.field-delimiter",
                        if delimiter == '\t' { "\\t".into() } else { delimiter.to_string() },
                    );
                }
                "csv"
            }
            None => "raw",
        },
    };
    options.set("format", format);
    options
}

fn magic(sample: &[u8]) -> Option<&'static str> {
    MAGIC.iter().find(|(magic, _)| sample.starts_with(magic)).map(|(_, format)| *format)
}

/// What each of the first lines has as often as the others, if anything.
fn delimiter(sample: &str) -> Option<char> {
    let mut lines: Vec<_> = sample.split('\n').map(|line| line.trim_end_matches('\r')).collect();
    // The last one may not be whole, unless it is the only one.
    if lines.len() > 1 {
        lines.pop();
    }
    let count = |line: &str, delimiter: char| {
        let mut quoted = false;
        line.chars()
            .filter(|c| {
                quoted ^= *c == '"';
                *c == delimiter && !quoted
            })
            .count()
    };
    let first = *lines.first()?;
    let same = |delimiter: &char| {
        let fields = count(first, *delimiter);
        // A quoted field may go on in the next line: then lines cannot be compared.
        let whole = lines.iter().all(|line| line.matches('"').count() % 2 == 0);
        fields > 0
            && (!whole || lines.iter().filter(|line| !line.is_empty()).all(|line| count(line, *delimiter) == fields))
    };
    DELIMITERS.into_iter().find(same)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(sample: &[u8]) -> (String, Option<String>) {
        let options = with_format(&Options::default(), sample);
        let get = |name| options.get(name).map(str::to_owned);
        (get("format").unwrap_or_default(), get("csv.field-delimiter"))
    }

    fn plain(format: &str) -> (String, Option<String>) {
        (format.into(), None)
    }

    #[test]
    fn formats_are_told_by_their_beginnings() {
        assert_eq!(told(b"PAR1\x15\x04"), plain("parquet"));
        assert_eq!(told(b"\xFF\xFF\xFF\xFF\x10"), plain("arrow"));
        assert_eq!(told(b" {\"a\": 1}\n{\"a\""), plain("json"));
        assert_eq!(told(b"name,n\nx,1\n"), ("csv".into(), Some(",".into())));
        assert_eq!(told(b"name\tn\nx\t1\nhalf"), ("csv".into(), Some("\\t".into())));
        assert_eq!(told(b"a;b;c\r\n\"x;y\";2;3\r\n"), ("csv".into(), Some(";".into())));
        assert_eq!(told(b"a,b\n\"first\nsecond\",2\n"), ("csv".into(), Some(",".into())));
        assert_eq!(told(b"Hello, world\nno comma here\n"), plain("raw"));
        assert_eq!(told(b""), plain("raw"));
    }

    #[test]
    fn what_is_said_is_not_guessed() {
        let said: Options = [("format".to_owned(), "raw".to_owned())].into_iter().collect();
        assert_eq!(with_format(&said, b"a,b\n1,2\n"), said);
    }
}
