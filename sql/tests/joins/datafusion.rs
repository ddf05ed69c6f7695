//! Two implementations agree: hash joins, and DataFusion's.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{Schema, SchemaRef};
use datafusion_execution::TaskContext;
use datafusion_expr::Operator;
use datafusion_physical_expr::PhysicalExpr;
use datafusion_physical_expr::expressions::{BinaryExpr, Column};
use datafusion_physical_plan::joins::utils::{ColumnIndex, JoinFilter};
use datafusion_physical_plan::joins::{HashJoinExec, PartitionMode};
use datafusion_physical_plan::memory::MemoryStream;
use datafusion_physical_plan::streaming::{PartitionStream, StreamingTableExec};
use datafusion_physical_plan::{ExecutionPlan, SendableRecordBatchStream, common};
use proptest::prelude::*;
use updraft_dataflow::join::Side;
use updraft_dataflow::{Rows, Time};
use updraft_kernel::Runtime;
use updraft_sql::operator::join::hash::HashJoin;
use updraft_sql::operator::join::{Input, Joined};

use crate::by_hand::ByHand;
use crate::model::{Case, KINDS, Row, batch, cases, inserted, plain, rows, schema};

#[derive(Debug)]
struct Batches(SchemaRef, Vec<RecordBatch>);

impl PartitionStream for Batches {
    fn schema(&self) -> &SchemaRef {
        &self.0
    }

    fn execute(&self, _: Arc<TaskContext>) -> SendableRecordBatchStream {
        Box::pin(MemoryStream::try_new(self.1.clone(), self.0.clone(), None).unwrap())
    }
}

fn scan(schema: &SchemaRef, batches: Vec<RecordBatch>) -> Arc<dyn ExecutionPlan> {
    let partition = Arc::new(Batches(schema.clone(), batches));
    Arc::new(StreamingTableExec::try_new(schema.clone(), vec![partition], None, [], false, None).unwrap())
}

/// `left.v < right.v`
fn filter() -> JoinFilter {
    let columns = [datafusion_common::JoinSide::Left, datafusion_common::JoinSide::Right];
    let columns = columns.map(|side| ColumnIndex { index: 2, side }).to_vec();
    let [left, right] = [("l", 0), ("r", 1)].map(|(name, at)| Arc::new(Column::new(name, at)) as Arc<dyn PhysicalExpr>);
    let field = |name: &str| schema().field(2).clone().with_name(name);
    JoinFilter::new(
        Arc::new(BinaryExpr::new(left, Operator::Lt, right)),
        columns,
        Arc::new(Schema::new(vec![field("l"), field("r")])),
    )
}

pub(crate) fn join(
    joined: &Joined,
    filtered: bool,
    left: Vec<RecordBatch>,
    right: Vec<RecordBatch>,
) -> Vec<RecordBatch> {
    let on = joined.keys.iter().map(|(left, right)| {
        let column =
            |schema: &SchemaRef, at| Arc::new(Column::new(schema.field(at).name(), at)) as Arc<dyn PhysicalExpr>;
        (column(&joined.left, *left), column(&joined.right, *right))
    });
    let (on, filter, mode) = (on.collect(), filtered.then(filter), PartitionMode::CollectLeft);
    let (left, right) = (scan(&joined.left, left), scan(&joined.right, right));
    let plan = HashJoinExec::try_new(left, right, on, filter, &joined.kind, None, mode, joined.nulls, false).unwrap();
    let stream = plan.execute(0, Arc::default()).unwrap();
    let runtime = Runtime::builder().kernels(1).pin(false).build().unwrap();
    runtime.block_on(common::collect(stream)).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, ..ProptestConfig::default() })]

    #[test]
    fn hash_joins_agree(
        case in cases(&KINDS).prop_filter("it needs keys", |case| !case.keys.is_empty()),
        left in proptest::collection::vec(proptest::collection::vec(rows(), 1..30), 0..4),
        right in proptest::collection::vec(proptest::collection::vec(rows(), 1..30), 0..4),
    ) {
        let batches = |rows: &[Vec<Row>]| rows.iter().map(|rows| batch(rows)).collect();
        let theirs = join(&case.joined(), case.filtered, batches(&left), batches(&right));
        let theirs: Vec<Rows> = theirs.into_iter().map(Rows::from).collect();
        prop_assert_eq!(ours(&case, &left, &right), inserted(&theirs));
    }
}

fn ours(case: &Case, left: &[Vec<Row>], right: &[Vec<Row>]) -> Vec<String> {
    let mut join = ByHand::new(HashJoin::new(case.joined(), Input::Left).unwrap());
    right.iter().for_each(|rows| assert!(join.give(vec![Side::Right(case.hashed(&plain(rows)))]).is_empty()));
    left.iter().for_each(|rows| assert!(join.give(vec![Side::Left(case.hashed(&plain(rows)))]).is_empty()));
    inserted(&join.close(Time::MAX, Time(0)))
}
