//! Windows as a node of the plan: [`WindowTvf`], what `TABLE(TUMBLE(…))` and its like stand for.
//!
//! The node gives its input's columns and `window_start`, `window_end` and `window_time`. DataFusion's optimiser sees it as
//! opaque but for what is declared here; [`crate::build`] makes stages of it.

use std::cmp::Ordering;
use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, TimeUnit};
use datafusion_common::{Column, DFSchema, DFSchemaRef, ExprSchema, Result};
use datafusion_expr::{Expr, LogicalPlan, UserDefinedLogicalNodeCore};

/// The columns that a window gives, in order.
pub(crate) const WINDOW_COLUMNS: [&str; 3] = ["window_start", "window_end", "window_time"];

/// A kind of window; all spans in microseconds.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Debug)]
pub(crate) enum WindowKind {
    /// Windows of `size` side by side.
    Tumble { size: i64 },
    /// Windows of `size`, one each `slide`.
    Hop { size: i64, slide: i64 },
    /// Windows that begin together each `size` and end each `step`.
    Cumulate { size: i64, step: i64 },
    /// Windows of rows with less than `gap` between them, for each of `keys` by itself; without such, for each group of an
    /// aggregate.
    Session { gap: i64, keys: Option<Vec<Column>> },
}

impl WindowKind {
    /// From the end of one window to the end of the next, where that is always the same.
    pub(crate) fn step(&self) -> Option<i64> {
        match self {
            Self::Tumble { size } => Some(*size),
            Self::Hop { slide, .. } => Some(*slide),
            Self::Cumulate { step, .. } => Some(*step),
            Self::Session { .. } => None,
        }
    }
}

/// As in the query, in milliseconds.
impl fmt::Display for WindowKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = |span: &i64| std::time::Duration::from_micros(*span as u64);
        match self {
            Self::Tumble { size } => write!(f, "TUMBLE({:?})", ms(size)),
            Self::Hop { size, slide } => write!(f, "HOP({:?} each {:?})", ms(size), ms(slide)),
            Self::Cumulate { size, step } => write!(f, "CUMULATE({:?} up to {:?})", ms(step), ms(size)),
            Self::Session { gap, keys: None } => write!(f, "SESSION({:?})", ms(gap)),
            Self::Session { gap, keys: Some(keys) } => {
                let keys: Vec<_> = keys.iter().map(|key| key.name.as_str()).collect();
                write!(f, "SESSION({:?} by {})", ms(gap), keys.join(", "))
            }
        }
    }
}

/// Rows of `input` in the windows that they belong to: once for each.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) struct WindowTvf {
    pub(crate) input: LogicalPlan,
    /// Event or processing time.
    pub(crate) time: Column,
    pub(crate) kind: WindowKind,
    /// Where some window begins, in microseconds.
    pub(crate) offset: i64,
    pub(crate) schema: DFSchemaRef,
}

impl WindowTvf {
    pub(crate) fn try_new(input: LogicalPlan, time: Column, kind: WindowKind, offset: i64) -> Result<Self> {
        let time_type = input.schema().field_from_column(&time)?.data_type().clone();
        let mut fields: Vec<_> =
            input.schema().iter().map(|(qualifier, field)| (qualifier.cloned(), field.clone())).collect();
        // Of a time finer than milliseconds, which Flink has not, the edges are as fine: sessions depend on it.
        let unit = match time_type {
            DataType::Timestamp(unit @ (TimeUnit::Microsecond | TimeUnit::Nanosecond), _) => unit,
            _ => TimeUnit::Millisecond,
        };
        let edge = DataType::Timestamp(unit, None);
        for (name, kind) in WINDOW_COLUMNS.into_iter().zip([edge.clone(), edge, time_type]) {
            fields.push((None, Arc::new(Field::new(name, kind, true))));
        }
        let schema = DFSchema::new_with_metadata(fields, Default::default())?;
        Ok(Self { input, time, kind, offset, schema: Arc::new(schema) })
    }

    /// How many columns come from the input.
    pub(crate) fn input_columns(&self) -> usize {
        self.input.schema().fields().len()
    }
}

impl PartialOrd for WindowTvf {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        (&self.kind, self.offset, &self.time).partial_cmp(&(&other.kind, other.offset, &other.time))
    }
}

impl UserDefinedLogicalNodeCore for WindowTvf {
    fn name(&self) -> &str {
        "WindowTvf"
    }

    fn inputs(&self) -> Vec<&LogicalPlan> {
        vec![&self.input]
    }

    fn schema(&self) -> &DFSchemaRef {
        &self.schema
    }

    fn expressions(&self) -> Vec<Expr> {
        vec![Expr::Column(self.time.clone())]
    }

    fn prevent_predicate_push_down_columns(&self) -> HashSet<String> {
        let columns = WINDOW_COLUMNS.map(str::to_string).into_iter();
        // What a session is made of depends on all its rows.
        match self.kind {
            WindowKind::Session { .. } => self.schema.fields().iter().map(|field| field.name().clone()).collect(),
            _ => columns.collect(),
        }
    }

    fn fmt_for_explain(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "WindowTvf: {} of {}", self.kind, self.time.name)
    }

    fn with_exprs_and_inputs(&self, _: Vec<Expr>, mut inputs: Vec<LogicalPlan>) -> Result<Self> {
        let input = inputs.swap_remove(0);
        Self::try_new(input, self.time.clone(), self.kind.clone(), self.offset)
    }

    fn necessary_children_exprs(&self, output: &[usize]) -> Option<Vec<Vec<usize>>> {
        let schema = self.input.schema();
        let mut needed: Vec<usize> = output.iter().copied().filter(|column| *column < self.input_columns()).collect();
        needed.extend(schema.maybe_index_of_column(&self.time));
        if let WindowKind::Session { keys: Some(keys), .. } = &self.kind {
            needed.extend(keys.iter().filter_map(|key| schema.maybe_index_of_column(key)));
        }
        needed.sort_unstable();
        needed.dedup();
        Some(vec![needed])
    }
}
