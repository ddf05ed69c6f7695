//! What must hold whatever bytes are stored: they are read, or are told to be damaged. For `damage.rs` and the fuzz targets.

use std::future::Future;
use std::sync::Arc;

use futures_util::FutureExt;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use updraft_checkpoint::file::Decoder;
use updraft_checkpoint::{Error, Folder, Restore};

/// What a future comes to that waits for nothing.
pub(crate) fn now<T>(future: impl Future<Output = T>) -> T {
    future.now_or_never().expect("memory does not wait")
}

/// A file of state: cut anywhere, it gives the same pieces, or the same error.
pub(crate) fn state_file(bytes: &[u8]) {
    let decode = |step: usize| {
        let (mut decoder, mut pieces) = (Decoder::default(), Vec::new());
        for bytes in bytes.chunks(step) {
            decoder.feed(bytes);
            while let Some(piece) = decoder.next_piece()? {
                pieces.push(piece);
            }
        }
        decoder.finish().map(|()| pieces)
    };
    assert_eq!(decode(7), decode(bytes.len().max(1)));
}

/// An entry of the log: it is a checkpoint, or nobody goes on from it.
pub(crate) fn log_entry(text: &[u8]) -> Restore {
    let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    now(async {
        store.put(&Path::from("log/00000000000000000001.json"), text.to_vec().into()).await?;
        Ok::<_, object_store::Error>(())
    })
    .expect("memory does not fail");
    let folder = now(Folder::open(store, &Path::from("/"))).expect("others may have written before");
    let restore = now(folder.restore(None)).expect("damage is told apart");
    assert!(restore.damaged.iter().all(|error| matches!(error, Error::Damaged { .. })));
    restore
}
