//! [`Counted`]: bytes that are counted as they are read, for who asks how far that has come.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, ReadBuf};

/// An input, and how many bytes have come out of it.
pub(super) struct Counted<R> {
    input: R,
    read: Arc<AtomicU64>,
}

impl<R> Counted<R> {
    /// They are added to `read`.
    pub(super) fn new(input: R, read: &Arc<AtomicU64>) -> Self {
        Self { input, read: read.clone() }
    }
}

impl<R: AsyncRead + Unpin> AsyncRead for Counted<R> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let polled = Pin::new(&mut self.input).poll_read(cx, buffer);
        self.read.fetch_add((buffer.filled().len() - before) as u64, Ordering::Relaxed);
        polled
    }
}
