//! A store that takes its time and fails; and the dice that say when. Of what fails, some has been done, some is done in part, some later:
//! after what follows it. At times it is full for a while, and puts nothing.

use std::fmt;
use std::future::poll_fn;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::Poll;

use futures_util::stream::{self, BoxStream};
use futures_util::{FutureExt, StreamExt, TryStreamExt};
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, ObjectStoreExt,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};

/// Numbers that follow from a seed.
#[derive(Clone, Debug)]
pub(crate) struct Dice(Arc<AtomicU64>);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(Arc::new(AtomicU64::new(seed)))
    }

    /// A number below `end`, by SplitMix64.
    pub(crate) fn below(&self, end: usize) -> usize {
        let mut z = self.0.fetch_add(0x9E37_79B9_7F4A_7C15, Ordering::Relaxed).wrapping_add(0x9E37_79B9_7F4A_7C15);
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((z ^ (z >> 31)) % end.max(1) as u64) as usize
    }
}

/// See the module's page.
#[derive(Clone, Debug)]
pub(crate) struct Faulty {
    inner: Arc<InMemory>,
    dice: Dice,
    /// How many of a hundred requests fail.
    faults: Arc<AtomicUsize>,
    /// Puts that are on their way, though their senders have given up.
    late: Arc<Mutex<Vec<(Path, PutPayload, PutOptions)>>>,
    /// Puts that are refused from now on, for want of room.
    full: Arc<AtomicUsize>,
}

impl fmt::Display for Faulty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a store that fails")
    }
}

fn failure() -> Error {
    Error::Generic { store: "faulty", source: "as the dice say".into() }
}

async fn wait(dice: &Dice) {
    // Some take long.
    let turns = if dice.below(50) == 0 { 300 } else { 3 };
    for _ in 0..dice.below(turns) {
        let mut has_waited = false;
        poll_fn(|cx| {
            if std::mem::replace(&mut has_waited, true) {
                return Poll::Ready(());
            }
            cx.waker().wake_by_ref();
            Poll::Pending
        })
        .await;
    }
}

impl Faulty {
    pub(crate) fn new(dice: Dice, faults: usize) -> Self {
        let (inner, late, full) = (Arc::default(), Arc::default(), Arc::default());
        Self { inner, dice, faults: Arc::new(faults.into()), late, full }
    }

    /// Nothing fails from now on, and nothing is on its way.
    pub(crate) fn heal(&self) {
        self.fail(0);
        self.full.store(0, Ordering::Relaxed);
        while self.arrives() {}
    }

    /// So many of a hundred requests fail from now on.
    pub(crate) fn fail(&self, faults: usize) {
        self.faults.store(faults, Ordering::Relaxed);
    }

    /// How many objects there are below a folder.
    pub(crate) fn count(&self, folder: &str) -> usize {
        let all = self.inner.list(Some(&Path::from(folder))).try_collect::<Vec<_>>();
        all.now_or_never().unwrap().unwrap().len()
    }

    fn fails(&self) -> bool {
        self.dice.below(100) < self.faults.load(Ordering::Relaxed)
    }

    /// Something that was on its way arrives: whether there was something.
    fn arrives(&self) -> bool {
        let late = {
            let late = &mut *self.late.lock().unwrap();
            if late.is_empty() { None } else { Some(late.swap_remove(self.dice.below(late.len()))) }
        };
        late.map(|(path, payload, options)| drop(self.inner.put_opts(&path, payload, options).now_or_never())).is_some()
    }

    /// Whether there is no room for what is put.
    fn is_full(&self) -> bool {
        if self.fails() && self.dice.below(4) == 0 {
            self.full.store(self.dice.below(8), Ordering::Relaxed);
        }
        let less = |left: usize| left.checked_sub(1);
        self.full.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less).is_ok()
    }

    async fn before(&self) -> Result<()> {
        wait(&self.dice).await;
        if self.dice.below(4) == 0 {
            self.arrives();
        }
        if self.fails() { Err(failure()) } else { Ok(()) }
    }

    /// What was done is told, or not.
    async fn after<T>(&self, result: Result<T>) -> Result<T> {
        wait(&self.dice).await;
        if self.fails() { Err(failure()) } else { result }
    }
}

#[async_trait::async_trait]
impl ObjectStore for Faulty {
    async fn put_opts(&self, location: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        self.before().await?;
        if self.is_full() {
            return Err(failure());
        }
        if self.fails() && self.dice.below(2) == 0 {
            self.late.lock().unwrap().push((location.clone(), payload, options));
            return Err(failure());
        }
        if self.fails() {
            // Only the first part of it arrives.
            let bytes: Vec<u8> = payload.iter().flat_map(|part| part.to_vec()).collect();
            let torn = bytes[..self.dice.below(bytes.len())].to_vec();
            let _ = self.inner.put_opts(location, torn.into(), options).await;
            return Err(failure());
        }
        let result = self.inner.put_opts(location, payload, options).await;
        self.after(result).await
    }

    async fn put_multipart_opts(&self, _: &Path, _: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        Err(Error::NotImplemented { operation: "put_multipart".into(), implementer: "faulty".into() })
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.before().await?;
        let result = self.inner.get_opts(location, options).await;
        self.after(result).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        let store = self.clone();
        let delete = move |location: Result<Path>| {
            let store = store.clone();
            async move {
                let location = location?;
                store.before().await?;
                let result = store.inner.delete(&location).await.map(|()| location);
                store.after(result).await
            }
        };
        locations.then(delete).boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let (inner, prefix) = (self.inner.clone(), prefix.cloned());
        let (dice, fails) = (self.dice.clone(), self.fails());
        let all = async move {
            wait(&dice).await;
            let all = inner.list(prefix.as_ref()).collect::<Vec<_>>().await;
            wait(&dice).await;
            if fails { vec![Err(failure())] } else { all }
        };
        stream::once(all).flat_map(stream::iter).boxed()
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, options).await
    }
}
