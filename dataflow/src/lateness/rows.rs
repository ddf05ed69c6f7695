//! Which rows of [`Rows`] are late, and where epochs end between them: decided for each row, as for records.
//!
//! [`RowStamp`] reads the times of all rows at once, from a column most often, and asks the same [`Stamp`] that records
//! have; then it cuts the columns accordingly. Rows that follow each other are not copied for that.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use updraft_kernel::give_up;

use super::stamping::{Piece, Stamping};
use super::{Run, Stamp, Stamped, Watermarks};
use crate::bundle::Bundle;
use crate::epoch::Epochs;
use crate::rows::Rows;
use crate::time::Time;

/// Reads a time of each row, in microseconds.
type ReadTimes = dyn Fn(&Rows) -> Vec<i64> + Send + Sync;

/// How far event time has come, given the rows so far.
#[derive(Clone)]
pub enum RowWatermarks {
    /// Rows are out of order by no more than this: the watermark trails the greatest time seen. Zero for rows in order.
    Bounded(Duration),
    /// The rows say so themselves: what is returned for a row, in microseconds, is the watermark from there on, if it is
    /// higher than the one before; `i64::MIN` where a row says nothing. There must be as many as rows.
    Each(Arc<ReadTimes>),
}

impl RowWatermarks {
    /// Rows are out of order by no more than `disorder`.
    pub fn bounded(disorder: Duration) -> Self {
        Self::Bounded(disorder)
    }

    /// The watermarks that `watermarks` returns for the rows.
    pub fn each(watermarks: impl Fn(&Rows) -> Vec<i64> + Send + Sync + 'static) -> Self {
        Self::Each(Arc::new(watermarks))
    }
}

impl fmt::Debug for RowWatermarks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bounded(disorder) => f.debug_tuple("Bounded").field(disorder).finish(),
            Self::Each(_) => f.write_str("Each"),
        }
    }
}

/// What a row says: its time, and the watermark if that is its own to say.
type Moment = (Time, Time);

/// See the module's page. `times` reads the event times of rows.
pub(crate) struct RowStamp<F, G> {
    times: F,
    watermarks: RowWatermarks,
    stamp: Stamp<Moment, G>,
}

/// A stamp for rows of which `times` reads the event times.
pub(crate) fn row_stamp<F: Fn(&Rows) -> Vec<i64>>(
    times: F,
    watermarks: RowWatermarks,
    epochs: Epochs,
) -> RowStamp<F, impl Fn(&Moment) -> Time + Send + 'static> {
    let own = match &watermarks {
        RowWatermarks::Bounded(disorder) => Watermarks::Bounded(*disorder),
        RowWatermarks::Each(_) => Watermarks::custom(|moment: &Moment| (moment.1 > Time::MIN).then_some(moment.1)),
    };
    RowStamp { times, watermarks, stamp: Stamp::new(|moment: &Moment| moment.0, own, epochs) }
}

impl<F: Fn(&Rows) -> Vec<i64>, G> RowStamp<F, G> {
    /// What each row says.
    fn moments(&self, rows: &Rows) -> Vec<Moment> {
        let times = checked((self.times)(rows), rows, "event times");
        match &self.watermarks {
            RowWatermarks::Bounded(_) => times.into_iter().map(|time| (Time(time), Time::MIN)).collect(),
            RowWatermarks::Each(watermarks) => {
                let watermarks = checked(watermarks(rows), rows, "watermarks");
                times.into_iter().zip(watermarks).map(|(time, watermark)| (Time(time), Time(watermark))).collect()
            }
        }
    }
}

fn checked(times: Vec<i64>, rows: &Rows, what: &str) -> Vec<i64> {
    if times.len() != rows.len() {
        give_up(format!("{} {what} were read from {} rows: there must be one for each", times.len(), rows.len()));
    }
    times
}

impl<F, G> Stamping<Rows> for RowStamp<F, G>
where
    F: Fn(&Rows) -> Vec<i64> + Send + 'static,
    G: Fn(&Moment) -> Time + Send + 'static,
{
    const TIMED: bool = true;

    fn cut(&mut self, bundle: Bundle<Rows>) -> Vec<Piece<Rows>> {
        let (mut pieces, mut position) = (Vec::with_capacity(1), bundle.position());
        let (bytes, total) = (bundle.bytes(), bundle.count());
        for rows in bundle.into_vec() {
            let mut start = 0;
            for run in self.stamp.runs(&self.moments(&rows)) {
                let len = run.len;
                pieces.push(sift(&rows, start, run, bytes.checked_div(total).unwrap_or(0), position));
                (start, position) = (start + len, position + len as u64);
            }
        }
        pieces
    }

    fn watermark(&self) -> Time {
        self.stamp.watermark()
    }

    fn newest(&self) -> Time {
        self.stamp.newest()
    }

    fn raise(&mut self, watermark: Time) {
        self.stamp.raise(watermark);
    }

    fn pass(&mut self, span: Duration) {
        self.stamp.pass(span);
    }

    fn declare(&mut self) {
        self.stamp.declare();
    }

    fn close(&mut self, epochs: Epochs) {
        self.stamp.close(epochs);
    }

    fn save(&self) -> Stamped {
        self.stamp.save()
    }

    fn restore(&mut self, was: Stamped) {
        self.stamp.restore(was);
    }
}

/// The rows of a run that begins at row `start`, those that are late set aside; `share` is bytes a row.
fn sift(rows: &Rows, start: usize, run: Run, share: usize, position: u64) -> Piece<Rows> {
    let Run { len, late, ends, watermark } = run;
    let bundle = |rows: Option<Rows>| {
        let rows: Vec<Rows> = rows.filter(|rows| !rows.is_empty()).into_iter().collect();
        let bundle = Bundle::from(rows);
        let bytes = bundle.count() * share;
        bundle.with_bytes(bytes).at(position)
    };
    let (in_time, aside) = if late.is_empty() {
        (if len == rows.len() { rows.clone() } else { rows.slice(start..start + len) }, None)
    } else {
        let mut is_late = vec![false; len];
        late.iter().for_each(|row| is_late[*row] = true);
        (take(rows, start, &is_late, false), Some(take(rows, start, &is_late, true)))
    };
    Piece { in_time: bundle(Some(in_time)), late: bundle(aside), ends, watermark }
}

/// The rows from `start` on of which `is_late` says `which`.
fn take(rows: &Rows, start: usize, is_late: &[bool], which: bool) -> Rows {
    let wanted = is_late.iter().enumerate().filter(|(_, late)| **late == which);
    let numbers: Vec<u32> = wanted.map(|(row, _)| (start + row) as u32).collect();
    rows.take(&numbers.into()).unwrap_or_else(|error| give_up(format!("late rows cannot be set aside: {error}")))
}

#[cfg(test)]
pub(super) mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

    use arrow_array::cast::AsArray;
    use arrow_array::types::Int64Type;
    use arrow_array::{ArrayRef, Int64Array, RecordBatch};
    use proptest::prelude::*;

    use super::*;

    /// A row: its number, its time, and the watermark that it says.
    type Row = (i64, i64, i64);

    pub(in super::super) fn rows(rows: &[Row]) -> Rows {
        let column = |read: fn(&Row) -> i64| -> ArrayRef { Arc::new(rows.iter().map(read).collect::<Int64Array>()) };
        let columns = [("id", column(|row| row.0)), ("time", column(|row| row.1)), ("says", column(|row| row.2))];
        Rows::from(RecordBatch::try_from_iter(columns).unwrap())
    }

    fn column(rows: &Rows, index: usize) -> Vec<i64> {
        rows.batch().column(index).as_primitive::<Int64Type>().values().to_vec()
    }

    pub(in super::super) fn ids(bundle: &Bundle<Rows>) -> Vec<i64> {
        bundle.as_slice().iter().flat_map(|rows| column(rows, 0)).collect()
    }

    /// What has come of a partition: who is late, and who is in which epoch, which ends with which watermark.
    #[derive(Debug, Default, PartialEq)]
    struct Seen {
        late: Vec<i64>,
        epochs: Vec<(Vec<i64>, Time)>,
        open: Vec<i64>,
    }

    impl Seen {
        fn take<T>(&mut self, pieces: Vec<Piece<T>>, ids: impl Fn(&Bundle<T>) -> Vec<i64>) {
            for piece in pieces {
                self.late.extend(ids(&piece.late));
                self.open.extend(ids(&piece.in_time));
                if piece.ends {
                    self.end(piece.watermark);
                }
            }
        }

        fn end(&mut self, watermark: Time) {
            self.epochs.push((std::mem::take(&mut self.open), watermark));
        }
    }

    /// Segments of rows, after each of which the epoch is ended from outside.
    type Segments = Vec<Vec<Row>>;

    fn segments() -> impl Strategy<Value = Segments> {
        let row = (-50i64..50, prop_oneof![Just(i64::MIN), -80i64..40]);
        proptest::collection::vec(proptest::collection::vec(row, 0..60), 1..4).prop_map(|segments| {
            let mut id = 0;
            let mut number = |(time, says): (i64, i64)| {
                id += 1;
                // Time moves on slowly.
                (id, time + id, says.saturating_add(id))
            };
            segments.into_iter().map(|rows| rows.into_iter().map(&mut number).collect()).collect()
        })
    }

    fn epochs() -> impl Strategy<Value = Epochs> {
        prop_oneof![
            (1u64..40).prop_map(|us| Epochs::WatermarkStep(Duration::from_micros(us))),
            (1usize..30).prop_map(Epochs::Records),
            Just(Epochs::WallClock(Duration::from_secs(1))),
        ]
    }

    fn one_by_one(segments: &Segments, watermarks: Watermarks<Row>, epochs: Epochs) -> Seen {
        let (mut seen, mut stamp) = (Seen::default(), Stamp::new(|row: &Row| Time(row.1), watermarks, epochs));
        for segment in segments {
            for row in segment {
                seen.take(stamp.cut(vec![*row].into()), |rows| rows.as_slice().iter().map(|row| row.0).collect());
            }
            stamp.declare();
            seen.end(stamp.watermark());
        }
        seen
    }

    fn by_columns(segments: &Segments, watermarks: RowWatermarks, epochs: Epochs, cuts: &[usize]) -> Seen {
        let (mut seen, mut stamp) = (Seen::default(), row_stamp(|rows: &Rows| column(rows, 1), watermarks, epochs));
        let (mut cuts, mut position) = (cuts.iter().cycle(), 0);
        for segment in segments {
            let mut rest = &segment[..];
            while !rest.is_empty() {
                // Two to a bundle, of which one may be empty.
                let (one, after) = rest.split_at(rest.len().min(*cuts.next().unwrap()));
                let (two, after) = after.split_at(after.len().min(*cuts.next().unwrap() - 1));
                rest = after;
                let pieces = stamp.cut(Bundle::from(vec![rows(one), rows(two)]).at(position));
                position += (one.len() + two.len()) as u64;
                for piece in pieces.iter().filter(|piece| piece.late.is_empty() && !piece.in_time.is_empty()) {
                    assert_eq!(piece.in_time.position() + 1, ids(&piece.in_time)[0] as u64);
                }
                seen.take(pieces, ids);
            }
            stamp.declare();
            seen.end(stamp.watermark());
        }
        seen
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 500, ..ProptestConfig::default() })]

        #[test]
        fn rows_are_stamped_as_records_are(
            segments in segments(), disorder in 0u64..60, epochs in epochs(),
            cuts in proptest::collection::vec(1usize..25, 1..9),
        ) {
            let disorder = Duration::from_micros(disorder);
            let records = one_by_one(&segments, Watermarks::bounded(disorder), epochs);
            let columns = by_columns(&segments, RowWatermarks::bounded(disorder), epochs, &cuts);
            prop_assert_eq!(records, columns);
        }

        #[test]
        fn rows_say_their_watermarks_as_records_do(
            segments in segments(), epochs in epochs(), cuts in proptest::collection::vec(1usize..25, 1..9),
        ) {
            let says = Watermarks::custom(|row: &Row| (row.2 > i64::MIN / 2).then_some(Time(row.2)));
            let each = RowWatermarks::each(|rows| {
                column(rows, 2).into_iter().map(|says| if says > i64::MIN / 2 { says } else { i64::MIN }).collect()
            });
            prop_assert_eq!(one_by_one(&segments, says, epochs), by_columns(&segments, each, epochs, &cuts));
        }
    }
}
