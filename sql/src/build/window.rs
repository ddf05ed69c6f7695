//! Window table functions: which windows a row belongs to.
//!
//! Rows are not assigned to windows at once: a window's columns hold the row's own time until somebody
//! reads them. An aggregate by window does not: its stage finds the slices itself. For all others, [`assigned`] makes of each
//! row one for each of its windows.

use arrow::array::{ArrayRef, TimestampMillisecondArray, UInt32Array};
use arrow::compute::cast;
use arrow::datatypes::{DataType, SchemaRef};
use datafusion_common::{Result, not_impl_err, plan_err};
use updraft_dataflow::Rows;

use super::expr::{batch, batch_schema};
use super::scan::micros;
use super::session;
use super::{Builder, Clock, Flow, Node, Operation, Traits, Translator, WindowColumns};
use crate::fail::fail;
use crate::plan::window::{WindowKind, WindowTvf};

/// Adds a window's columns, which hold the row's time.
struct Stamp {
    time: usize,
    kind: WindowKind,
    schema: SchemaRef,
}

impl Operation for Stamp {
    fn describe(&self) -> String {
        format!("WindowTableFunction(window=[{}], time={})", self.kind, self.schema.field(self.time).name())
    }

    fn build(self: Box<Self>, mut inputs: Vec<Flow>, _: &mut Builder) -> Result<Flow> {
        let Self { time, schema, .. } = *self;
        Ok(inputs.swap_remove(0).step(move |rows| {
            let mut columns = rows.batch().columns().to_vec();
            let own = columns[time].clone();
            for field in &schema.fields()[columns.len()..] {
                columns.push(cast(&own, field.data_type()).unwrap_or_else(|error| fail(error)));
            }
            let batch = batch(schema.clone(), columns, rows.len());
            Some(rows.with_batch(batch))
        }))
    }
}

/// `TABLE(TUMBLE(…))` and its like.
pub(crate) fn translate(translator: &Translator, tvf: &WindowTvf) -> Result<Node> {
    let input = assigned(translator.node(&tvf.input)?)?;
    let time = input.schema.index_of_column(&tvf.time)?;
    let is_processing = input.traits.proctimes.contains(&time);
    let is_time = matches!(input.schema.field(time).data_type(), DataType::Timestamp(..));
    let is_attribute = is_processing || input.traits.rowtimes.contains(&time) || translator.batch && is_time;
    if !is_attribute {
        return plan_err!(
            "a window needs a time attribute, and `{}` is none: declare `WATERMARK FOR {} AS {} - INTERVAL '5' SECOND` in its table",
            tvf.time.name,
            tvf.time.name,
            tvf.time.name
        );
    }
    if input.traits.changes {
        return not_impl_err!("a window over rows that may be updated or deleted");
    }
    let first = tvf.input_columns();
    let [start, end, time_column] = [0, 1, 2].map(|offset| first + offset);
    let window = WindowColumns {
        start: Some(start),
        end: Some(end),
        time: Some(time_column),
        kind: tvf.kind.clone(),
        offset: tvf.offset,
        is_pending: true,
        is_processing,
    };
    let mut traits = Traits { window: Some(window), ..input.traits.clone() };
    if is_processing {
        traits.proctimes.push(time_column)
    } else {
        traits.rowtimes.push(time_column)
    }
    let operation = Stamp { time, kind: tvf.kind.clone(), schema: batch_schema(&tvf.schema) };
    Ok(Node::new(operation, vec![input], tvf.schema.clone(), traits))
}

/// Makes of each row one for each of its windows.
struct Assign {
    window: WindowColumns,
    schema: SchemaRef,
}

impl Operation for Assign {
    fn describe(&self) -> String {
        format!("WindowAssign(window=[{}])", self.window.kind)
    }

    fn clock(&self) -> Option<Clock> {
        Some(self.window.clock())
    }

    fn build(self: Box<Self>, mut inputs: Vec<Flow>, _: &mut Builder) -> Result<Flow> {
        Ok(inputs.swap_remove(0).step(move |rows| Some(self.assign(rows))))
    }
}

impl Assign {
    fn assign(&self, rows: Rows) -> Rows {
        let Some(from) = self.window.any() else { return rows };
        let times = micros(rows.batch().column(from));
        let (mut taken, mut starts, mut ends) = (Vec::new(), Vec::new(), Vec::new());
        for (row, time) in times.into_iter().enumerate() {
            windows_of(&self.window.kind, self.window.offset, time, |start, end| {
                taken.push(row as u32);
                starts.push(start.div_euclid(1_000));
                ends.push(end.div_euclid(1_000));
            });
        }
        let rows = rows.take(&UInt32Array::from(taken)).unwrap_or_else(|error| fail(error));
        let mut columns = rows.batch().columns().to_vec();
        let lasts: Vec<i64> = ends.iter().map(|end| end - 1).collect();
        let edges = [(self.window.start, starts), (self.window.end, ends), (self.window.time, lasts)];
        for (column, millis) in edges {
            if let Some(column) = column {
                columns[column] = self.edge(column, millis);
            }
        }
        let batch = batch(self.schema.clone(), columns, rows.len());
        rows.with_batch(batch)
    }

    fn edge(&self, column: usize, millis: Vec<i64>) -> ArrayRef {
        let column_type = self.schema.field(column).data_type();
        cast(&TimestampMillisecondArray::from(millis), column_type).unwrap_or_else(|error| fail(error))
    }
}

/// Calls `give` with start and end of each window that a row of `time` belongs to, the first one first.
fn windows_of(kind: &WindowKind, offset: i64, time: i64, mut give: impl FnMut(i64, i64)) {
    let floor = |step: i64| time - (time - offset).rem_euclid(step);
    match *kind {
        WindowKind::Tumble { size } => give(floor(size), floor(size) + size),
        WindowKind::Hop { size, slide } => {
            // Of those that begin by now, the ones that have not ended.
            let last = floor(slide);
            let count = (last + size - time - 1).div_euclid(slide) + 1;
            (0..count).rev().for_each(|back| give(last - back * slide, last - back * slide + size));
        }
        WindowKind::Cumulate { size, step } => {
            let start = floor(size);
            let mut end = floor(step) + step;
            while end <= start + size {
                give(start, end);
                end += step;
            }
        }
        WindowKind::Session { .. } => {}
    }
}

/// The same rows, assigned to their windows if they are not yet.
pub(crate) fn assigned(input: Node) -> Result<Node> {
    let Some(window) = input.traits.window.clone().filter(|window| window.is_pending) else { return Ok(input) };
    if let WindowKind::Session { .. } = window.kind {
        return session::assigned(input, &window);
    }
    let mut traits = input.traits.clone();
    traits.window = Some(WindowColumns { is_pending: false, ..window.clone() });
    let operation = Assign { window, schema: batch_schema(&input.schema) };
    let schema = input.schema.clone();
    Ok(Node::new(operation, vec![input], schema, traits))
}

/// The columns that keep sessions apart, while the sessions are not known; others do not depend on other columns.
pub(crate) fn session_keys(input: &Node) -> Result<Option<Vec<usize>>> {
    match input.traits.window.as_ref().filter(|window| window.is_pending).map(|window| &window.kind) {
        Some(WindowKind::Session { keys: Some(keys), .. }) => {
            keys.iter().map(|key| input.schema.index_of_column(key)).collect::<Result<_>>().map(Some)
        }
        _ => Ok(None),
    }
}

/// Whether its sessions are those of `GROUP BY SESSION(…)`: kept apart by what is grouped by.
pub(crate) fn is_session_by_group(input: &Node) -> bool {
    let pending = input.traits.window.as_ref().filter(|window| window.is_pending);
    pending.is_some_and(|window| matches!(window.kind, WindowKind::Session { keys: None, .. }))
}

/// The same if columns that its windows depend on are not among those that stay: the keys of sessions; and of windows that
/// overlap, of which rows come more than once, all that tells of them.
pub(crate) fn assigned_if_lost(input: Node, stay: &[Option<usize>]) -> Result<Node> {
    let Some(window) = input.traits.window.as_ref().filter(|window| window.is_pending) else { return Ok(input) };
    let lost = match &window.kind {
        WindowKind::Tumble { .. } => false,
        WindowKind::Hop { .. } | WindowKind::Cumulate { .. } => {
            !stay.iter().flatten().any(|column| window.has(*column))
        }
        WindowKind::Session { .. } => {
            session_keys(&input)?.is_some_and(|keys| keys.iter().any(|key| !stay.contains(&Some(*key))))
        }
    };
    if lost { assigned(input) } else { Ok(input) }
}

/// The same if one of the window's columns is among those that are computed with.
pub(crate) fn assigned_if_read(input: Node, columns: &[usize]) -> Result<Node> {
    let window = input.traits.window.as_ref();
    let reads = window.is_some_and(|window| columns.iter().any(|column| window.has(*column)));
    if reads { assigned(input) } else { Ok(input) }
}
