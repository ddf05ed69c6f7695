//! What the joins make of [`Joined`]: checked, and in the form that their loops need.

use arrow::array::{Array, RecordBatch};
use arrow::buffer::NullBuffer;
use arrow::datatypes::{DataType, Schema, SchemaRef};
use datafusion_common::{JoinType, NullEquality};
use updraft_dataflow::checkpoint::Layout;
use updraft_dataflow::{Error, RowKind, Rows};

use super::condition::{Condition, Filter, Pairs};
use super::log::Log;
use super::shape::{Draft, Shape};
use super::{Input, Joined};
use crate::fail::fail;
use crate::operator::layout;

/// Whether rows of an input come out by themselves, and when.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Alone {
    Never,
    /// While they have no partner.
    Unmatched,
    /// While they have one.
    Matched,
}

impl Alone {
    /// Whether a row with so many partners comes out by itself.
    pub(super) fn is_told(self, partners: u32) -> bool {
        match self {
            Self::Never => false,
            Self::Unmatched => partners == 0,
            Self::Matched => partners > 0,
        }
    }
}

/// See the module's page.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    pub(super) kind: JoinType,
    pub(super) condition: Condition,
    shape: Shape,
    inputs: [SchemaRef; 2],
    nulls_equal: bool,
}

impl Plan {
    /// # Errors
    /// When keys, filter or the columns that come out don't fit the inputs, or the kind of join is none of SQL's.
    pub(super) fn new(joined: Joined) -> Result<Self, Error> {
        check_keys(&joined)?;
        let shape = shape(&joined)?;
        let filter = joined.filter.map(|filter| Filter::new(filter, &joined.left, &joined.right)).transpose()?;
        Ok(Self {
            kind: joined.kind,
            condition: Condition { keys: joined.keys, filter },
            shape,
            inputs: [joined.left, joined.right],
            nulls_equal: joined.nulls == NullEquality::NullEqualsNull,
        })
    }

    /// Gives only some of the columns that come out.
    pub(super) fn narrow(&mut self, columns: &[usize]) {
        or_end(self.shape.narrow(columns));
    }

    /// Allows some kinds of join alone.
    pub(super) fn only(self, kinds: &[JoinType], what: &str) -> Result<Self, Error> {
        if kinds.contains(&self.kind) {
            return Ok(self);
        }
        let known: Vec<_> = kinds.iter().map(ToString::to_string).collect();
        Err(format!("{what} cannot be of the kind {}: it can be {}", self.kind, known.join(" or ")).into())
    }

    /// What a join of this kind keeps of its inputs.
    pub(super) fn layout(&self, kind: &str) -> Layout {
        let (left, right) = self.condition.keys.iter().copied().unzip::<_, _, Vec<_>, Vec<_>>();
        let [left, right] =
            [(&self.inputs[0], left), (&self.inputs[1], right)].map(|(rows, keys)| layout::rows(rows, &keys));
        Layout::of(format!("{kind} join ({})", self.kind)).table("left", left).table("right", right)
    }

    pub(super) fn input(&self, input: Input) -> &SchemaRef {
        match input {
            Input::Left => &self.inputs[0],
            Input::Right => &self.inputs[1],
        }
    }

    /// The column of a key.
    fn key(input: Input, key: &(usize, usize)) -> usize {
        if input == Input::Left { key.0 } else { key.1 }
    }

    /// Which rows of an input may have partners, if not all: those without nulls in their keys.
    pub(super) fn matchable(&self, input: Input, batch: &RecordBatch) -> Option<NullBuffer> {
        if self.nulls_equal {
            return None;
        }
        let nulls = |key| batch.column(Self::key(input, key)).logical_nulls();
        let all =
            self.condition.keys.iter().fold(None, |all, key| NullBuffer::union(all.as_ref(), nulls(key).as_ref()));
        all.filter(|nulls| nulls.null_count() > 0)
    }

    /// The column that is looked for, where that is one of whole numbers and nulls equal nothing.
    pub(super) fn number(&self, input: Input) -> Option<usize> {
        let [key] = &self.condition.keys[..] else { return None };
        let column = Self::key(input, key);
        let data_type = self.input(input).field(column).data_type();
        let whole = data_type.is_signed_integer()
            || matches!(
                data_type,
                DataType::Date32 | DataType::Timestamp(..) | DataType::UInt8 | DataType::UInt16 | DataType::UInt32
            );
        (whole && !self.nulls_equal).then_some(column)
    }

    /// Whether pairs come out.
    pub(super) fn pairs(&self) -> bool {
        matches!(self.kind, JoinType::Inner | JoinType::Left | JoinType::Right | JoinType::Full)
    }

    /// Whether an input's rows come out by themselves.
    pub(super) fn alone(&self, input: Input) -> Alone {
        match (self.kind, input) {
            (JoinType::Left | JoinType::Full | JoinType::LeftAnti, Input::Left)
            | (JoinType::Right | JoinType::Full | JoinType::RightAnti, Input::Right) => Alone::Unmatched,
            (JoinType::LeftSemi, Input::Left) | (JoinType::RightSemi, Input::Right) => Alone::Matched,
            _ => Alone::Never,
        }
    }

    /// The rows of a draft, if there are any.
    pub(super) fn draw(&self, input: Input, own: &Log, other: &Log, draft: Draft) -> Option<Rows> {
        let (pairs, kinds) = draft.into_pairs(input);
        self.rows(input, own, other, &pairs, Some(kinds))
    }

    /// The rows that pairs make, if there are any; `own` is what `input` has.
    pub(super) fn rows(
        &self,
        input: Input,
        own: &Log,
        other: &Log,
        pairs: &Pairs,
        kinds: Option<Vec<RowKind>>,
    ) -> Option<Rows> {
        let (left, right) = input.order(own, other);
        (!pairs.is_empty()).then(|| or_end(self.shape.rows(left, right, pairs, kinds)))
    }

    /// Keeps the pairs that belong together.
    pub(super) fn keep(&self, input: Input, own: &Log, other: &Log, pairs: &mut Pairs) {
        let (left, right) = input.order(own, other);
        or_end(self.condition.keep(left, right, pairs));
    }

    /// The same for pairs whose keys are known to be equal.
    pub(super) fn keep_filtered(&self, input: Input, own: &Log, other: &Log, pairs: &mut Pairs) {
        let (left, right) = input.order(own, other);
        or_end(self.condition.keep_filtered(left, right, pairs));
    }
}

/// Ends the job where something cannot be computed.
pub(super) fn or_end<T, E: std::error::Error + Send + Sync + 'static>(result: Result<T, E>) -> T {
    result.unwrap_or_else(|error| fail(error))
}

fn check_keys(joined: &Joined) -> Result<(), Error> {
    for (left, right) in &joined.keys {
        let (Some(l), Some(r)) = (joined.left.fields().get(*left), joined.right.fields().get(*right)) else {
            return Err(format!("a join by columns {left} and {right}, of inputs that have not so many").into());
        };
        if l.data_type() != r.data_type() {
            let types = format!("{} and {}", l.data_type(), r.data_type());
            return Err(
                format!("a join by '{}' = '{}', which are {types}: cast one of them", l.name(), r.name()).into()
            );
        }
    }
    Ok(())
}

fn shape(joined: &Joined) -> Result<Shape, Error> {
    let (left, right) = match joined.kind {
        JoinType::Inner | JoinType::Left | JoinType::Right | JoinType::Full => (true, true),
        JoinType::LeftSemi | JoinType::LeftAnti => (true, false),
        JoinType::RightSemi | JoinType::RightAnti => (false, true),
        kind => return Err(format!("a join of the kind {kind} is not supported").into()),
    };
    let of = |schema: &Schema, comes: bool| if comes { (0..schema.fields().len()).collect() } else { Vec::new() };
    let shape = Shape { left: of(&joined.left, left), right: of(&joined.right, right), schema: joined.schema.clone() };
    let fields = joined.left.fields()[..shape.left.len()].iter().chain(&joined.right.fields()[..shape.right.len()]);
    let fit = fields.map(|field| field.data_type()).eq(joined.schema.fields().iter().map(|field| field.data_type()));
    if fit { Ok(shape) } else { Err(format!("a {} join's columns are not those of its inputs", joined.kind).into()) }
}
