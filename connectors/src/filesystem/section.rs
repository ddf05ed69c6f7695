//! The lines of a file that begin among some of its bytes: files are cut between lines wherever the cut falls.

use std::io;
use std::ops::Range;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, ReadBuf};

/// Leaves out what comes before the first line that begins in a range, and ends after the last one.
#[derive(Debug)]
pub(super) struct Section<R> {
    input: R,
    /// Where in the file the next byte of the input is.
    at: u64,
    end: u64,
    state: State,
    /// Where in the file its own first byte is, once it is known.
    first: Arc<AtomicU64>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    /// In a line that begins before.
    Before,
    Within,
    Ended,
}

impl<R> Section<R> {
    /// Of an `input` that begins one byte before `range`, or with it at the beginning of the file.
    pub(super) fn new(input: R, range: Range<u64>) -> Self {
        let state = if range.start == 0 { State::Within } else { State::Before };
        Self { input, at: range.start.saturating_sub(1), end: range.end, state, first: Arc::default() }
    }

    /// Of an `input` that begins at `at`, where a line begins, or with the rest of one that nobody wants.
    pub(super) fn from(input: R, at: u64, end: u64) -> Self {
        let state = if at < end { State::Within } else { State::Ended };
        Self { input, at, end, state, first: Arc::default() }
    }

    /// Where in the file its first byte is: to be asked once that has been read.
    pub(super) fn first(&self) -> Arc<AtomicU64> {
        self.first.clone()
    }

    /// Which of the bytes that come next belong to it.
    fn keep(&mut self, bytes: &[u8]) -> Range<usize> {
        let at = self.at;
        self.at += bytes.len() as u64;
        let mut from = 0;
        if self.state == State::Before {
            let Some(newline) = memchr::memchr(b'\n', bytes) else { return 0..0 };
            from = newline + 1;
            self.state = State::Within;
            self.first.store(at + from as u64, Ordering::Relaxed);
        }
        if at + from as u64 >= self.end && from > 0 {
            self.state = State::Ended;
            return 0..0;
        }
        // The last line ends with the first newline that the next one may begin after.
        let last = (self.end - 1).saturating_sub(at).max(from as u64);
        let rest = usize::try_from(last).ok().and_then(|last| Some((last, bytes.get(last..)?)));
        match rest.and_then(|(last, rest)| Some(last + memchr::memchr(b'\n', rest)?)) {
            Some(newline) => {
                self.state = State::Ended;
                from..newline + 1
            }
            None => from..bytes.len(),
        }
    }
}

impl<R: AsyncRead + Unpin> AsyncRead for Section<R> {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        while self.state != State::Ended {
            ready!(Pin::new(&mut self.input).poll_read(context, buf))?;
            let bytes = &buf.filled()[before..];
            if bytes.is_empty() {
                break;
            }
            let kept = self.keep(bytes);
            buf.filled_mut().copy_within(before + kept.start..before + kept.end, before);
            buf.set_filled(before + kept.len());
            if !kept.is_empty() {
                break;
            }
        }
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

    use std::pin::pin;
    use std::task::Waker;

    use super::*;

    /// Gives `step` bytes at a time.
    struct Slow<'a>(&'a [u8], usize);

    impl AsyncRead for Slow<'_> {
        fn poll_read(mut self: Pin<&mut Self>, _: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
            let (now, later) = self.0.split_at(self.0.len().min(self.1).min(buf.remaining()));
            buf.put_slice(now);
            self.0 = later;
            Poll::Ready(Ok(()))
        }
    }

    fn section(text: &[u8], range: Range<usize>, step: usize) -> Vec<u8> {
        let input = Slow(&text[range.start.saturating_sub(1)..], step);
        let mut section = pin!(Section::new(input, range.start as u64..range.end as u64));
        let (mut all, mut bytes) = (Vec::new(), [0; 5]);
        loop {
            let mut buf = ReadBuf::new(&mut bytes);
            let read = section.as_mut().poll_read(&mut Context::from_waker(Waker::noop()), &mut buf);
            assert!(matches!(read, Poll::Ready(Ok(()))));
            if buf.filled().is_empty() {
                return all;
            }
            all.extend_from_slice(buf.filled());
        }
    }

    #[test]
    fn each_line_is_in_the_section_that_it_begins_in() {
        for text in ["one\ntwo\n\nthree, which is longer\nfour", "\n\n\n", "no newline at all", "a\nb\nc\n"] {
            let text = text.as_bytes();
            for (from, to) in (0..text.len()).flat_map(|from| (from + 1..=text.len()).map(move |to| (from, to))) {
                let (mut at, mut want) = (0, Vec::new());
                for line in text.split_inclusive(|byte| *byte == b'\n') {
                    if (from..to).contains(&at) {
                        want.extend_from_slice(line);
                    }
                    at += line.len();
                }
                for step in 1..7 {
                    assert_eq!(section(text, from..to, step), want, "{from}..{to} by {step}");
                }
            }
        }
    }
}
