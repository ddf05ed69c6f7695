//! Cuts a stream of bytes into records, in bounded memory. [`super::Decoder`] feeds it and decodes what it cuts.

use std::ops::Range;

use serde::{Deserialize, Serialize};

/// What ends a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// A newline.
    Lines,
    /// A newline outside of quotes.
    Csv {
        /// What is between two fields.
        delimiter: u8,
    },
    /// The same with other marks.
    Quoted(Marks),
}

/// The bytes that matter in a record of quoted fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Marks {
    /// What is between two fields.
    pub delimiter: u8,
    /// What is around a field that holds a delimiter or a newline; doubled within, it is data.
    pub quote: u8,
    /// What makes data of the byte after it.
    pub escape: Option<u8>,
}

/// A stretch of bytes between two ends of records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Frame {
    /// Where its bytes are, without the newline: see [`Frames::bytes`].
    pub(crate) range: Range<usize>,
    /// The number of its first line, from 1.
    pub(crate) line: u64,
    pub(crate) verdict: Verdict,
}

/// Whether a frame is a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Whole,
    /// It goes on for longer than a record may: this is its first line, or the part of it that was kept.
    TooLong,
    /// A quote was opened and never closed: this is its first line.
    OpenQuote,
}

/// Where in a stream the next record begins: enough to go on from there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Spot {
    /// How many bytes come before it.
    pub(crate) byte: u64,
    /// Its line, from 1.
    pub(crate) line: u64,
    /// The rest of an overlong line comes first, which is no record.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) skipping: bool,
}

/// Where in a record the scan stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Scan {
    FieldStart,
    Plain,
    Quoted,
    /// After a quote within quotes: the end of the field, or the first half of an escaped quote.
    QuoteInQuotes,
    /// After an escape.
    Escaped {
        quoted: bool,
    },
}

/// Bytes on their way to become records.
#[derive(Clone, Debug)]
pub(crate) struct Frames {
    framing: Framing,
    max: usize,
    /// How many bytes came before those of the buffer.
    gone: u64,
    buffer: Vec<u8>,
    /// Where the record that is being scanned starts, and where its scan goes on.
    start: usize,
    scanned: usize,
    scan: Scan,
    /// Newlines that the record has had so far.
    within: u64,
    line: u64,
    /// The rest of an overlong line is on its way: dropped up to its newline.
    skipping: bool,
    fresh: bool,
}

const BOM: &[u8] = b"\xEF\xBB\xBF";

impl Frames {
    /// Records of `max` bytes at most.
    pub(crate) fn new(framing: Framing, max: usize) -> Self {
        Self {
            framing,
            max: max.max(1),
            gone: 0,
            buffer: Vec::new(),
            start: 0,
            scanned: 0,
            scan: Scan::FieldStart,
            within: 0,
            line: 1,
            skipping: false,
            fresh: true,
        }
    }

    /// Room for `more` bytes; those of records cut before are gone. To be extended, never cut.
    pub(crate) fn spare(&mut self, more: usize) -> &mut Vec<u8> {
        self.gone += self.start as u64;
        self.buffer.drain(..self.start);
        self.scanned -= self.start;
        self.start = 0;
        self.buffer.reserve(more);
        &mut self.buffer
    }

    /// Where the next record begins.
    pub(crate) fn spot(&self) -> Spot {
        Spot { byte: self.gone + self.start as u64, line: self.line, skipping: self.skipping }
    }

    /// The next bytes are those at `spot`, of a stream that was cut up to there. To be told before the first of them.
    pub(crate) fn go_on(&mut self, spot: Spot) {
        debug_assert!(self.buffer.is_empty());
        (self.gone, self.line, self.skipping) = (spot.byte, spot.line, spot.skipping);
        self.fresh = spot.byte == 0;
    }

    /// The line where the next record starts.
    pub(crate) fn line(&self) -> u64 {
        self.line
    }

    /// Those of frames that were cut since there was last made room.
    pub(crate) fn bytes(&self, range: Range<usize>) -> &[u8] {
        &self.buffer[range]
    }

    /// The part of a record that waits for the rest.
    pub(crate) fn rest(&self) -> &[u8] {
        &self.buffer[self.start..]
    }

    /// The longest record, in bytes.
    pub(crate) fn max(&self) -> usize {
        self.max
    }

    /// The next record that has ended, if any.
    pub(crate) fn next(&mut self) -> Option<Frame> {
        self.skip_bom()?;
        if self.skipping {
            self.skip_rest()?;
        }
        match self.find_end() {
            Some(end) if end - self.start > self.max => Some(self.first_line(Verdict::TooLong)),
            Some(end) => Some(self.cut(end, Verdict::Whole)),
            None if self.buffer.len() - self.start > self.max => Some(self.first_line(Verdict::TooLong)),
            None => None,
        }
    }

    /// The next record of what is left, now that nothing follows.
    pub(crate) fn last(&mut self) -> Option<Frame> {
        self.fresh = false;
        if self.skipping {
            self.start = self.buffer.len();
        }
        if self.rest().is_empty() {
            return None;
        }
        match self.find_end() {
            Some(end) => Some(self.cut(end, Verdict::Whole)),
            None if matches!(self.scan, Scan::Quoted | Scan::Escaped { quoted: true }) => {
                Some(self.first_line(Verdict::OpenQuote))
            }
            None => Some(self.cut(self.buffer.len(), Verdict::Whole)),
        }
    }

    /// A mark that some editors put before the first line. `None`: it takes more bytes to tell.
    fn skip_bom(&mut self) -> Option<()> {
        if self.fresh {
            if self.buffer.len() < BOM.len() && BOM.starts_with(&self.buffer) {
                return None;
            }
            self.fresh = false;
            if self.buffer.starts_with(BOM) {
                self.start = BOM.len();
                self.scanned = self.start;
            }
        }
        Some(())
    }

    /// Drops the rest of an overlong line. `None`: its end has not come.
    fn skip_rest(&mut self) -> Option<()> {
        let end = memchr::memchr(b'\n', &self.buffer[self.start..]);
        self.start = end.map_or(self.buffer.len(), |end| self.start + end + 1);
        self.restart();
        end?;
        self.skipping = false;
        self.line += 1;
        Some(())
    }

    /// The newline that ends the record, as far as it has come.
    fn find_end(&mut self) -> Option<usize> {
        let rest = &self.buffer[self.scanned..];
        let end = match self.framing {
            Framing::Lines => memchr::memchr(b'\n', rest),
            Framing::Csv { delimiter } => {
                self.scan.find_end(rest, Marks { delimiter, quote: b'"', escape: None }, &mut self.within)
            }
            Framing::Quoted(marks) => self.scan.find_end(rest, marks, &mut self.within),
        };
        let end = end.map(|end| self.scanned + end);
        self.scanned = end.unwrap_or(self.buffer.len());
        end
    }

    /// The record up to the newline at `end`.
    fn cut(&mut self, end: usize, verdict: Verdict) -> Frame {
        let (start, line) = (self.start, self.line);
        self.line += 1 + if verdict == Verdict::Whole { self.within } else { 0 };
        self.start = self.buffer.len().min(end + 1);
        self.restart();
        let end = if self.buffer[start..end].ends_with(b"\r") { end - 1 } else { end };
        Frame { range: start..end, line, verdict }
    }

    /// The first line of what cannot be a record. The lines after it are tried as records of their own, so
    /// that one stray quote costs one line and not the rest of the file.
    fn first_line(&mut self, verdict: Verdict) -> Frame {
        let start = self.start;
        let newline = memchr::memchr(b'\n', &self.buffer[start..]).map(|newline| start + newline);
        let end = newline.unwrap_or(self.buffer.len());
        let mut frame = match newline {
            Some(end) => self.cut(end, verdict),
            None => {
                let range = self.start..self.buffer.len();
                self.start = range.end;
                self.skipping = true;
                self.restart();
                Frame { range, line: self.line, verdict }
            }
        };
        if verdict == Verdict::TooLong {
            // How much of it has come by now is chance: as much is kept of any.
            frame.range = start..end.min(start + self.max + 1);
        }
        frame
    }

    fn restart(&mut self) {
        self.scanned = self.start;
        self.scan = Scan::FieldStart;
        self.within = 0;
    }
}

impl Scan {
    /// Goes on over `bytes`, up to the newline that ends the record, if it is among them; counts those `within` it.
    fn find_end(&mut self, bytes: &[u8], marks: Marks, within: &mut u64) -> Option<usize> {
        let mut at = 0;
        while at < bytes.len() {
            let quiet = &bytes[at..at + self.quiet(&bytes[at..], marks)];
            if *self == Self::Quoted {
                *within += memchr::memchr_iter(b'\n', quiet).count() as u64;
            }
            self.pass(quiet, marks);
            at += quiet.len();
            if at < bytes.len() {
                if self.step(bytes[at], marks) {
                    return Some(at);
                }
                *within += u64::from(bytes[at] == b'\n');
            }
            at += 1;
        }
        None
    }

    /// How many bytes come before the next that matters: nearly all of them are passed over at memory speed.
    fn quiet(self, bytes: &[u8], marks: Marks) -> usize {
        let next = match (self, marks.escape) {
            (Self::Escaped { .. }, _) => Some(0),
            (Self::Quoted, None) => memchr::memchr(marks.quote, bytes),
            (Self::Quoted, Some(escape)) => memchr::memchr2(marks.quote, escape, bytes),
            (_, None) => memchr::memchr2(marks.quote, b'\n', bytes),
            (_, Some(escape)) => memchr::memchr3(marks.quote, b'\n', escape, bytes),
        };
        next.unwrap_or(bytes.len())
    }

    /// Goes on over bytes that are neither quote, escape nor newline, or lie in quotes.
    fn pass(&mut self, quiet: &[u8], marks: Marks) {
        if let (Some(&last), Self::FieldStart | Self::Plain | Self::QuoteInQuotes) = (quiet.last(), *self) {
            *self = if last == marks.delimiter { Self::FieldStart } else { Self::Plain };
        }
    }

    /// Goes on by one byte; true if it ends the record. A quote counts only where a field starts.
    fn step(&mut self, byte: u8, marks: Marks) -> bool {
        let was = *self;
        *self = match was {
            Self::Escaped { quoted: true } => Self::Quoted,
            Self::Escaped { quoted: false } => Self::Plain,
            _ if Some(byte) == marks.escape && byte != marks.quote => Self::Escaped { quoted: was == Self::Quoted },
            Self::FieldStart | Self::QuoteInQuotes if byte == marks.quote => Self::Quoted,
            Self::Quoted if byte == marks.quote => Self::QuoteInQuotes,
            Self::Quoted => Self::Quoted,
            _ if byte == marks.delimiter => Self::FieldStart,
            _ => Self::Plain,
        };
        byte == b'\n' && !matches!(was, Self::Quoted | Self::Escaped { .. })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CSV: Framing = Framing::Csv { delimiter: b',' };

    /// All records of `chunks`, given one after the other.
    fn frames(framing: Framing, max: usize, chunks: &[&[u8]]) -> Vec<(u64, String, Verdict)> {
        let mut frames = Frames::new(framing, max);
        let mut out = Vec::new();
        let mut push = |frames: &Frames, f: Frame| {
            out.push((f.line, String::from_utf8_lossy(frames.bytes(f.range.clone())).into_owned(), f.verdict));
        };
        for chunk in chunks {
            frames.spare(chunk.len()).extend_from_slice(chunk);
            while let Some(frame) = frames.next() {
                push(&frames, frame);
            }
        }
        while let Some(frame) = frames.last() {
            push(&frames, frame);
        }
        out
    }

    fn whole(lines: &[(u64, &str)]) -> Vec<(u64, String, Verdict)> {
        lines.iter().map(|&(line, text)| (line, text.to_owned(), Verdict::Whole)).collect()
    }

    #[test]
    fn cuts_lines_across_chunks() {
        let got = frames(Framing::Lines, 100, &[b"\xEF", b"\xBB\xBFab", b"c\r", b"\n\nd\n", b"e"]);
        assert_eq!(got, whole(&[(1, "abc"), (2, ""), (3, "d"), (4, "e")]));
    }

    #[test]
    fn newlines_in_quotes_are_data() {
        let got = frames(CSV, 100, &[b"a,\"b\n", b"\"", b"\"c\"\nd\"e,f\n"]);
        assert_eq!(got, whole(&[(1, "a,\"b\n\"\"c\""), (3, "d\"e,f")]));
    }

    #[test]
    fn an_overlong_line_is_dropped_as_it_comes() {
        let got = frames(Framing::Lines, 4, &[b"ok\n12345", b"6789", b"0\nok\n12345\nlast"]);
        let long = |line, text: &str| (line, text.to_owned(), Verdict::TooLong);
        let mut want = whole(&[(1, "ok"), (3, "ok"), (5, "last")]);
        want.insert(1, long(2, "12345"));
        want.insert(3, long(4, "12345"));
        assert_eq!(got, want);
    }

    #[test]
    fn an_open_quote_costs_one_line() {
        let got = frames(CSV, 100, &[b"1\n\"2\n3\n4"]);
        assert_eq!(got[1], (2, "\"2".to_owned(), Verdict::OpenQuote));
        assert_eq!((&got[..1], &got[2..]), (&whole(&[(1, "1")])[..], &whole(&[(3, "3"), (4, "4")])[..]));
        let got = frames(CSV, 4, &[b"\"2\n3\n4\n5\n6\n"]);
        assert_eq!(got[0], (1, "\"2".to_owned(), Verdict::TooLong));
        assert_eq!(got.len(), 5);
    }

    #[test]
    fn one_goes_on_at_any_record_however_the_bytes_come() {
        let text =
            b"\xEF\xBB\xBFone\r\nlonger than it may be\r\n\n\"two\nlines\",2\n\"open\nthe next\nlonger, and the last";
        let cut = |framing, from: Spot, step: usize| {
            let (mut frames, mut got) = (Frames::new(framing, 14), Vec::new());
            frames.go_on(from);
            let mut push = |frames: &Frames, f: Frame| {
                got.push((f.line, frames.bytes(f.range).to_vec(), f.verdict, frames.spot()));
            };
            for chunk in text[from.byte as usize..].chunks(step) {
                frames.spare(step).extend_from_slice(chunk);
                while let Some(frame) = frames.next() {
                    push(&frames, frame);
                }
            }
            while let Some(frame) = frames.last() {
                push(&frames, frame);
            }
            got
        };
        let plain = |cut: &[(u64, Vec<u8>, Verdict, Spot)]| -> Vec<(u64, Vec<u8>, Verdict)> {
            cut.iter().map(|(line, bytes, verdict, _)| (*line, bytes.clone(), *verdict)).collect()
        };
        for framing in [Framing::Lines, CSV] {
            let want = cut(framing, Spot { byte: 0, line: 1, skipping: false }, 1_000);
            for (step, other) in (1..30).flat_map(|step| (1..30).map(move |other| (step, other))) {
                let all = cut(framing, Spot { byte: 0, line: 1, skipping: false }, step);
                assert_eq!(plain(&all), plain(&want), "by {step}");
                for (given, (_, _, _, spot)) in all.iter().enumerate() {
                    assert_eq!(
                        plain(&cut(framing, *spot, other)),
                        plain(&want[given + 1..]),
                        "by {step}, then {other}"
                    );
                }
            }
        }
    }
}
