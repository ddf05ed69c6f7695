//! An object from some byte to its end, as it comes.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use futures_util::StreamExt;
use object_store::{GetOptions, GetRange, ObjectStore};
use tokio::io::{AsyncRead, ReadBuf};
use tokio::sync::mpsc::{Receiver, Sender, channel};
use updraft_dataflow::Error;

use super::{Store, key, runtime};

/// How many pieces are fetched ahead.
const AHEAD: usize = 4;

/// Bytes that are on their way. Who drops it ends the request.
#[derive(Debug)]
pub(crate) struct Body {
    pieces: Receiver<io::Result<Bytes>>,
    rest: Bytes,
}

impl Store {
    /// The bytes of an object from byte `from` on.
    pub(crate) fn stream(&self, path: &str, from: u64) -> Result<Body, Error> {
        let (give, pieces) = channel(AHEAD);
        let (store, path) = (self.clone(), path.to_owned());
        runtime::spawn(async move {
            if let Err(error) = store.pump(&path, from, &give).await {
                let _ = give.send(Err(error)).await;
            }
        })?;
        Ok(Body { pieces, rest: Bytes::new() })
    }

    async fn pump(&self, path: &str, from: u64, give: &Sender<io::Result<Bytes>>) -> io::Result<()> {
        let range = (from > 0).then_some(GetRange::Offset(from));
        let options = GetOptions { range, ..GetOptions::default() };
        let object = self.objects.get_opts(&key(path).map_err(io::Error::other)?, options).await?;
        let mut pieces = object.into_stream();
        while let Some(piece) = pieces.next().await {
            if give.send(Ok(piece?)).await.is_err() {
                return Ok(());
            }
        }
        Ok(())
    }
}

impl AsyncRead for Body {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        while self.rest.is_empty() {
            match ready!(self.pieces.poll_recv(context)) {
                Some(piece) => self.rest = piece?,
                None => return Poll::Ready(Ok(())),
            }
        }
        let bytes = self.rest.len().min(buf.remaining());
        buf.put_slice(&self.rest[..bytes]);
        self.rest.advance(bytes);
        Poll::Ready(Ok(()))
    }
}
