//! [`Spill`]: where keyed state goes that memory has no room for, and when.
//!
//! It is an embedded log-structured merge tree ([`fjall`]) on the local disk, with a keyspace for each driver that has spilled
//! something: the [entries](super::entries) by their places. It is no more than memory that is large and slow: what survives a
//! crash is in checkpoints. So nothing in it outlives the job, and it is in a [folder] of the process alone.
//!
//! Entries are written in sorted batches, straight into tables. So no journal and no write buffers stand before them, of which
//! the one would write all twice and the other need memory; and who writes hears at once when the disk is full.

mod folder;

use std::fmt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use fjall::compaction::Leveled;
use fjall::config::PinningPolicy;
use fjall::{Database, Keyspace, KeyspaceCreateOptions, KvSeparationOptions, PersistMode};
use updraft_kernel::{Account, block_on, give_up};

use self::folder::Folder;
use crate::metrics::SpillMetrics;
use crate::source::Error;
use crate::sync::{Mutex, lock};

/// Bytes that a driver keeps in memory however little there is.
const LEAST: usize = 16 << 10;
/// The least budget that a single entry is held against.
const LEAST_BUDGET: usize = 1 << 20;
/// Entries that are read at a time.
const ENTRIES: usize = 256;
/// Batches that are merged at a time, and how many may be written before that: keys come in no order, so all that there is is merged
/// each time.
const MERGED: u8 = 8;
const UNMERGED: usize = 2 * MERGED as usize;
/// Bytes of an entry that is kept apart, so that merges have to do with where it is alone (Lu et al., "WiscKey", FAST 2016).
const APART: u32 = 128;
/// The share of a file of such entries that is no longer needed when the others are moved.
const STALE: f32 = 0.5;

/// See the module's page.
pub struct Spill {
    account: Arc<Account>,
    /// Where its own folder is made.
    parent: PathBuf,
    drivers: usize,
    /// What is open, as long as somebody has spilled something.
    disk: Mutex<Weak<Disk>>,
    /// Bytes of memory that it takes itself, as charged.
    bytes: Arc<AtomicUsize>,
    metrics: Arc<SpillMetrics>,
}

impl fmt::Debug for Spill {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Spill").field("parent", &self.parent).finish_non_exhaustive()
    }
}

impl Spill {
    /// For stages of so many drivers, which go by `account`. It makes a folder of its own in `parent`, or where the system keeps
    /// what is temporary, as soon as something is spilled.
    pub fn new(account: Arc<Account>, drivers: usize, parent: Option<PathBuf>, metrics: Arc<SpillMetrics>) -> Self {
        let parent = parent.unwrap_or_else(std::env::temp_dir);
        Self { account, parent, drivers: drivers.max(1), disk: Mutex::default(), bytes: Arc::default(), metrics }
    }

    /// Whether memory is short: three quarters of a budget are in use, with so many bytes `more` that are not charged yet.
    pub(crate) fn is_short(&self, more: isize) -> bool {
        self.account.excess(more, |budget| budget - budget / 4) > 0
    }

    /// How many bytes a driver should free that has `own` ones which it can spill.
    pub(super) fn to_free(&self, own: usize, more: isize) -> usize {
        if own <= LEAST || !self.is_short(more) {
            return 0;
        }
        // All drivers see the same, and each does its part. A good deal more, so that it is not asked for at once again: a batch costs
        // files, which are synced, and a share of a merge, however small it is.
        let excess = self.account.excess(more, |budget| budget - budget / 4 - budget / 32);
        (excess / self.drivers).max(own / 3).min(own - LEAST)
    }

    /// By how many bytes a driver's entries may grow at once.
    pub(super) fn step(&self) -> usize {
        (self.account.limit() / 32 / self.drivers).max(LEAST / 4)
    }

    /// Bytes that are written at a time.
    pub(super) fn batch(&self) -> usize {
        (self.account.limit() / 8 / self.drivers).clamp(64 << 10, 16 << 20)
    }

    /// Bytes that are read at a time, about.
    fn at_a_time(&self) -> usize {
        (self.account.limit() / 32 / self.drivers).clamp(16 << 10, 256 << 10)
    }

    /// Bytes that an entry may have.
    pub(super) fn most(&self) -> usize {
        self.account.limit().max(LEAST_BUDGET).min(u32::MAX as usize)
    }

    /// Bytes of memory that it takes itself, as charged.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Acquire)
    }

    /// A file without a name, which goes when nobody has it any more.
    pub(crate) fn file(&self) -> Result<std::fs::File, Error> {
        let made = std::fs::create_dir_all(&self.parent).and_then(|()| tempfile::tempfile_in(&self.parent));
        made.map_err(|error| self.failed(&error))
    }

    /// What is told when something cannot be kept.
    pub(crate) fn failed(&self, error: &(impl fmt::Display + ?Sized)) -> Error {
        format!(
            "state that memory has no room for cannot be kept in `{}`: {error}; make room there, name another folder \
             (`Job::spill_to`), or allow more memory (`Job::memory_budget`)",
            self.parent.display()
        )
        .into()
    }

    /// Where a driver may put its entries.
    pub(super) fn store(self: &Arc<Self>) -> Result<Store, Error> {
        let spill = self.clone();
        blocking(move || spill.open())
    }

    fn open(self: &Arc<Self>) -> Result<Store, Error> {
        let mut open = lock(&self.disk);
        let disk = match open.upgrade() {
            Some(disk) => disk,
            None => {
                let disk = Arc::new(Disk::open(self).map_err(|error| self.failed(&*error))?);
                *open = Arc::downgrade(&disk);
                disk
            }
        };
        drop(open);
        let keyspace = disk.keyspace().map_err(|error| self.failed(&error))?;
        Ok(Store { keyspace, disk, spill: self.clone(), written: (0, 0) })
    }
}

/// The tree, and its folder.
struct Disk {
    /// Before its folder, which is deleted.
    database: Database,
    _folder: Folder,
    keyspaces: AtomicU64,
    /// Batches that were written.
    batches: AtomicU64,
    account: Arc<Account>,
    bytes: Arc<AtomicUsize>,
    charged: usize,
}

impl Disk {
    fn open(spill: &Spill) -> Result<Self, Error> {
        let folder = Folder::new(&spill.parent)?;
        let cache = (spill.account.limit() / 16).clamp(64 << 10, 64 << 20);
        let path = folder.path().join("tree");
        let database = Database::builder(path).cache_size(cache as u64).worker_threads(1).open()?;
        tracing::info!("keyed state that memory has no room for is kept in `{}`", folder.path().display());
        spill.account.charge(cache);
        spill.bytes.fetch_add(cache, Ordering::AcqRel);
        Ok(Self {
            database,
            _folder: folder,
            keyspaces: AtomicU64::new(0),
            batches: AtomicU64::new(0),
            account: spill.account.clone(),
            bytes: spill.bytes.clone(),
            charged: cache,
        })
    }

    fn keyspace(&self) -> fjall::Result<Keyspace> {
        let number = self.keyspaces.fetch_add(1, Ordering::Relaxed);
        self.database.keyspace(&number.to_string(), || {
            // Who asks for a place knows that it is there; and what the cache has no room for is not to be in memory either.
            KeyspaceCreateOptions::default()
                .expect_point_read_hits(true)
                .index_block_partitioning_policy(PinningPolicy::all(true))
                .filter_block_partitioning_policy(PinningPolicy::all(true))
                .index_block_pinning_policy(PinningPolicy::new([true, false]))
                .filter_block_pinning_policy(PinningPolicy::new([true, false]))
                .compaction_strategy(Arc::new(Leveled::default().with_l0_threshold(MERGED)))
                .with_kv_separation(Some(
                    KvSeparationOptions::default().separation_threshold(APART).staleness_threshold(STALE),
                ))
        })
    }
}

impl Disk {
    /// Waits until the tree has merged its tables, which it does once for each batch: who reads would have to look into ever more of
    /// them.
    fn wait_for_merges(&self) -> fjall::Result<()> {
        while self.database.compactions_completed() + UNMERGED < self.batches.load(Ordering::Relaxed) as usize {
            // An error if whoever merges has failed.
            self.database.persist(PersistMode::Buffer)?;
            std::thread::sleep(Duration::from_millis(1));
        }
        Ok(())
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        self.bytes.fetch_sub(self.charged, Ordering::AcqRel);
        self.account.release(self.charged);
    }
}

/// The entries of a driver that memory has no room for.
pub(super) struct Store {
    keyspace: Keyspace,
    /// After the keyspace, as long as which it has to be there.
    disk: Arc<Disk>,
    spill: Arc<Spill>,
    /// Entries that were ever written, and their bytes.
    written: (usize, usize),
}

impl Store {
    /// Lets go of it. The last one to do so waits for threads, and deletes what may be many files.
    pub(super) fn close(self) {
        blocking(move || drop(self));
    }
}

/// Entries that are to be written.
#[derive(Default)]
pub(super) struct Batch {
    pub(super) bytes: Vec<u8>,
    /// The place of each, and where its bytes begin and end.
    pub(super) entries: Vec<(u32, usize, usize)>,
}

impl Store {
    /// How many entries should be read at a time.
    pub(super) fn window(&self) -> usize {
        let (entries, bytes) = self.written;
        (self.spill.at_a_time() / (bytes / entries.max(1)).max(1)).clamp(1, ENTRIES)
    }

    /// Writes entries.
    pub(super) fn write(&mut self, mut batch: Batch) -> Result<(), Error> {
        let (entries, bytes) = (batch.entries.len(), batch.bytes.len());
        if entries == 0 {
            return Ok(());
        }
        (self.written.0, self.written.1) = (self.written.0 + entries, self.written.1 + bytes);
        self.spill.metrics.wrote(entries, bytes);
        let (keyspace, disk) = (self.keyspace.clone(), self.disk.clone());
        let written = blocking(move || {
            disk.wait_for_merges()?;
            batch.entries.sort_unstable();
            let mut ingestion = keyspace.start_ingestion()?;
            for (place, start, end) in batch.entries {
                ingestion.write(place.to_be_bytes(), &batch.bytes[start..end])?;
            }
            ingestion.finish()?;
            disk.batches.fetch_add(1, Ordering::Relaxed);
            Ok::<_, fjall::Error>(())
        });
        written.map_err(|error| self.spill.failed(&error))
    }

    /// The entries at these places, which have been written, in the same order.
    pub(super) fn read(&self, places: Vec<u32>) -> Result<Vec<(u32, fjall::Slice)>, Error> {
        let keyspace = self.keyspace.clone();
        let read = blocking(move || {
            let mut entries = Vec::with_capacity(places.len());
            for place in places {
                let entry = keyspace.get(place.to_be_bytes()).map_err(|error| error.to_string())?;
                entries.push((place, entry.ok_or("what was written is not there")?));
            }
            Ok::<_, String>(entries)
        });
        let read = read.map_err(|error| self.spill.failed(&error))?;
        self.spill.metrics.read(read.len(), read.iter().map(|(_, entry)| entry.len()).sum());
        Ok(read)
    }
}

/// Does `work` while others have the kernel, where there are threads for that.
fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    let Ok(runtime) = tokio::runtime::Handle::try_current() else { return work() };
    match block_on(runtime.spawn_blocking(work)) {
        Ok(done) => done,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(error) => give_up(error),
        },
    }
}
