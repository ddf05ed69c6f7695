//! Which pairs of rows belong together: keys that equal each other, and what else was asked for.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, RecordBatch, RecordBatchOptions, downcast_primitive_array, make_comparator,
};
use arrow::compute::SortOptions;
use arrow::compute::kernels::cmp::not_distinct;
use arrow::datatypes::{DataType, Schema, SchemaRef};
use arrow::error::ArrowError;
use datafusion_common::DataFusionError;
use datafusion_common::tree_node::{Transformed, TreeNode};
use datafusion_physical_expr::PhysicalExpr;
use datafusion_physical_expr::expressions::Column;
use datafusion_physical_expr::utils::collect_columns;

use super::log::Log;

/// See the module's page. Nulls are equal here: where they equal nothing, rows that hold them in their keys don't look for others.
#[derive(Clone, Debug)]
pub(super) struct Condition {
    /// The columns of the left key and of the right one.
    pub(super) keys: Vec<(usize, usize)>,
    pub(super) filter: Option<Filter>,
}

/// Pairs of rows, by their numbers.
#[derive(Clone, Debug, Default)]
pub(super) struct Pairs {
    pub(super) left: Vec<u32>,
    pub(super) right: Vec<u32>,
}

impl Pairs {
    pub(super) fn len(&self) -> usize {
        self.left.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.left.is_empty()
    }

    pub(super) fn clear(&mut self) {
        self.left.clear();
        self.right.clear();
    }

    /// Keeps those for which `keep` is true.
    pub(super) fn retain(&mut self, keep: &[bool]) {
        if keep.iter().all(|keep| *keep) {
            return;
        }
        for rows in [&mut self.left, &mut self.right] {
            let mut keep = keep.iter();
            rows.retain(|_| keep.next().is_some_and(|keep| *keep));
        }
    }
}

impl Condition {
    /// Keeps the pairs that belong together.
    pub(super) fn keep(&self, left: &Log, right: &Log, pairs: &mut Pairs) -> Result<(), DataFusionError> {
        self.keep_equal(left, right, pairs)?;
        self.keep_filtered(left, right, pairs)
    }

    /// Keeps the pairs whose keys equal each other.
    pub(super) fn keep_equal(&self, left: &Log, right: &Log, pairs: &mut Pairs) -> Result<(), DataFusionError> {
        keep_equal(&self.keys, left, right, pairs)
    }

    /// Keeps the pairs that the filter lets pass.
    pub(super) fn keep_filtered(&self, left: &Log, right: &Log, pairs: &mut Pairs) -> Result<(), DataFusionError> {
        if let (Some(filter), false) = (&self.filter, pairs.is_empty()) {
            let passed = filter.evaluate(left, right, pairs)?;
            pairs.retain(&passed);
        }
        Ok(())
    }
}

/// Keeps the pairs of which these columns equal each other, null being equal to null.
pub(super) fn keep_equal(
    keys: &[(usize, usize)],
    left: &Log,
    right: &Log,
    pairs: &mut Pairs,
) -> Result<(), DataFusionError> {
    let mut equal = vec![true; pairs.len()];
    for (one, other) in keys {
        and_equal((left, *one, &pairs.left), (right, *other, &pairs.right), &mut equal)?;
    }
    pairs.retain(&equal);
    Ok(())
}

/// Of which pairs all columns equal each other.
pub(super) fn equal_rows(left: &Log, l: &[u32], right: &Log, r: &[u32]) -> Result<Vec<bool>, DataFusionError> {
    let mut equal = vec![true; l.len()];
    for column in 0..left.columns() {
        and_equal((left, column, l), (right, column, r), &mut equal)?;
    }
    Ok(equal)
}

type Picking<'a> = (&'a Log, usize, &'a [u32]);

fn and_equal(left: Picking<'_>, right: Picking<'_>, equal: &mut [bool]) -> Result<(), ArrowError> {
    if let (Some(l), Some(r)) = (left.0.whole(left.1), right.0.whole(right.1))
        && l.null_count() == 0
        && r.null_count() == 0
        && and_equal_values(l, left.2, r, right.2, equal)
    {
        return Ok(());
    }
    let column = |(log, column, rows): Picking<'_>| log.pick(rows).column(column);
    let (l, r) = (column(left)?, column(right)?);
    if l.data_type().is_nested() {
        let compare = make_comparator(&l, &r, SortOptions::default())?;
        equal.iter_mut().enumerate().for_each(|(at, equal)| *equal &= compare(at, at).is_eq());
    } else {
        let same = not_distinct(&l, &r)?;
        equal.iter_mut().zip(same.values()).for_each(|(equal, same)| *equal &= same);
    }
    Ok(())
}

/// The same for numbers and times, where they lie: whether the columns are such.
fn and_equal_values(l: &ArrayRef, ls: &[u32], r: &ArrayRef, rs: &[u32], equal: &mut [bool]) -> bool {
    if matches!(l.data_type(), DataType::Float16 | DataType::Float32 | DataType::Float64) {
        return false;
    }
    let (l, r) = (l.as_ref(), r.as_ref());
    downcast_primitive_array!(
        (l, r) => {
            let (l, r) = (l.values(), r.values());
            for ((equal, one), other) in equal.iter_mut().zip(ls).zip(rs) {
                *equal &= l[*one as usize] == r[*other as usize];
            }
            true
        }
        _ => false,
    )
}

/// What pairs have to fulfil besides.
#[derive(Clone, Debug)]
pub(super) struct Filter {
    /// Over the columns that it needs.
    expr: Arc<dyn PhysicalExpr>,
    schema: SchemaRef,
    /// For each of them, whether it is of the left input, and its number there.
    columns: Vec<(bool, usize)>,
}

impl Filter {
    /// `expr` is over the columns of `left`, then those of `right`.
    ///
    /// # Errors
    /// When it is not, or gives no truth values.
    pub(super) fn new(expr: Arc<dyn PhysicalExpr>, left: &Schema, right: &Schema) -> Result<Self, DataFusionError> {
        let mut used: Vec<usize> = collect_columns(&expr).iter().map(Column::index).collect();
        used.sort_unstable();
        used.dedup();
        let both: Vec<_> = left.fields().iter().chain(right.fields()).collect();
        if let Some(outside) = used.iter().find(|column| **column >= both.len()) {
            return Err(DataFusionError::Plan(format!("the filter of a join has no column {outside}: {expr}")));
        }
        let schema: SchemaRef = Arc::new(Schema::new(used.iter().map(|at| Arc::clone(both[*at])).collect::<Vec<_>>()));
        let place = |column: &Column| used.binary_search(&column.index()).unwrap_or_default();
        let moved = |expr: Arc<dyn PhysicalExpr>| {
            let moved = expr.downcast_ref::<Column>().map(|column| Column::new(column.name(), place(column)));
            Ok(moved.map_or_else(|| Transformed::no(expr), |column| Transformed::yes(Arc::new(column) as _)))
        };
        let expr = expr.transform_up(moved)?.data;
        if expr.data_type(&schema)? != DataType::Boolean {
            return Err(DataFusionError::Plan(format!("the filter of a join is no condition: {expr}")));
        }
        let width = left.fields().len();
        let columns = used.into_iter().map(|at| (at < width, if at < width { at } else { at - width })).collect();
        Ok(Self { expr, schema, columns })
    }

    /// Whether each pair passes.
    fn evaluate(&self, left: &Log, right: &Log, pairs: &Pairs) -> Result<Vec<bool>, DataFusionError> {
        let (l, r) = (left.pick(&pairs.left), right.pick(&pairs.right));
        let columns = self.columns.iter().map(|(of_left, at)| if *of_left { l.column(*at) } else { r.column(*at) });
        let options = RecordBatchOptions::new().with_row_count(Some(pairs.len()));
        let columns = columns.collect::<Result<_, _>>()?;
        let batch = RecordBatch::try_new_with_options(self.schema.clone(), columns, &options)?;
        let passed = self.expr.evaluate(&batch)?.into_array(pairs.len())?;
        Ok(truths(passed.as_boolean()))
    }
}

fn truths(passed: &BooleanArray) -> Vec<bool> {
    match passed.nulls() {
        None => passed.values().iter().collect(),
        Some(nulls) => passed.values().iter().zip(nulls).map(|(passed, known)| passed && known).collect(),
    }
}
