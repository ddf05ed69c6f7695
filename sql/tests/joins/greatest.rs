//! Rows that are joined with the greatest of their window: against nested loops, and, where rows come too late, against the same
//! query in a form in which nobody can tell that it is the greatest.

use std::sync::{Arc, Mutex};

use arrow::array::{ArrayRef, AsArray, Int64Array, RecordBatch, TimestampMillisecondArray};
use arrow::datatypes::{DataType, Field, Int64Type, Schema, TimeUnit};
use proptest::prelude::*;
use updraft_dataflow::connector::{AnySink, AnySource, Column, Connector, OptionSpec, Registry, Scan, Table};
use updraft_dataflow::testing::{Scripted, gather};
use updraft_dataflow::{Error, Job, Rows};
use updraft_sql::Session;

use crate::support::{Driver, drivers};

/// A row: how much it is, and its time in milliseconds. What it is called is where it comes.
type Row = (Option<i64>, i64);

/// By partition and batch.
type Script = Vec<Vec<Vec<Row>>>;

const SIZE: i64 = 10_000;

fn scripts(partitions: usize) -> impl Strategy<Value = Script> {
    // Often at the edges of windows.
    let time =
        prop_oneof![(0..4i64).prop_map(|window| window * SIZE), 0..4 * SIZE, (1..4i64).prop_map(|w| w * SIZE - 1)];
    let row = (proptest::option::weighted(0.9, -3..4i64), time);
    let batch = proptest::collection::vec(row, 1..9);
    proptest::collection::vec(proptest::collection::vec(batch, 0..6), 1..=partitions)
}

/// How a row is joined with its window.
#[derive(Clone, Copy, Debug)]
struct Query {
    function: &'static str,
    /// The time of a window, and how much earlier that is than its end.
    of_window: (&'static str, i64),
    /// How much later a row's time is than that: in seconds, both included.
    bounds: (i64, i64),
    /// The least amount of rows that are joined, and of those in the windows.
    least: [i64; 2],
    is_swapped: bool,
}

fn queries() -> impl Strategy<Value = Query> {
    let functions = prop_oneof![Just("MAX"), Just("MIN")];
    let times = prop_oneof![Just(("window_end", 0)), Just(("window_time", 1))];
    let bounds = prop_oneof![3 => Just((-10, 0)), 1 => (-25..5i64, 0..25i64).prop_map(|(low, span)| (low, low + span))];
    let least = prop_oneof![Just([-9, -9]), Just([0, -9]), Just([-9, 0]), Just([0, 0])];
    (functions, times, bounds, least, any::<bool>()).prop_map(|(function, of_window, bounds, least, is_swapped)| {
        Query { function, of_window, bounds, least, is_swapped }
    })
}

impl Query {
    /// `greatest` is what the row's amount is compared with.
    fn text(&self, greatest: &str) -> String {
        let Self { function, of_window: (time, _), bounds: (low, high), least: [own, all], .. } = self;
        let all = format!("SELECT amount, ts FROM events WHERE amount >= {all}");
        let windows = format!("TABLE(TUMBLE(({all}), DESCRIPTOR(ts), INTERVAL '10' SECOND))");
        let results = format!(
            "(SELECT {function}(amount) AS most, {time} AS at FROM {windows}
              GROUP BY window_start, window_end, window_time) AS w"
        );
        let rows = format!("(SELECT * FROM events WHERE amount >= {own}) AS r");
        let (left, right) = if self.is_swapped { (results, rows) } else { (rows, results) };
        format!(
            "SELECT r.id FROM {left} JOIN {right} ON r.amount = {greatest}
             AND r.ts >= w.at + INTERVAL '{low}' SECOND AND r.ts <= w.at + INTERVAL '{high}' SECOND"
        )
    }

    /// By nested loops.
    fn expected(&self, rows: &[(i64, Row)]) -> Vec<i64> {
        let [own, all] = self.least;
        let least = |least: i64| {
            move |(id, (amount, time)): &(i64, Row)| amount.filter(|a| *a >= least).map(|a| (*id, a, *time))
        };
        let mut found = Vec::new();
        for window in 0..4 {
            let amounts =
                rows.iter().filter_map(least(all)).filter(|(.., time)| time / SIZE == window).map(|row| row.1);
            let most = if self.function == "MAX" { amounts.max() } else { amounts.min() };
            let at = (window + 1) * SIZE - self.of_window.1;
            let is_near = |time: i64| (self.bounds.0 * 1_000..=self.bounds.1 * 1_000).contains(&(time - at));
            let near = rows.iter().filter_map(least(own)).filter(|(_, a, time)| Some(*a) == most && is_near(*time));
            found.extend(near.map(|(id, ..)| id));
        }
        found.sort_unstable();
        found
    }
}

/// All rows with what they are called: from 0 in each partition's place.
fn numbered(script: &Script) -> Vec<Vec<Vec<(i64, Row)>>> {
    let mut next = 0..;
    let mut batch = |batch: &Vec<Row>| batch.iter().map(|row| (next.next().unwrap_or_default(), *row)).collect();
    script.iter().map(|batches| batches.iter().map(&mut batch).collect()).collect()
}

/// The connector of these rows.
#[derive(Debug)]
struct Written(Mutex<Vec<Vec<Vec<Rows>>>>);

impl Connector for Written {
    fn name(&self) -> &'static str {
        "written"
    }

    fn options(&self) -> Vec<OptionSpec> {
        Vec::new()
    }

    fn source(&self, _: &Table, scan: &Scan) -> Result<AnySource, Error> {
        let column = |column: &Column| if let Column::Physical(index) = column { Some(*index) } else { None };
        let columns: Vec<_> = scan.columns.iter().filter_map(column).collect();
        let project = |rows: Rows| Rows::from(rows.batch().project(&columns).unwrap());
        let batches = |batches: Vec<Vec<Rows>>| {
            batches.into_iter().map(|batch| batch.into_iter().map(project).collect()).collect()
        };
        let script = std::mem::take(&mut *self.0.lock().unwrap());
        Ok(AnySource::new(Scripted(script.into_iter().map(batches).collect())))
    }

    fn sink(&self, _: &Table) -> Result<AnySink, Error> {
        Err("rows are only read".into())
    }
}

fn rows(batch: &[(i64, Row)]) -> Rows {
    let stamp = DataType::Timestamp(TimeUnit::Millisecond, None);
    let types = [("id", DataType::Int64), ("amount", DataType::Int64), ("ts", stamp)];
    let schema = Schema::new(types.map(|(name, of)| Field::new(name, of, true)).to_vec());
    let columns: [ArrayRef; 3] = [
        Arc::new(batch.iter().map(|(id, _)| *id).collect::<Int64Array>()),
        Arc::new(batch.iter().map(|(_, row)| row.0).collect::<Int64Array>()),
        Arc::new(batch.iter().map(|(_, row)| Some(row.1)).collect::<TimestampMillisecondArray>()),
    ];
    RecordBatch::try_new(Arc::new(schema), columns.to_vec()).unwrap().into()
}

/// What the first columns of a query's results are, in order.
fn run(script: &Script, settings: &str, delay: i64, query: &str, driver: Driver) -> Vec<Vec<i64>> {
    let batches = |batches: Vec<Vec<_>>| batches.iter().map(|batch| vec![rows(batch)]).collect();
    let written = Written(Mutex::new(numbered(script).into_iter().map(batches).collect()));
    let job = Job::new("greatest");
    let mut sql = Session::new(Registry::default().with(written)).embed(&job);
    let columns =
        format!("id BIGINT, amount BIGINT, ts TIMESTAMP(3), WATERMARK FOR ts AS ts - INTERVAL '{delay}' SECOND");
    sql.execute(&format!("{settings}; CREATE TABLE events ({columns}) WITH ('connector' = 'written');")).unwrap();
    let (sink, out) = gather();
    sql.query(query).unwrap().sink("out", sink);
    driver.run(job);
    let mut found = Vec::new();
    for rows in out.take() {
        let columns = rows.batch().columns().iter().map(|column| column.as_primitive::<Int64Type>());
        let columns: Vec<_> = columns.collect();
        found.extend((0..rows.len()).map(|row| columns.iter().map(|column| column.value(row)).collect::<Vec<_>>()));
    }
    found.sort();
    found
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn the_greatest_of_windows(
        script in scripts(3), query in queries(), is_batch in any::<bool>(), driver in drivers(),
    ) {
        let mode = if is_batch { "batch" } else { "streaming" };
        let settings = format!("SET 'execution.runtime-mode' = '{mode}'");
        let found = run(&script, &settings, 60, &query.text("w.most"), driver);
        let all = numbered(&script).concat().concat();
        prop_assert_eq!(found.concat(), query.expected(&all));
    }

    #[test]
    fn rows_that_are_late_for_their_window(script in scripts(2), query in queries(), delay in 0..9i64, driver in drivers()) {
        // Both in one query: two would read the table twice, and other rows may be late then.
        let each = ["w.most", "CASE WHEN w.most < 9 THEN w.most ELSE 9 END"].map(|greatest| query.text(greatest));
        let both = format!("SELECT id, 0 AS q FROM ({}) UNION ALL SELECT id, 1 AS q FROM ({})", each[0], each[1]);
        let found = run(&script, "SET 'execution.runtime-mode' = 'streaming'", delay, &both, driver);
        let of = |query: i64| found.iter().filter(|row| row[1] == query).map(|row| row[0]).collect::<Vec<_>>();
        prop_assert_eq!(of(0), of(1));
    }
}
