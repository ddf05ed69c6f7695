//! `key_by`: what records have in common.

use crate::bundle::Record;
use crate::operator::WindowedStream;
use crate::pipe::Pipe;
use crate::stream::Stream;
use crate::table::Key;
use crate::window::Windows;

/// A stream of which the records are grouped.
#[must_use = "a stream does nothing until it reaches a sink"]
pub struct KeyedStream<I, P, F> {
    pub(crate) stream: Stream<I, P>,
    pub(crate) key: F,
}

impl<I: Record, P: Pipe<I>> Stream<I, P> {
    /// Groups records by what `key` reads from them. Nothing is moved between kernels.
    pub fn key_by<K, F>(self, key: F) -> KeyedStream<I, P, F>
    where
        K: Key,
        F: Fn(&P::Out) -> K + Clone + Send + Sync + 'static,
    {
        KeyedStream { stream: self, key }
    }

    /// All records of a window together.
    pub fn window_all<W: Windows>(self, windows: W) -> WindowedStream<I, P, impl Fn(&P::Out) + Clone + Send + Sync, W> {
        self.key_by(|_| ()).window(windows)
    }
}

impl<I: Record, P: Pipe<I>, F> KeyedStream<I, P, F> {
    /// Groups records by window of their event time too.
    pub fn window<W>(self, windows: W) -> WindowedStream<I, P, F, W> {
        WindowedStream { stream: self.stream, key: self.key, windows }
    }
}
