//! A table as a source of the job: one for each table, however often queries read it.
//!
//! [`Scanned`] is what all queries of a job want of a table. [`TableReader`] reads the connector's columns and computes the
//! others. Event time is declared here, and only if somebody goes by it: then late rows are set aside, and are given to
//! those who don't.

use std::any::Any;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::{Array, AsArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit, TimestampMicrosecondType};
use datafusion_common::{DFSchema, DFSchemaRef, Result, plan_datafusion_err, plan_err};
use datafusion_expr::logical_plan::TableScan;
use datafusion_expr::{Expr, Operator};
use datafusion_physical_expr::PhysicalExpr;
use serde::{Deserialize, Serialize};
use updraft_dataflow::connector::{AnyPartition, AnySource, Changelog, Column as Wanted, Scan};
use updraft_dataflow::{Batch, Bundle, DeadLetter, Error, Partition, Place, Progress, Rows, Source};

use super::expr::{Projection, batch_schema, evaluate, nullable, physical};
use super::key::{Keyed, without_columns};
use super::{Builder, Flow, Node, Operation, Traits, project};
use crate::catalog::{BadRows, ConnectorTable, Origin, Side, SideTable};
use crate::fail::fail;
use crate::gate::Gate;
use crate::operator::normalize::Normalize;
use crate::operator::settle::Settle;
use crate::plan::interval;

/// Rows of a batch, about.
pub(crate) const BATCH: usize = 8192;

/// What is read of a table: some of its columns, in order.
#[derive(Clone, Debug)]
pub(crate) struct Scanned {
    pub(crate) table: Arc<ConnectorTable>,
    pub(crate) columns: Vec<usize>,
}

impl Scanned {
    /// The columns that come out.
    pub(crate) fn schema(&self) -> SchemaRef {
        nullable(self.columns.iter().map(|column| self.table.schema.field(*column)))
    }

    /// What is read of the table whatever is asked for: nothing, or all that is stored, where bad rows are set aside. So which
    /// rows are bad is told by the table, not by the query.
    pub(crate) fn least(&self) -> Self {
        let columns = self.table.columns.iter().enumerate();
        let stored = columns.filter(|(_, column)| matches!(column.origin, Origin::Physical(_))).map(|(index, _)| index);
        let columns = if self.table.bad == BadRows::Fail { Vec::new() } else { stored.collect() };
        Self { table: self.table.clone(), columns }
    }

    /// Where a column of the table is among those that come out.
    pub(crate) fn position(&self, column: usize) -> Option<usize> {
        self.columns.iter().position(|other| *other == column)
    }

    /// The column of event time among those that come out.
    pub(crate) fn rowtime(&self) -> Result<usize> {
        let rowtime = self.table.rowtime.as_ref().and_then(|rowtime| self.position(rowtime.column));
        rowtime.ok_or_else(|| plan_datafusion_err!("table '{}' has no WATERMARK", self.table.table.name))
    }

    /// The source, which has an end if `bounded`.
    /// Nothing is read before all `gates` are open.
    pub(crate) fn open(&self, bounded: bool, gates: Vec<Gate>) -> Result<TableReader, Error> {
        let base = self.base()?;
        let scan = Scan { schema: base.schema.clone(), columns: base.wanted.clone(), batch: BATCH };
        let source = self.table.connector.source(&self.table.bounded(bounded), &scan)?;
        let rowtime = self.table.rowtime.as_ref().and_then(|rowtime| self.position(rowtime.column));
        Ok(TableReader { source, name: self.table.table.name.clone(), prepare: Prepare { base, rowtime }, gates })
    }

    /// What the connector has to give, and what becomes of it.
    fn base(&self) -> Result<Base> {
        let columns = &self.table.columns;
        let exprs: Vec<Expr> = self.columns.iter().map(|column| expr_of(columns, *column)).collect();
        let mut names: Vec<String> = Vec::new();
        for column in exprs.iter().flat_map(Expr::column_refs) {
            if !names.contains(&column.name) {
                names.push(column.name.clone());
            }
        }
        let read: Vec<_> = columns.iter().filter(|column| names.contains(column.field.name())).collect();
        let wanted = read.iter().map(|column| match &column.origin {
            Origin::Physical(index) => Wanted::Physical(*index),
            Origin::Metadata { key, .. } => Wanted::Metadata(key.clone()),
            Origin::Computed(_) => unreachable!("what is computed is not read"),
        });
        let fields = read.iter().map(|column| base_field(column));
        let schema: SchemaRef = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
        let from = DFSchema::try_from(schema.clone())?;
        let project = Projection::new(&exprs, &from, self.schema())?;
        Ok(Base { schema, wanted: wanted.collect(), project })
    }
}

/// A column as the connector gives it: metadata in the connector's own type.
fn base_field(column: &crate::catalog::Column) -> Field {
    let kind = match &column.origin {
        Origin::Metadata { kind, .. } => kind,
        _ => column.field.data_type(),
    };
    Field::new(column.field.name(), kind.clone(), true)
}

/// The columns that are not computed: what computed ones may refer to.
pub(crate) fn base_schema(columns: &[crate::catalog::Column]) -> Schema {
    let stored = columns.iter().filter(|column| !matches!(column.origin, Origin::Computed(_)));
    Schema::new(stored.map(base_field).collect::<Vec<_>>())
}

/// A column of the table in terms of those that the connector gives.
fn expr_of(columns: &[crate::catalog::Column], index: usize) -> Expr {
    let column = &columns[index];
    let stored = Expr::Column(datafusion_common::Column::new_unqualified(column.field.name()));
    match &column.origin {
        Origin::Computed(expr) => expr.clone(),
        Origin::Metadata { kind, .. } if kind != column.field.data_type() => {
            Expr::Cast(datafusion_expr::Cast::new(Box::new(stored), column.field.data_type().clone()))
        }
        _ => stored,
    }
}

#[derive(Clone)]
struct Base {
    schema: SchemaRef,
    wanted: Vec<Wanted>,
    project: Projection,
}

/// What is done to rows as they are read.
#[derive(Clone)]
struct Prepare {
    base: Base,
    /// The column of event time: rows in which it is null are rejected.
    rowtime: Option<usize>,
}

/// A table that is read.
pub(crate) struct TableReader {
    source: AnySource,
    name: Arc<str>,
    prepare: Prepare,
    gates: Vec<Gate>,
}

impl Source for TableReader {
    type Item = Rows;
    type Partition = TablePartition;

    fn open(self) -> Result<Vec<TablePartition>, Error> {
        let partitions = self.source.open()?;
        let partition = |partition| partition_of(partition, &self.name, &self.prepare, &self.gates);
        Ok(partitions.into_iter().map(partition).collect())
    }

    fn resume(self, places: Vec<Option<Place>>) -> Result<Vec<TablePartition>, Error> {
        let stood = places.into_iter().map(|place| place.map(stood).transpose()).collect::<Result<Vec<_>, _>>()?;
        let taken: Vec<_> = stood.iter().map(|stood| stood.as_ref().map_or(0, |stood| stood.taken)).collect();
        let partitions = self.source.resume(stood.into_iter().map(|stood| stood.map(|stood| stood.place)).collect())?;
        let partition = |(partition, taken)| {
            let partition = partition_of(partition, &self.name, &self.prepare, &self.gates);
            TablePartition { taken, ..partition }
        };
        Ok(partitions.into_iter().zip(taken).map(partition).collect())
    }
}

/// Where a part of a table stood.
#[derive(Serialize, Deserialize)]
struct Stood {
    taken: u64,
    place: Place,
}

fn stood(place: Place) -> Result<Stood, Error> {
    serde_json::from_value(place).map_err(|error| format!("that is no place in a table: {error}").into())
}

fn partition_of(partition: AnyPartition, name: &Arc<str>, prepare: &Prepare, gates: &[Gate]) -> TablePartition {
    let (origin, prepare, gates) = (name.clone(), prepare.clone(), gates.to_vec());
    TablePartition { partition, origin, prepare, gates, taken: 0 }
}

/// A part of a table that is read.
pub(crate) struct TablePartition {
    partition: AnyPartition,
    origin: Arc<str>,
    prepare: Prepare,
    /// Those that are still to be passed.
    gates: Vec<Gate>,
    /// Rows read so far.
    taken: u64,
}

impl Partition for TablePartition {
    type Item = Rows;

    async fn next(&mut self, limit: usize) -> Result<Option<Batch<Rows>>, Error> {
        while let Some(gate) = self.gates.last() {
            gate.pass().await;
            self.gates.pop();
        }
        let Some(Batch { records, mut rejected }) = self.partition.next(limit).await? else { return Ok(None) };
        let mut ready = Vec::with_capacity(records.len());
        for rows in records.into_vec() {
            let before = self.taken;
            self.taken += rows.len() as u64;
            let rows = self.prepare.base.project.apply(rows);
            ready.extend(self.timed(rows, before, &mut rejected)?);
        }
        Ok(Some(Batch { records: Bundle::from(ready), rejected }))
    }

    fn position(&self) -> String {
        self.partition.position()
    }

    fn progress(&self) -> Option<Progress> {
        self.partition.progress()
    }

    fn place(&self) -> Option<Place> {
        let place = self.partition.place()?;
        serde_json::to_value(Stood { taken: self.taken, place }).ok()
    }

    fn seek(&mut self, place: Place) -> Result<(), Error> {
        let Stood { taken, place } = stood(place)?;
        self.taken = taken;
        self.partition.seek(place)
    }

    fn stored(&mut self, place: &Place) {
        if let Some(place) = place.get("place") {
            self.partition.stored(place);
        }
    }
}

impl TablePartition {
    /// Rejects rows without event time.
    fn timed(&self, rows: Rows, before: u64, rejected: &mut Vec<DeadLetter>) -> Result<Option<Rows>, Error> {
        let Some(rowtime) = self.prepare.rowtime else { return Ok(Some(rows)) };
        let column = rows.batch().column(rowtime).clone();
        if column.null_count() == 0 {
            return Ok(Some(rows));
        }
        let name = self.prepare.base.project.schema().field(rowtime).name().clone();
        for row in (0..rows.len()).filter(|row| column.is_null(*row)) {
            let bytes = format!("{:?}", rows.slice(row..row + 1).batch().columns()).into_bytes();
            let reason = format!("`{name}` is the event time and must not be NULL");
            rejected.push(DeadLetter { origin: self.origin.clone(), line: before + row as u64 + 1, bytes, reason });
        }
        let rows = rows.filter(&arrow::compute::is_not_null(&column)?)?;
        Ok((!rows.is_empty()).then_some(rows))
    }
}

/// How far rows of a table are out of order: the same for each row, or told by each.
#[derive(Clone)]
pub(crate) enum Disorder {
    Bounded(Duration),
    Each(Arc<dyn PhysicalExpr>),
}

/// Reads the `WATERMARK` of a table over the columns that are read.
pub(crate) fn disorder(scanned: &Scanned) -> Result<Disorder> {
    let Some(rowtime) = &scanned.table.rowtime else {
        return plan_err!("table '{}' has no WATERMARK", scanned.table.table.name);
    };
    let time = scanned.table.schema.field(rowtime.column).name();
    if let Some(bound) = bound(&rowtime.watermark, time) {
        return Ok(Disorder::Bounded(bound));
    }
    let schema = DFSchema::try_from(scanned.schema())?;
    Ok(Disorder::Each(physical(&rowtime.watermark, &schema)?))
}

/// The `d` of `time - d`, in the only forms that matter: a constant, or nothing.
fn bound(watermark: &Expr, time: &str) -> Option<Duration> {
    match watermark {
        Expr::Column(column) if column.name == time => Some(Duration::ZERO),
        Expr::BinaryExpr(minus) if minus.op == Operator::Minus => {
            let Expr::Column(column) = &*minus.left else { return None };
            let Expr::Literal(span, _) = &*minus.right else { return None };
            let span = Duration::from_nanos(interval::nanos(span)?.try_into().ok()?);
            (column.name == time).then_some(span)
        }
        _ => None,
    }
}

/// A column of times in microseconds.
pub(crate) fn micros(column: &dyn Array) -> Vec<i64> {
    let target = DataType::Timestamp(TimeUnit::Microsecond, None);
    let cast = cast(column, &target).unwrap_or_else(|error| fail(error));
    cast.as_primitive::<TimestampMicrosecondType>().values().to_vec()
}

/// The watermarks that rows declare, in microseconds.
pub(crate) fn watermarks(expr: &Arc<dyn PhysicalExpr>, rows: &Rows) -> Vec<i64> {
    micros(&evaluate(expr, rows.batch()))
}

/// Rows that were rejected, as rows of `t$dead_letters`.
pub(crate) fn dead_letters(letters: &[DeadLetter]) -> Rows {
    use arrow::array::{ArrayRef, BinaryViewArray, Int64Array, RecordBatch, StringViewArray};
    let origins: ArrayRef = Arc::new(StringViewArray::from_iter_values(letters.iter().map(|letter| &*letter.origin)));
    let lines: ArrayRef = Arc::new(Int64Array::from_iter_values(letters.iter().map(|letter| letter.line as i64)));
    let records: ArrayRef = Arc::new(BinaryViewArray::from_iter_values(letters.iter().map(|letter| &letter.bytes)));
    let reasons: ArrayRef = Arc::new(StringViewArray::from_iter_values(letters.iter().map(|letter| &letter.reason)));
    let schema = nullable(crate::catalog::dead_letter_schema().fields().iter().map(|field| field.as_ref()));
    let batch = RecordBatch::try_new(schema, vec![origins, lines, records, reasons]);
    batch.unwrap_or_else(|error| fail(error)).into()
}

/// Reads a table, or what was set aside of it.
pub(crate) struct ScanOperation {
    pub(crate) scanned: Scanned,
    pub(crate) side: Option<Side>,
}

impl Operation for ScanOperation {
    fn describe(&self) -> String {
        let schema = self.scanned.schema();
        let columns: Vec<_> = schema.fields().iter().map(|field| field.name().as_str()).collect();
        let side = self.side.map(|side| format!(" {side:?}")).unwrap_or_default();
        format!("Scan(table={}{side}, columns=[{}])", self.scanned.table.table.name, columns.join(", "))
    }

    fn scans(&self) -> Option<(&Scanned, Option<Side>)> {
        Some((&self.scanned, self.side))
    }

    fn late(&mut self) {
        self.side = Some(Side::Late);
    }

    fn build(self: Box<Self>, _: Vec<Flow>, _: &mut Builder) -> Result<Flow> {
        unreachable!("the builder reads tables itself")
    }
}

/// The scan of a table of the plan.
pub(crate) fn translate(scan: &TableScan) -> Result<Node> {
    let source: Arc<dyn Any + Send + Sync> = scan.source.clone();
    let (table, side) = match (source.clone().downcast::<ConnectorTable>(), source.downcast::<SideTable>()) {
        (Ok(table), _) => (table, None),
        (_, Ok(side)) => (side.of.clone(), Some(side.side)),
        _ => return plan_err!("'{}' cannot be read", scan.table_name),
    };
    let all = || (0..scan.source.schema().fields().len()).collect();
    let columns: Vec<usize> = scan.projection.clone().unwrap_or_else(all);
    match table.connector.tells(&table.table) {
        told @ (Changelog::Upserts | Changelog::Changes) if side.is_none() => changes(table, told, &columns, scan),
        _ => Ok(scanned(table, side, columns, scan.projected_schema.clone())),
    }
}

/// Rows that may be updated and deleted, by the table's primary key.
fn changes(table: Arc<ConnectorTable>, told: Changelog, columns: &[usize], scan: &TableScan) -> Result<Node> {
    let is_key = |column: &crate::catalog::Column| matches!(&column.origin, Origin::Physical(index) if table.table.primary_key.contains(index));
    let keys: Vec<_> = (0..table.columns.len()).filter(|column| is_key(&table.columns[*column])).collect();
    if keys.is_empty() {
        let name = &table.table.name;
        return plan_err!("table '{name}' needs a PRIMARY KEY (…) NOT ENFORCED: its rows may be updated and deleted");
    }
    let missing: Vec<_> = keys.iter().copied().filter(|key| !columns.contains(key)).collect();
    let all = [columns, &missing].concat();
    let places: Vec<_> = keys.iter().filter_map(|key| all.iter().position(|column| column == key)).collect();
    let source = scan.source.schema();
    let fields = all.iter().map(|column| (Some(scan.table_name.clone()), Arc::new(source.field(*column).clone())));
    let schema = Arc::new(DFSchema::new_with_metadata(fields.collect(), Default::default())?);
    let names = keys.iter().map(|key| source.field(*key).name().as_str()).collect::<Vec<_>>().join(", ");
    let traits = Traits { changes: true, ..Traits::default() };
    let mut node = scanned(table, None, all, schema.clone());
    if told == Changelog::Upserts {
        let operator = Normalize::new(batch_schema(&schema), places.clone());
        let shown = format!("Normalize(key=[{names}])");
        let normalize = Keyed { operator, name: "normalize", keys: places.clone(), shown, clock: None };
        node = Node::new(normalize, vec![node], schema.clone(), traits.clone());
    }
    let operator = Settle::new(batch_schema(&schema), places.clone());
    let shown = format!("Settle(key=[{names}])");
    let settle = Keyed { operator, name: "settle", keys: places, shown, clock: None };
    let node = Node::new(settle, vec![node], schema, traits);
    without_columns(node, &(0..columns.len()).collect::<Vec<_>>(), scan.projected_schema.clone())
}

fn scanned(table: Arc<ConnectorTable>, side: Option<Side>, columns: Vec<usize>, schema: DFSchemaRef) -> Node {
    let mut traits = Traits::default();
    if side.is_none() {
        let rowtime = table.rowtime.as_ref().map(|rowtime| rowtime.column);
        let is_proctime = |column: usize| matches!(&table.columns[column].origin, Origin::Computed(expr) if project::is_proctime(expr));
        traits.proctimes = (0..columns.len()).filter(|at| is_proctime(columns[*at])).collect();
        traits.rowtimes = (0..columns.len()).filter(|at| Some(columns[*at]) == rowtime).collect();
    }
    let operation = ScanOperation { scanned: Scanned { table, columns }, side };
    Node::new(operation, Vec::new(), schema, traits)
}
