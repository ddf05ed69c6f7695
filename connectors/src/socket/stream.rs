//! A connection, whatever kind of socket it is of.

use std::future::poll_fn;
use std::io::{self, ErrorKind};
use std::task::{Context, Poll, ready};

use tokio::io::AsyncWriteExt;
use tokio::net::{TcpStream, UnixStream};

use crate::columns::Decode;
use crate::format::{Decoder, Format};

/// How much is read at a time, in bytes.
const CHUNK: usize = 64 << 10;

/// How much of what a peer has sent unasked is read away before its connection is closed, in bytes.
const DISCARDED: usize = 1 << 20;

/// Where bytes go that are read.
pub(super) trait Room {
    /// Room for `bytes` more, to be extended.
    fn room(&mut self, bytes: usize) -> &mut Vec<u8>;
}

impl<F: Format> Room for Decoder<F> {
    fn room(&mut self, bytes: usize) -> &mut Vec<u8> {
        self.spare(bytes)
    }
}

impl Room for Box<dyn Decode> {
    fn room(&mut self, bytes: usize) -> &mut Vec<u8> {
        self.buffer(bytes)
    }
}

/// One connection.
#[derive(Debug)]
pub(super) enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Stream {
    /// What is written goes out at once: it comes in bundles already.
    pub(super) fn tcp(stream: TcpStream) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        Ok(Self::Tcp(stream))
    }

    /// Reads what has come, about 64 KiB at most; 0 at the end.
    pub(super) fn poll_read(&self, cx: &mut Context<'_>, decoder: &mut impl Room) -> Poll<io::Result<usize>> {
        loop {
            ready!(match self {
                Self::Tcp(stream) => stream.poll_read_ready(cx),
                Self::Unix(stream) => stream.poll_read_ready(cx),
            })?;
            // Room is made only now: many connections wait, few have something.
            let buffer = decoder.room(CHUNK);
            let read = match self {
                Self::Tcp(stream) => stream.try_read_buf(buffer),
                Self::Unix(stream) => stream.try_read_buf(buffer),
            };
            match read {
                Err(error) if is_passing(&error) => {}
                read => return Poll::Ready(read),
            }
        }
    }

    /// Writes as much of `bytes` as the operating system takes now.
    pub(super) fn poll_write(&self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        loop {
            ready!(match self {
                Self::Tcp(stream) => stream.poll_write_ready(cx),
                Self::Unix(stream) => stream.poll_write_ready(cx),
            })?;
            let written = match self {
                Self::Tcp(stream) => stream.try_write(bytes),
                Self::Unix(stream) => stream.try_write(bytes),
            };
            match written {
                Err(error) if is_passing(&error) => {}
                Ok(0) => return Poll::Ready(Err(ErrorKind::WriteZero.into())),
                written => return Poll::Ready(written),
            }
        }
    }

    /// Waits until all of `bytes` are with the operating system.
    pub(super) async fn write_all(&self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let written = poll_fn(|cx| self.poll_write(cx, bytes)).await?;
            bytes = &bytes[written..];
        }
        Ok(())
    }

    /// Says that nothing follows. What the peer has sent is read away first: if a socket is closed with something unread,
    /// the peer may lose what it has not read yet.
    pub(super) async fn hang_up(mut self) -> io::Result<()> {
        self.discard();
        match &mut self {
            Self::Tcp(stream) => stream.shutdown().await,
            Self::Unix(stream) => stream.shutdown().await,
        }
    }

    fn discard(&self) {
        let mut waste = [0; 4 << 10];
        for _ in 0..DISCARDED / waste.len() {
            let read = match self {
                Self::Tcp(stream) => stream.try_read(&mut waste),
                Self::Unix(stream) => stream.try_read(&mut waste),
            };
            if !read.is_ok_and(|read| read > 0) {
                return;
            }
        }
    }

    /// Breaks off, so that the peer does not take what it has for all of it. (A UNIX socket knows no such thing.)
    pub(super) fn break_off(self) {
        if let Self::Tcp(stream) = &self {
            // At worst it ends as if all were well.
            let _ = stream.set_zero_linger();
        }
    }
}

/// Whether to try again when it is ready.
fn is_passing(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted)
}
