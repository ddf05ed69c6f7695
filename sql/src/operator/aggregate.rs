//! [`Aggregate`]: an aggregate function of DataFusion over columns of the input, and its [`Partial`] states by group.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, RecordBatch};
use arrow::compute::{concat, prep_null_mask_filter};
use arrow::datatypes::{DataType, SchemaRef};
use datafusion_common::Result;
use datafusion_expr::{EmitTo, GroupsAccumulator};
use datafusion_physical_expr::aggregate::{AggregateExprBuilder, AggregateFunctionExpr};
use datafusion_physical_expr::{GroupsAccumulatorAdapter, PhysicalExpr};

use super::keys::Id;

/// An aggregate: `function(arguments) FILTER (WHERE filter)`.
#[derive(Clone, Debug)]
pub struct Aggregate {
    /// The function and its arguments, over the input's columns.
    pub function: Arc<AggregateFunctionExpr>,
    /// Which rows count; all, where there is none.
    pub filter: Option<Arc<dyn PhysicalExpr>>,
}

impl From<AggregateFunctionExpr> for Aggregate {
    fn from(function: AggregateFunctionExpr) -> Self {
        Self { function: Arc::new(function), filter: None }
    }
}

impl Aggregate {
    /// The function's name, in small letters.
    pub(crate) fn name(&self) -> String {
        self.function.fun().name().to_lowercase()
    }

    /// The same aggregate of all rows, where it is of those that are distinct.
    pub(crate) fn of_all(&self, schema: &SchemaRef) -> Result<Self> {
        let function = AggregateExprBuilder::new(Arc::new(self.function.fun().clone()), self.function.expressions())
            .schema(schema.clone())
            .alias(self.function.name())
            .with_ignore_nulls(self.function.ignore_nulls())
            .build()?;
        Ok(Self { function: Arc::new(function), filter: self.filter.clone() })
    }

    /// The arguments of rows, and what they are ordered by.
    pub(crate) fn arguments(&self, rows: &RecordBatch) -> Result<Vec<ArrayRef>> {
        let order = self.function.order_bys().iter().map(|sort| sort.expr.clone());
        let all = self.function.expressions().into_iter().chain(order);
        all.map(|argument| argument.evaluate(rows)?.into_array(rows.num_rows())).collect()
    }

    /// The types of these.
    pub(crate) fn argument_types(&self, schema: &SchemaRef) -> Result<Vec<DataType>> {
        let order = self.function.order_bys().iter().map(|sort| sort.expr.clone());
        let all = self.function.expressions().into_iter().chain(order);
        all.map(|argument| argument.data_type(schema)).collect()
    }

    /// The rows that count; `None` where all do.
    pub(crate) fn counted(&self, rows: &RecordBatch) -> Result<Option<BooleanArray>> {
        let Some(filter) = &self.filter else { return Ok(None) };
        let kept = filter.evaluate(rows)?.into_array(rows.num_rows())?;
        let kept = kept.as_boolean();
        Ok(Some(if kept.null_count() == 0 { kept.clone() } else { prep_null_mask_filter(kept) }))
    }

    /// Accumulators, one a group.
    pub(crate) fn accumulators(&self) -> Result<Box<dyn GroupsAccumulator>> {
        if self.function.groups_accumulator_supported() {
            return self.function.create_groups_accumulator();
        }
        let function = self.function.clone();
        Ok(Box::new(GroupsAccumulatorAdapter::new(move || function.create_accumulator())))
    }

    /// The states of groups that are made of these rows.
    pub(crate) fn partial(
        &self,
        arguments: &[ArrayRef],
        groups: &Groups,
        counted: Option<&BooleanArray>,
    ) -> Result<Vec<ArrayRef>> {
        // Only where each group has a row may there be no filter.
        let none = groups.of.is_empty().then(|| BooleanArray::from(Vec::<bool>::new()));
        let mut accumulators = self.accumulators()?;
        accumulators.update_batch(arguments, &groups.of, counted.or(none.as_ref()), groups.ids.len())?;
        accumulators.state(EmitTo::All)
    }

    /// The states of groups: what is stored of some of them (`of` tells of which) and what is added to each, in this order.
    pub(crate) fn merged(&self, stored: &[ArrayRef], of: &[usize], added: &[ArrayRef]) -> Result<Vec<ArrayRef>> {
        // All at once: accumulators take groups that they are not told of for such as have values.
        let groups = added.first().map_or(0, |added| added.len());
        let both = stored.iter().zip(added).map(|(stored, added)| Ok(concat(&[stored, added])?));
        let of: Vec<_> = of.iter().copied().chain(0..groups).collect();
        self.folded(&both.collect::<Result<Vec<_>>>()?, &of, groups)
    }

    /// The states of `groups` groups, each made of some of these: `of` tells whose each is.
    pub(crate) fn folded(&self, states: &[ArrayRef], of: &[usize], groups: usize) -> Result<Vec<ArrayRef>> {
        let mut accumulators = self.accumulators()?;
        accumulators.merge_batch(states, of, groups)?;
        accumulators.state(EmitTo::All)
    }

    /// What groups of these states amount to.
    pub(crate) fn results(&self, states: &[ArrayRef], groups: usize) -> Result<ArrayRef> {
        let mut accumulators = self.accumulators()?;
        accumulators.merge_batch(states, &(0..groups).collect::<Vec<_>>(), groups)?;
        accumulators.evaluate(EmitTo::All)
    }

    /// What `groups` groups amount to that have these rows, or none.
    pub(crate) fn computed(&self, arguments: &[ArrayRef], of: &[usize], groups: usize) -> Result<ArrayRef> {
        // With a filter they do not take it for granted that each group has a row.
        let all = BooleanArray::from(vec![true; of.len()]);
        let mut accumulators = self.accumulators()?;
        accumulators.update_batch(arguments, of, Some(&all), groups)?;
        accumulators.evaluate(EmitTo::All)
    }
}

/// Which group each row is of: numbers that are dense, for accumulators, and what they stand for.
#[derive(Debug, Default)]
pub(crate) struct Groups {
    /// All different.
    pub(crate) ids: Vec<Id>,
    /// For each row, where its group is in `ids`.
    pub(crate) of: Vec<usize>,
}

impl Groups {
    /// Of rows of the groups `rows`; `seen` has room for each group, and is all `Id::MAX` before and after.
    pub(crate) fn new(rows: &[Id], seen: &mut Vec<Id>, bound: usize) -> Self {
        seen.resize(bound.max(seen.len()), Id::MAX);
        let mut ids = Vec::new();
        let of = rows.iter().map(|id| {
            let place = &mut seen[*id as usize];
            if *place == Id::MAX {
                *place = ids.len() as Id;
                ids.push(*id);
            }
            *place as usize
        });
        let of = of.collect();
        ids.iter().for_each(|id| seen[*id as usize] = Id::MAX);
        Self { ids, of }
    }
}
