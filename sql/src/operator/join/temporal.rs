//! The temporal join, by event time: each row with the version of a table that was valid at its time
//! (`FOR SYSTEM_TIME AS OF`).
//!
//! The right input is the table: a row of it is what its key is from its time on, until a later one, or until it is
//! deleted. Left rows wait until the watermark has passed them, as earlier versions may still come until then; versions that
//! nobody can ask for any more are dropped.

use arrow::array::UInt32Array;
use datafusion_common::JoinType;
use updraft_dataflow::join::Side;
use updraft_dataflow::operator::{Operator, Outbox};
use updraft_dataflow::{Bundle, Error, Hashed, Keeps, Punctuation, RowKind, Rows, Saved, Snapshot};

use super::condition::{Pairs, keep_equal};
use super::due::Due;
use super::log::{Log, NONE};
use super::plan::{Plan, or_end};
use super::saved::Extra;
use super::search::{CHUNK, Search};
use super::store::{Store, take_hashed};
use super::times::TimeColumn;
use super::{Input, Joined};
use crate::operator::saved::{Pieces, Share, load, load_rows, save, save_rows};

/// See the module's page.
///
/// The keys of the join are the table's primary key; what else must be equal belongs to the filter, which is asked of the one
/// version that is valid. Of two versions at the same time the later one to come counts. `-U` rows of the table say nothing, as
/// the `+U` that follows does; a `-D` row's time is when the key ended.
#[derive(Clone, Debug)]
pub struct TemporalJoin {
    pub(super) plan: Plan,
    columns: [TimeColumn; 2],
    waiting: Vec<Waiting>,
    waiting_bytes: usize,
    versions: Store<Version>,
    /// Versions that the watermark has not passed.
    unsettled: Due,
    /// What of the rows that wait is saved; arrivals are batches.
    pieces: Pieces,
    /// As far as left rows were joined.
    watermark: i64,
    share: Share,
    /// Whether something was taken back, and nothing has come since.
    is_loading: bool,
}

/// The parts of what is saved.
const WAITING: u8 = 0;
const VERSIONS: u8 = 1;
const WATERMARK: u8 = 2;

/// Left rows that wait for the watermark.
#[derive(Clone, Debug)]
struct Waiting {
    arrived: u64,
    rows: Hashed,
    times: Vec<i64>,
    first: i64,
}

#[derive(Clone, Copy, Debug)]
struct Version {
    time: i64,
    /// From then on there is none.
    ends: bool,
}

impl Extra for Version {
    fn numbers(self) -> [i64; 2] {
        [self.time, i64::from(self.ends)]
    }

    fn of([time, ends]: [i64; 2]) -> Self {
        Self { time, ends: ends != 0 }
    }
}

impl TemporalJoin {
    /// Joins by columns of time, of the left input and of the right one: timestamps.
    ///
    /// # Errors
    /// When what was asked for does not fit the inputs, or is neither an inner nor a left join.
    pub fn new(joined: Joined, left_time: usize, right_time: usize) -> Result<Self, Error> {
        let columns = [TimeColumn::new(&joined.left, left_time)?, TimeColumn::new(&joined.right, right_time)?];
        let plan = Plan::new(joined)?.only(&[JoinType::Inner, JoinType::Left], "a temporal join")?;
        let versions = Store::new(plan.input(Input::Right).clone());
        // Watermarks are rarely more than some seconds behind.
        let unsettled = Due::new(64_000_000);
        Ok(Self {
            plan,
            columns,
            waiting: Vec::new(),
            waiting_bytes: 0,
            versions,
            unsettled,
            pieces: Pieces::default(),
            watermark: i64::MIN,
            share: Share::default(),
            is_loading: false,
        })
    }

    fn wait(&mut self, rows: Hashed) {
        let times = self.columns[0].of(rows.rows.batch());
        if let (Some(first), Some(last)) = (times.iter().min().copied(), times.iter().max()) {
            let arrived = self.pieces.arrive(times.len(), *last);
            let waiting = Waiting { arrived, rows, times, first };
            self.waiting_bytes += waiting.bytes();
            self.waiting.push(waiting);
        }
    }

    /// New versions.
    fn learn(&mut self, hashed: &Hashed) {
        let batch = hashed.rows.batch();
        let times = self.columns[1].of(batch);
        let matchable = self.plan.matchable(Input::Right, batch);
        let says = |row: &u32| {
            hashed.rows.kind(*row as usize) != RowKind::UpdateBefore
                && matchable.as_ref().is_none_or(|matchable| matchable.is_valid(*row as usize))
        };
        let rows: Vec<u32> = (0..batch.num_rows() as u32).filter(says).collect();
        if rows.is_empty() {
            return;
        }
        let first = self.versions.log.len();
        let version = |row: &u32| {
            let ends = hashed.rows.kind(*row as usize) == RowKind::Delete;
            Version { time: times[*row as usize], ends }
        };
        let (batch, hashes) = or_end(take_hashed(batch, &hashed.hashes, &rows));
        or_end(self.versions.push(batch, &hashes, rows.iter().map(version)));
        rows.iter().enumerate().for_each(|(at, row)| self.unsettled.add((first + at) as u32, times[*row as usize]));
    }

    /// Takes the left rows that the watermark has passed.
    fn ready(&mut self, watermark: i64) -> Vec<(Hashed, Vec<i64>)> {
        let mut ready = Vec::new();
        let waiting = std::mem::take(&mut self.waiting);
        for waiting in waiting {
            let (now, later) = waiting.split(watermark);
            ready.extend(now);
            self.waiting.extend(later);
        }
        self.waiting_bytes = self.waiting.iter().map(Waiting::bytes).sum();
        ready
    }

    /// What comes of left rows: each with its version.
    fn join(&self, hashed: &Hashed, times: &[i64], emit: &mut dyn FnMut(Rows)) {
        let own = Log::of(hashed.rows.batch());
        let versions = self.valid(&own, hashed, times);
        let known = |row: &u32| versions[*row as usize] != NONE;
        let mut matched = Pairs { left: (0..times.len() as u32).filter(known).collect(), right: Vec::new() };
        matched.right = matched.left.iter().map(|row| versions[*row as usize]).collect();
        or_end(self.plan.condition.keep_filtered(&own, &self.versions.log, &mut matched));
        let pairs = if self.plan.kind == JoinType::Left { matched.with_others(times.len()) } else { matched };
        let kinds =
            |rows: &[u32]| hashed.rows.kinds().map(|kinds| rows.iter().map(|row| kinds[*row as usize]).collect());
        for (left, right) in pairs.left.chunks(CHUNK).zip(pairs.right.chunks(CHUNK)) {
            let pairs = Pairs { left: left.to_vec(), right: right.to_vec() };
            let rows = self.plan.rows(Input::Left, &own, &self.versions.log, &pairs, kinds(left));
            rows.into_iter().for_each(&mut *emit);
        }
    }

    /// For each left row the version that is valid at its time, or [`NONE`].
    fn valid(&self, own: &Log, hashed: &Hashed, times: &[i64]) -> Vec<u32> {
        let matchable = self.plan.matchable(Input::Left, hashed.rows.batch());
        let mut valid = vec![NONE; times.len()];
        let mut search = Search::new(&self.versions, &hashed.hashes, matchable.as_ref());
        while !search.is_over() {
            let mut pairs = Pairs::default();
            search.fill(&self.versions, &mut pairs.left, &mut pairs.right, |row, version| version.time <= times[row]);
            or_end(self.plan.condition.keep_equal(own, &self.versions.log, &mut pairs));
            for (row, version) in pairs.left.iter().zip(pairs.right) {
                let valid = &mut valid[*row as usize];
                if *valid == NONE || self.order(*valid) < self.order(version) {
                    *valid = version;
                }
            }
            updraft_kernel::yield_point();
        }
        let ends = |version: u32| version != NONE && self.versions.extras[version as usize].ends;
        valid.iter_mut().filter(|version| ends(**version)).for_each(|version| *version = NONE);
        valid
    }

    /// Versions of a key follow each other in this order.
    fn order(&self, version: u32) -> (i64, u32) {
        (self.versions.extras[version as usize].time, version)
    }

    /// Drops versions that no row from the watermark on can ask for: all of a key up to it, but for the last.
    fn forget(&mut self, watermark: i64) {
        let extras = &self.versions.extras;
        let settled = self.unsettled.before(watermark.saturating_add(1), |row| extras[row as usize].time);
        if settled.is_empty() {
            return;
        }
        let mut hashes: Vec<u64> = settled.iter().map(|row| self.versions.hash(*row)).collect();
        hashes.sort_unstable();
        hashes.dedup();
        let followed = self.followed(&hashes, watermark);
        let ended = settled.into_iter().filter(|row| self.versions.extras[*row as usize].ends);
        let over: Vec<u32> = followed.into_iter().chain(ended).collect();
        for row in over {
            if self.versions.keys.holds(row) {
                self.versions.remove(row);
            }
        }
        if or_end(self.versions.compact()).is_some() {
            self.renumber(watermark);
        }
    }

    fn renumber(&mut self, watermark: i64) {
        let versions = &self.versions;
        let time = |row: u32| (row, versions.extras[row as usize].time);
        self.unsettled.renumber(versions.numbers().map(time).filter(|(_, time)| *time > watermark));
    }

    /// Something comes after what was taken back: that is all there is. Rows before the watermark have gone on, though they
    /// are stored still.
    fn settle(&mut self) {
        if std::mem::replace(&mut self.is_loading, false) {
            self.ready(self.watermark);
            self.versions.is_loaded();
            self.renumber(self.watermark);
        }
    }

    /// The versions up to the watermark that others of the same key, up to it, have followed.
    fn followed(&self, hashes: &[u64], watermark: i64) -> Vec<u32> {
        let keys: Vec<_> = self.plan.condition.keys.iter().map(|(_, right)| (*right, *right)).collect();
        let of_one_key = |mut pairs: Pairs| {
            or_end(keep_equal(&keys, &self.versions.log, &self.versions.log, &mut pairs));
            pairs.left
        };
        let neighbours = self.successions(hashes, watermark, 1);
        let expected = neighbours.len();
        let followed = of_one_key(neighbours);
        if followed.len() == expected {
            return followed;
        }
        // Keys share a hash: what follows one of them may be farther on.
        of_one_key(self.successions(hashes, watermark, usize::MAX))
    }

    /// Versions up to the watermark, each with those of the same hash that follow it, up to `reach` of them.
    fn successions(&self, hashes: &[u64], watermark: i64, reach: usize) -> Pairs {
        let mut pairs = Pairs::default();
        for hash in hashes {
            let of_hash = self.versions.keys.of_hash(*hash);
            let mut rows: Vec<u32> =
                of_hash.filter(|row| self.versions.extras[*row as usize].time <= watermark).collect();
            rows.sort_unstable_by_key(|row| self.order(*row));
            for (at, row) in rows.iter().enumerate() {
                for after in rows[at + 1..].iter().take(reach) {
                    pairs.left.push(*row);
                    pairs.right.push(*after);
                }
            }
        }
        pairs
    }
}

impl Pairs {
    /// The same, with nulls for those of `rows` left rows that are in no pair. Each is in one at most, in order.
    fn with_others(self, rows: usize) -> Self {
        let mut right = vec![NONE; rows];
        self.left.iter().zip(self.right).for_each(|(row, version)| right[*row as usize] = version);
        Self { left: (0..rows as u32).collect(), right }
    }
}

impl Waiting {
    fn bytes(&self) -> usize {
        self.rows.rows.bytes() + self.times.len() * (size_of::<u64>() + size_of::<i64>())
    }

    /// Those before the watermark, and the others.
    fn split(self, watermark: i64) -> (Option<(Hashed, Vec<i64>)>, Option<Self>) {
        if self.first >= watermark {
            return (None, Some(self));
        }
        let (now, later): (Vec<u32>, Vec<u32>) =
            (0..self.times.len() as u32).partition(|row| self.times[*row as usize] < watermark);
        if later.is_empty() {
            return (Some((self.rows, self.times)), None);
        }
        let (arrived, (rows, times)) = (self.arrived, self.take(later));
        let first = times.iter().min().copied();
        (Some(self.take(now)), first.map(|first| Self { arrived, rows, times, first }))
    }

    fn take(&self, rows: Vec<u32>) -> (Hashed, Vec<i64>) {
        let hashes = rows.iter().map(|row| self.rows.hashes[*row as usize]).collect();
        let times = rows.iter().map(|row| self.times[*row as usize]).collect();
        (Hashed { hashes, rows: or_end(self.rows.rows.take(&UInt32Array::from(rows))) }, times)
    }
}

impl Operator<Side<Hashed, Hashed>> for TemporalJoin {
    type Out = Rows;

    const KEEPS: Keeps = Keeps::State;

    fn open(&mut self, kernel: usize, kernels: usize) {
        self.share = Share::new(kernel, kernels);
    }

    fn bundle(&mut self, bundle: Bundle<Side<Hashed, Hashed>>, _: &mut Outbox<'_, Rows>) {
        self.settle();
        for rows in bundle.into_vec() {
            match rows {
                Side::Left(rows) if !rows.rows.is_empty() => self.wait(rows),
                Side::Right(rows) if !rows.rows.is_empty() => self.learn(&rows),
                _ => {}
            }
        }
    }

    fn punctuation(&mut self, punctuation: Punctuation, out: &mut Outbox<'_, Rows>) {
        self.settle();
        let watermark = punctuation.watermark.0;
        self.watermark = self.watermark.max(watermark);
        for (rows, times) in self.ready(watermark) {
            self.join(&rows, &times, &mut |rows| out.emit(vec![rows]));
        }
        self.forget(watermark);
    }

    fn bytes(&self) -> usize {
        self.waiting_bytes + self.versions.bytes() + self.unsettled.bytes()
    }

    fn save(&mut self, snapshot: &mut Snapshot) -> Result<(), Error> {
        if let Some((from, object)) = self.pieces.save(self.watermark, snapshot) {
            let new = self.waiting.iter().filter(|waiting| waiting.arrived >= from).map(|waiting| &waiting.rows);
            save_rows(new, (WAITING, object), self.share, snapshot)?;
        }
        save(&mut self.versions, VERSIONS, self.share, snapshot)?;
        snapshot.add_whole(self.share.groups(), &(WATERMARK, self.watermark)).map(drop)
    }

    fn load(&mut self, saved: Saved) -> Result<(), Error> {
        self.is_loading = true;
        match saved.read::<u8>()? {
            WAITING => {
                if let Some(rows) = load_rows(self.plan.input(Input::Left), self.share, &saved)? {
                    self.wait(rows);
                    self.pieces.read(saved.object);
                }
                Ok(())
            }
            VERSIONS => load(&mut self.versions, self.share, &saved),
            _ => {
                self.watermark = self.watermark.max(saved.read::<(u8, i64)>()?.1);
                Ok(())
            }
        }
    }
}
