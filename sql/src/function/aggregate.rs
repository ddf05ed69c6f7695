//! Aggregates of DataFusion with the types of Flink: SUM of INT is INT, AVG of INT is INT, AVG of DECIMAL(p, s) is
//! DECIMAL(38, max(6, s)).
//!
//! [`Typed`] casts what comes in to what DataFusion's aggregate computes well with, and casts its result, which is an error
//! where it does not fit. The state is DataFusion's own, so it merges, and retracts where DataFusion's does.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray};
use arrow::datatypes::{DataType, Field, FieldRef, Schema};
use datafusion_common::{Result, ScalarValue, plan_err};
use datafusion_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion_expr::{Accumulator, AggregateUDF, AggregateUDFImpl, EmitTo, GroupsAccumulator, Signature, Volatility};
use datafusion_functions_aggregate as theirs;
use datafusion_physical_expr::PhysicalExpr;
use datafusion_physical_expr::expressions::cast;

use super::moment::recast;

/// The aggregates whose types differ from DataFusion's.
pub(super) fn functions() -> Vec<Arc<AggregateUDF>> {
    let average = |name, inner| Typed::new(name, inner, wide, averaged);
    let list = [
        Typed::new("sum", theirs::sum::sum_udaf(), summable, summed),
        Typed { zero: true, ..Typed::new("sum0", theirs::sum::sum_udaf(), summable, summed) },
        Typed::new("avg", theirs::average::avg_udaf(), averageable, averaged),
        average("stddev_pop", theirs::stddev::stddev_pop_udaf()),
        Typed { aliases: vec!["stddev".into()], ..average("stddev_samp", theirs::stddev::stddev_udaf()) },
        average("var_pop", theirs::variance::var_pop_udaf()),
        Typed { aliases: vec!["variance".into()], ..average("var_samp", theirs::variance::var_samp_udaf()) },
        Typed::new("approx_count_distinct", theirs::approx_distinct::approx_distinct_udaf(), as_it_is, |_| {
            Ok(DataType::Int64)
        }),
    ];
    list.into_iter().map(|typed| Arc::new(AggregateUDF::new_from_impl(typed))).collect()
}

fn as_it_is(given: &DataType) -> DataType {
    given.clone()
}

fn wide(_: &DataType) -> DataType {
    DataType::Float64
}

fn summable(given: &DataType) -> DataType {
    match given {
        DataType::Decimal128(_, scale) => DataType::Decimal128(38, *scale),
        floating if floating.is_floating() => DataType::Float64,
        integer if integer.is_integer() => DataType::Int64,
        other => other.clone(),
    }
}

fn averageable(given: &DataType) -> DataType {
    match given {
        DataType::Decimal128(_, scale) => DataType::Decimal128(38, (*scale).max(6)),
        integer if integer.is_integer() => DataType::Decimal128(20, 0),
        _ => DataType::Float64,
    }
}

fn summed(given: &DataType) -> Result<DataType> {
    match given {
        DataType::Decimal128(_, scale) => Ok(DataType::Decimal128(38, *scale)),
        DataType::Null => Ok(DataType::Int64),
        number if number.is_numeric() => Ok(number.clone()),
        other => plan_err!("SUM takes numbers, and {other} was given"),
    }
}

fn averaged(given: &DataType) -> Result<DataType> {
    match given {
        DataType::Decimal128(_, scale) => Ok(DataType::Decimal128(38, (*scale).max(6))),
        DataType::Null => Ok(DataType::Float64),
        number if number.is_numeric() => Ok(number.clone()),
        other => plan_err!("averages and deviations are of numbers, and {other} was given"),
    }
}

/// An aggregate of DataFusion, with other types.
struct Typed {
    name: &'static str,
    aliases: Vec<String>,
    signature: Signature,
    inner: Arc<AggregateUDF>,
    takes: fn(&DataType) -> DataType,
    gives: fn(&DataType) -> Result<DataType>,
    /// Whether nothing gives zero, not NULL.
    zero: bool,
}

impl Typed {
    fn new(
        name: &'static str,
        inner: Arc<AggregateUDF>,
        takes: fn(&DataType) -> DataType,
        gives: fn(&DataType) -> Result<DataType>,
    ) -> Self {
        let signature = Signature::any(1, Volatility::Immutable);
        Self { name, aliases: Vec::new(), signature, inner, takes, gives, zero: false }
    }

    /// What the inner aggregate is told of its argument.
    fn field(&self, given: &FieldRef) -> FieldRef {
        Arc::new(Field::new(given.name(), (self.takes)(given.data_type()), true))
    }

    /// Does something with the inner aggregate's arguments.
    fn inner<T>(&self, args: &AccumulatorArgs<'_>, run: impl FnOnce(AccumulatorArgs<'_>) -> Result<T>) -> Result<T> {
        let fields: Vec<_> = args.expr_fields.iter().map(|field| self.field(field)).collect();
        let exprs = args.exprs.iter().zip(&fields).map(|(expr, field)| cast_to(expr, args.schema, field));
        let exprs = exprs.collect::<Result<Vec<_>>>()?;
        run(AccumulatorArgs {
            return_field: self.inner.return_field(&fields)?,
            schema: args.schema,
            ignore_nulls: args.ignore_nulls,
            order_bys: args.order_bys,
            is_reversed: args.is_reversed,
            name: args.name,
            is_distinct: args.is_distinct,
            exprs: &exprs,
            expr_fields: &fields,
        })
    }

    fn casts(&self, args: &AccumulatorArgs<'_>) -> Casts {
        let takes = args.expr_fields.iter().map(|field| (self.takes)(field.data_type())).collect();
        Casts { name: self.name, takes, gives: args.return_type().clone(), zero: self.zero }
    }
}

fn cast_to(expr: &Arc<dyn PhysicalExpr>, schema: &Schema, field: &FieldRef) -> Result<Arc<dyn PhysicalExpr>> {
    cast(Arc::clone(expr), schema, field.data_type().clone())
}

impl fmt::Debug for Typed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

impl PartialEq for Typed {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for Typed {}

impl Hash for Typed {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name.hash(state);
    }
}

impl AggregateUDFImpl for Typed {
    fn name(&self) -> &str {
        self.name
    }

    fn aliases(&self) -> &[String] {
        &self.aliases
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, given: &[DataType]) -> Result<DataType> {
        match given {
            [one] => (self.gives)(one),
            _ => plan_err!("{} takes one argument, and {} were given", self.name.to_uppercase(), given.len()),
        }
    }

    fn is_nullable(&self) -> bool {
        !self.zero
    }

    fn state_fields(&self, args: StateFieldsArgs<'_>) -> Result<Vec<FieldRef>> {
        let fields: Vec<_> = args.input_fields.iter().map(|field| self.field(field)).collect();
        self.inner.state_fields(StateFieldsArgs {
            name: args.name,
            return_field: self.inner.return_field(&fields)?,
            input_fields: &fields,
            ordering_fields: args.ordering_fields,
            is_distinct: args.is_distinct,
        })
    }

    fn accumulator(&self, args: AccumulatorArgs<'_>) -> Result<Box<dyn Accumulator>> {
        let inner = self.inner(&args, |args| self.inner.accumulator(args))?;
        Ok(Box::new(TypedAccumulator { casts: self.casts(&args), inner }))
    }

    fn create_sliding_accumulator(&self, args: AccumulatorArgs<'_>) -> Result<Box<dyn Accumulator>> {
        let inner = self.inner(&args, |args| self.inner.create_sliding_accumulator(args))?;
        Ok(Box::new(TypedAccumulator { casts: self.casts(&args), inner }))
    }

    fn groups_accumulator_supported(&self, args: AccumulatorArgs<'_>) -> bool {
        self.inner(&args, |args| Ok(self.inner.groups_accumulator_supported(args))).unwrap_or(false)
    }

    fn create_groups_accumulator(&self, args: AccumulatorArgs<'_>) -> Result<Box<dyn GroupsAccumulator>> {
        let inner = self.inner(&args, |args| self.inner.create_groups_accumulator(args))?;
        Ok(Box::new(TypedGroups { casts: self.casts(&args), inner }))
    }
}

/// The casts in and out.
#[derive(Debug)]
struct Casts {
    name: &'static str,
    takes: Vec<DataType>,
    gives: DataType,
    zero: bool,
}

impl Casts {
    fn cast(&self, values: &[ArrayRef]) -> Result<Vec<ArrayRef>> {
        values.iter().zip(&self.takes).map(|(values, to)| recast(values, to)).collect()
    }

    fn out(&self, values: &ArrayRef) -> Result<ArrayRef> {
        let cast = recast(values, &self.gives).map_err(|error| {
            let name = self.name.to_uppercase();
            error.context(format!("{name} does not fit its type: CAST the argument to a larger one"))
        })?;
        if self.zero && cast.null_count() > 0 {
            let zero = ScalarValue::new_zero(&self.gives)?.to_array_of_size(cast.len())?;
            return Ok(arrow::compute::kernels::zip::zip(&arrow::compute::is_null(&cast)?, &zero, &cast)?);
        }
        Ok(cast)
    }
}

#[derive(Debug)]
struct TypedAccumulator {
    casts: Casts,
    inner: Box<dyn Accumulator>,
}

impl Accumulator for TypedAccumulator {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.inner.update_batch(&self.casts.cast(values)?)
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        let value = self.inner.evaluate()?.to_array()?;
        ScalarValue::try_from_array(&self.casts.out(&value)?, 0)
    }

    fn size(&self) -> usize {
        self.inner.size()
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        self.inner.state()
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        self.inner.merge_batch(states)
    }

    fn retract_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.inner.retract_batch(&self.casts.cast(values)?)
    }

    fn supports_retract_batch(&self) -> bool {
        self.inner.supports_retract_batch()
    }
}

struct TypedGroups {
    casts: Casts,
    inner: Box<dyn GroupsAccumulator>,
}

impl GroupsAccumulator for TypedGroups {
    fn update_batch(
        &mut self,
        values: &[ArrayRef],
        groups: &[usize],
        filter: Option<&BooleanArray>,
        total: usize,
    ) -> Result<()> {
        self.inner.update_batch(&self.casts.cast(values)?, groups, filter, total)
    }

    fn evaluate(&mut self, emit_to: EmitTo) -> Result<ArrayRef> {
        self.casts.out(&self.inner.evaluate(emit_to)?)
    }

    fn state(&mut self, emit_to: EmitTo) -> Result<Vec<ArrayRef>> {
        self.inner.state(emit_to)
    }

    fn merge_batch(&mut self, values: &[ArrayRef], groups: &[usize], total: usize) -> Result<()> {
        self.inner.merge_batch(values, groups, total)
    }

    fn convert_to_state(&self, values: &[ArrayRef], filter: Option<&BooleanArray>) -> Result<Vec<ArrayRef>> {
        self.inner.convert_to_state(&self.casts.cast(values)?, filter)
    }

    fn size(&self) -> usize {
        self.inner.size()
    }
}
