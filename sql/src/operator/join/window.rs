//! The window join: of rows of the same window, when the watermark has passed its end. Both inputs only insert.
//!
//! Rows lie by window, as they came, until then; the smaller of the two inputs is then kept as in a hash join, and
//! the other flows by.

use std::collections::BTreeMap;

use updraft_dataflow::join::Side;
use updraft_dataflow::operator::{Operator, Outbox};
use updraft_dataflow::{Bundle, Error, Hashed, Keeps, Punctuation, Rows, Saved, Snapshot, Time};

use super::hash::build;
use super::held::Held;
use super::plan::{Plan, or_end};
use super::probe::{probe, rest};
use super::store::take_hashed;
use super::times::TimeColumn;
use super::{Input, Joined};
use crate::operator::saved::{Pieces, Share, load_rows, save_rows};

/// Where a window is said: columns of its start and of its end, which is not in it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct WindowColumns {
    /// `window_start`
    pub start: usize,
    /// `window_end`
    pub end: usize,
}

/// See the module's page.
#[derive(Clone, Debug)]
pub struct WindowJoin {
    pub(super) plan: Plan,
    left: [TimeColumn; 2],
    right: [TimeColumn; 2],
    windows: BTreeMap<Span, Contents>,
    bytes: usize,
    /// What is saved of both inputs; arrivals are batches.
    pieces: [Pieces; 2],
    /// Windows up to it are over.
    watermark: i64,
    share: Share,
}

/// The part of what is saved that is neither of the left input (0) nor of the right one (1).
const WATERMARK: u8 = 2;

/// The end of a window, and its start.
type Span = (i64, i64);

/// What a window has of the left input, and of the right one.
type Contents = [Held; 2];

fn bytes(contents: &Contents) -> usize {
    contents.iter().map(Held::bytes).sum()
}

impl WindowJoin {
    /// Joins rows of the same window. The columns that say it need not be among the keys.
    ///
    /// # Errors
    /// When what was asked for does not fit the inputs, or such a column is no timestamp.
    pub fn new(joined: Joined, left: WindowColumns, right: WindowColumns) -> Result<Self, Error> {
        let columns = |schema, columns: WindowColumns| {
            Ok::<_, Error>([TimeColumn::new(schema, columns.end)?, TimeColumn::new(schema, columns.start)?])
        };
        let (left, right) = (columns(&joined.left, left)?, columns(&joined.right, right)?);
        Ok(Self {
            plan: Plan::new(joined)?,
            left,
            right,
            windows: BTreeMap::new(),
            bytes: 0,
            pieces: [Pieces::default(), Pieces::default()],
            watermark: i64::MIN,
            share: Share::default(),
        })
    }

    /// Keeps rows until their windows are over; tells of the ends of new ones.
    fn keep(&mut self, input: Input, hashed: Hashed, mut ends: impl FnMut(i64)) {
        if hashed.rows.kinds().is_some() {
            let remedy = "join it without windows, or make it insert only";
            updraft_kernel::give_up(format!("a window join's {input:?} input updates or deletes: {remedy}"));
        }
        let [end, start] = if input == Input::Left { self.left } else { self.right };
        let spans: Vec<Span> = end.of(hashed.rows.batch()).into_iter().zip(start.of(hashed.rows.batch())).collect();
        let number = usize::from(input == Input::Right);
        // The last moment within.
        let last = spans.iter().map(|(end, _)| end.saturating_sub(1)).max().unwrap_or(i64::MIN);
        let arrived = self.pieces[number].arrive(spans.len(), last);
        for (span, rows) in by_window(hashed, &spans) {
            let window = self.windows.entry(span).or_insert_with(|| {
                ends(span.0);
                Contents::default()
            });
            self.bytes -= bytes(window);
            window[number].push_numbered(arrived, rows);
            self.bytes += bytes(window);
        }
    }

    /// The window is over.
    fn fire(&self, [left, right]: Contents, emit: &mut dyn FnMut(Rows)) {
        let smaller = if left.len() < right.len() { Input::Left } else { Input::Right };
        let (mut kept, mut others) = if smaller == Input::Left { (left, right) } else { (right, left) };
        let mut store = build(&self.plan, smaller, &kept.take());
        others.take().iter().for_each(|rows| probe(&self.plan, smaller.other(), rows, &mut store, &mut *emit));
        rest(&self.plan, smaller, &store, emit);
    }
}

/// The rows of each window.
fn by_window(hashed: Hashed, spans: &[Span]) -> Vec<(Span, Hashed)> {
    let Some(first) = spans.first() else { return Vec::new() };
    if spans.iter().all(|span| span == first) {
        return vec![(*first, hashed)];
    }
    let mut windows = BTreeMap::<Span, Vec<u32>>::new();
    spans.iter().enumerate().for_each(|(row, span)| windows.entry(*span).or_default().push(row as u32));
    let take = |(span, rows): (Span, Vec<u32>)| {
        let (batch, hashes) = or_end(take_hashed(hashed.rows.batch(), &hashed.hashes, &rows));
        (span, Hashed { hashes: hashes.into(), rows: batch.into() })
    };
    windows.into_iter().map(take).collect()
}

impl Operator<Side<Hashed, Hashed>> for WindowJoin {
    type Out = Rows;

    fn open(&mut self, kernel: usize, kernels: usize) {
        self.share = Share::new(kernel, kernels);
    }

    fn bundle(&mut self, bundle: Bundle<Side<Hashed, Hashed>>, out: &mut Outbox<'_, Rows>) {
        for rows in bundle.into_vec() {
            let (input, rows) = Input::of(rows);
            if !rows.rows.is_empty() {
                self.keep(input, rows, |end| out.set_timer(Time(end)));
            }
        }
    }

    fn timer(&mut self, at: Time, out: &mut Outbox<'_, Rows>) {
        // Starts are before ends.
        let later = self.windows.split_off(&(at.0, i64::MAX));
        for (_, contents) in std::mem::replace(&mut self.windows, later) {
            self.bytes -= bytes(&contents);
            self.fire(contents, &mut |rows| out.emit(vec![rows]));
        }
    }

    fn punctuation(&mut self, punctuation: Punctuation, _: &mut Outbox<'_, Rows>) {
        self.watermark = self.watermark.max(punctuation.watermark.0);
    }

    fn bytes(&self) -> usize {
        self.bytes
    }

    const KEEPS: Keeps = Keeps::State;

    fn save(&mut self, snapshot: &mut Snapshot) -> Result<(), Error> {
        for (number, pieces) in self.pieces.iter_mut().enumerate() {
            if let Some((from, object)) = pieces.save(self.watermark, snapshot) {
                let new = self.windows.values().flat_map(|window| window[number].since(from));
                save_rows(new, (number as u8, object), self.share, snapshot)?;
            }
        }
        snapshot.add_whole(self.share.groups(), &(WATERMARK, self.watermark)).map(drop)
    }

    /// Timers are set already; the watermark is the last one. Rows of windows up to it are stored still, and over.
    fn load(&mut self, saved: Saved) -> Result<(), Error> {
        let input = match saved.read::<u8>()? {
            0 => Input::Left,
            1 => Input::Right,
            _ => {
                self.watermark = self.watermark.max(saved.read::<(u8, i64)>()?.1);
                let later = self.windows.split_off(&(self.watermark, i64::MAX));
                let over = std::mem::replace(&mut self.windows, later);
                self.bytes -= over.values().map(bytes).sum::<usize>();
                return Ok(());
            }
        };
        if let Some(rows) = load_rows(self.plan.input(input), self.share, &saved)? {
            self.keep(input, rows, |_| {});
            self.pieces[usize::from(input == Input::Right)].read(saved.object);
        }
        Ok(())
    }
}
