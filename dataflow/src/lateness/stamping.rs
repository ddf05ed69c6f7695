//! [`Stamping`]: what cuts a source's bundles where its epochs end, whatever they are bundles of.
//!
//! Three do: [`Stamp`] by the event time of each record, [`row_stamp`](super::row_stamp) by that of each row of
//! [`Rows`](crate::Rows), and [`ByCount`] where there is none. Next: [`crate::source`], which asks them.

use std::time::Duration;

use super::{Run, Stamp, Stamped};
use crate::bundle::{Bundle, Record};
use crate::epoch::Epochs;
use crate::rows;
use crate::time::Time;

/// Some records of one epoch.
pub(crate) struct Piece<T> {
    pub(crate) in_time: Bundle<T>,
    /// Those among them that are late; most often none.
    pub(crate) late: Bundle<T>,
    /// Whether the epoch ends after them.
    pub(crate) ends: bool,
    /// The watermark declared by then.
    pub(crate) watermark: Time,
}

/// Decides what is late and where epochs end, for one partition, in the order of its records.
pub(crate) trait Stamping<T>: Send + 'static {
    /// Whether records have event time.
    const TIMED: bool;

    /// Cuts `records`, which follow those that were given before, where epochs end; the last piece's epoch may go on.
    fn cut(&mut self, records: Bundle<T>) -> Vec<Piece<T>>;

    /// The watermark declared last.
    fn watermark(&self) -> Time {
        Time::MIN
    }

    /// The greatest time seen.
    fn newest(&self) -> Time {
        Time::MIN
    }

    /// Declares `watermark`, if that is higher than what was declared: for a source that is idle.
    fn raise(&mut self, watermark: Time) {
        let _ = watermark;
    }

    /// Declares that `span` has passed since the newest record, in event time too.
    fn pass(&mut self, span: Duration) {
        let _ = span;
    }

    /// Declares how far the records have come, at the end of an epoch.
    fn declare(&mut self) {}

    /// Epochs are closed otherwise from now on.
    fn close(&mut self, epochs: Epochs);

    /// What it has come to.
    fn save(&self) -> Stamped;

    /// Goes on from there.
    fn restore(&mut self, was: Stamped);
}

impl<T: Record, F: Fn(&T) -> Time + Send + 'static> Stamping<T> for Stamp<T, F> {
    const TIMED: bool = true;

    fn cut(&mut self, records: Bundle<T>) -> Vec<Piece<T>> {
        let runs = self.runs(records.as_slice());
        let mut pieces = records.into_pieces();
        runs.into_iter().map(|run| sift(pieces.take(run.len), run)).collect()
    }

    fn watermark(&self) -> Time {
        self.watermark()
    }

    fn newest(&self) -> Time {
        self.newest()
    }

    fn raise(&mut self, watermark: Time) {
        self.raise(watermark);
    }

    fn pass(&mut self, span: Duration) {
        self.pass(span);
    }

    fn declare(&mut self) {
        self.declare();
    }

    fn close(&mut self, epochs: Epochs) {
        self.close(epochs);
    }

    fn save(&self) -> Stamped {
        self.save()
    }

    fn restore(&mut self, was: Stamped) {
        self.restore(was);
    }
}

/// The records of a run, those that are late set aside.
fn sift<T: Record>(bundle: Bundle<T>, run: Run) -> Piece<T> {
    let Run { late, ends, watermark, .. } = run;
    if late.is_empty() {
        return Piece { in_time: bundle, late: Bundle::from(Vec::new()), ends, watermark };
    }
    let (bytes, position, total) = (bundle.bytes(), bundle.position(), bundle.len());
    let mut late = late.into_iter().peekable();
    let (mut aside, mut in_time) = (Vec::new(), Vec::with_capacity(total));
    for (index, record) in bundle.into_vec().into_iter().enumerate() {
        if late.next_if_eq(&index).is_some() { aside.push(record) } else { in_time.push(record) }
    }
    let aside_bytes = (bytes * aside.len()).checked_div(total).unwrap_or(0);
    Piece {
        in_time: Bundle::from(in_time).with_bytes(bytes - aside_bytes).at(position),
        late: Bundle::from(aside).with_bytes(aside_bytes),
        ends,
        watermark,
    }
}

/// Records without event time, or rows where they are made of them: an epoch may end after so many.
pub(crate) struct ByCount {
    quota: usize,
    left: usize,
}

impl ByCount {
    pub(crate) fn new(epochs: Epochs) -> Self {
        let quota = epochs.quota();
        Self { quota, left: quota }
    }

    /// How many of the next `rest` are of this epoch, and whether it ends after them.
    fn take(&mut self, rest: usize) -> (usize, bool) {
        let len = rest.min(self.left);
        self.left -= len;
        let ends = self.left == 0;
        if ends {
            self.left = self.quota;
        }
        (len, ends)
    }

    /// Cuts between rows.
    fn cut_rows<T: Record>(&mut self, bundle: Bundle<T>) -> Vec<Piece<T>> {
        let (mut pieces, mut position) = (Vec::new(), bundle.position());
        let (bytes, total) = (bundle.bytes(), bundle.count());
        for record in bundle.into_vec() {
            let (mut start, rows) = (0, rows::count_of(std::slice::from_ref(&record)));
            while start < rows {
                let (len, ends) = self.take(rows - start);
                let some: Vec<T> = rows::slice_of(&record, start..start + len).into_iter().collect();
                let some = Bundle::from(some).with_bytes(bytes * len / total).at(position);
                pieces.push(piece(some, ends));
                (start, position) = (start + len, position + len as u64);
            }
        }
        pieces
    }
}

fn piece<T: 'static>(in_time: Bundle<T>, ends: bool) -> Piece<T> {
    Piece { in_time, late: Bundle::from(Vec::new()), ends, watermark: Time::MIN }
}

impl<T: Record> Stamping<T> for ByCount {
    const TIMED: bool = false;

    fn close(&mut self, epochs: Epochs) {
        *self = Self::new(epochs);
    }

    fn save(&self) -> Stamped {
        Stamped { newest: i64::MIN, declared: i64::MIN, threshold: i64::MAX, left: self.left }
    }

    fn restore(&mut self, was: Stamped) {
        self.left = was.left;
    }

    fn cut(&mut self, records: Bundle<T>) -> Vec<Piece<T>> {
        let mut rest = records.count();
        if rest < self.left {
            self.left -= rest;
            return vec![piece(records, false)];
        }
        if rows::are_rows::<T>() {
            return self.cut_rows(records);
        }
        let (mut cut, mut pieces) = (Vec::new(), records.into_pieces());
        while rest > 0 {
            let (len, ends) = self.take(rest);
            rest -= len;
            cut.push(piece(pieces.take(len), ends));
        }
        cut
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

    use super::super::rows::tests::{ids, rows};
    use super::*;
    use crate::rows::Rows;

    #[test]
    fn epochs_of_so_many_records_count_rows() {
        let mut stamp = ByCount::new(Epochs::Records(5));
        let all: Vec<_> = (0..23).map(|id| (id, 0, 0)).collect();
        let (one, two) = (vec![rows(&all[..3])], vec![rows(&all[3..4]), rows(&all[4..23])]);
        let mut epochs = vec![Vec::new()];
        for (bundle, position) in [(one, 0), (two, 3)] {
            for piece in Stamping::<Rows>::cut(&mut stamp, Bundle::from(bundle).at(position)) {
                assert_eq!(piece.in_time.position(), ids(&piece.in_time)[0] as u64);
                epochs.last_mut().unwrap().extend(ids(&piece.in_time));
                if piece.ends {
                    epochs.push(Vec::new());
                }
            }
        }
        let expected: Vec<Vec<i64>> = (0..5).map(|epoch| (epoch * 5..23.min(epoch * 5 + 5)).collect()).collect();
        assert_eq!(epochs, expected);
    }

    #[test]
    fn epochs_of_so_many_records_count_records() {
        let mut stamp = ByCount::new(Epochs::Records(4));
        let pieces = stamp.cut(Bundle::from((0..9).collect::<Vec<u32>>()));
        let lens: Vec<_> = pieces.iter().map(|piece| (piece.in_time.len(), piece.ends)).collect();
        assert_eq!(lens, [(4, true), (4, true), (1, false)]);
        assert_eq!(stamp.cut(Bundle::from(vec![9, 10, 11])).iter().filter(|piece| piece.ends).count(), 1);
    }
}
