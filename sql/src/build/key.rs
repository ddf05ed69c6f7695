//! Keys: columns by which rows find each other, and the hashes that send them to the kernel that owns them.

use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::datatypes::Field;
use datafusion_common::hash_utils::{QualityRandomState, create_hashes};
use datafusion_common::{DFSchema, Result};
use datafusion_expr::{Expr, ExprSchemable};
use updraft_dataflow::checkpoint::Layout;
use updraft_dataflow::operator::Operator;
use updraft_dataflow::{Hashed, Rows};

use super::project::{self, column_of};
use super::{Builder, Clock, Flow, Node, Operation, window};
use crate::fail::fail;
use crate::operator::layout::Described;

/// So that a key's hash is the same in all processes.
const HASHES: QualityRandomState = QualityRandomState::with_seed(0x243F_6A88_85A3_08D3);

/// The hashes of rows of key columns; without any, all are 0.
pub(crate) fn hashes(keys: &[ArrayRef], rows: usize) -> Vec<u64> {
    let mut hashes = vec![0; rows];
    if !keys.is_empty()
        && let Err(error) = create_hashes(keys, &HASHES, &mut hashes)
    {
        fail(error);
    }
    hashes
}

/// Rows with the hashes of some of their columns.
pub(crate) fn hashed(keys: Vec<usize>) -> impl Fn(Rows) -> Hashed + Clone + Send + Sync + 'static {
    let keys: Arc<[usize]> = keys.into();
    move |rows| {
        let columns: Vec<ArrayRef> = keys.iter().map(|key| rows.batch().column(*key).clone()).collect();
        Hashed { hashes: hashes(&columns, rows.len()).into(), rows }
    }
}

/// Has columns for `exprs`: those that there are, and others after all that there are.
pub(crate) fn with_columns(input: Node, exprs: &[Expr]) -> Result<(Node, Vec<usize>)> {
    let found: Vec<_> = exprs.iter().map(|expr| column_of(expr, &input.schema)).collect();
    if let Some(columns) = found.iter().copied().collect() {
        return Ok((input, columns));
    }
    let input = window::assigned(input)?;
    let mut all: Vec<Expr> = input.schema.columns().into_iter().map(Expr::Column).collect();
    let mut fields: Vec<_> = input.schema.iter().map(|(name, field)| (name.cloned(), field.clone())).collect();
    let mut columns = Vec::new();
    for (expr, found) in exprs.iter().zip(found) {
        columns.push(found.unwrap_or(all.len()));
        if found.is_none() {
            let field = Field::new(format!("__key_{}", all.len()), expr.get_type(&input.schema)?, true);
            fields.push((None, Arc::new(field)));
            all.push(expr.clone());
        }
    }
    let schema = Arc::new(DFSchema::new_with_metadata(fields, Default::default())?);
    Ok((project::node(input, &all, schema)?, columns))
}

/// The first `columns` of a node's columns, as they are called in `schema`.
pub(crate) fn without_columns(node: Node, kept: &[usize], schema: datafusion_common::DFSchemaRef) -> Result<Node> {
    if kept.iter().copied().eq(0..node.schema.fields().len()) {
        return Ok(Node { schema, ..node });
    }
    let columns = node.schema.columns();
    let exprs: Vec<_> = kept.iter().map(|column| Expr::Column(columns[*column].clone())).collect();
    project::node(node, &exprs, schema)
}

/// An operator of one input, dealt by key.
pub(crate) struct Keyed<O> {
    pub(crate) operator: O,
    pub(crate) name: &'static str,
    pub(crate) keys: Vec<usize>,
    pub(crate) shown: String,
    pub(crate) clock: Option<Clock>,
}

impl<O: Operator<Hashed, Out = Rows> + Described> Operation for Keyed<O> {
    fn describe(&self) -> String {
        self.shown.clone()
    }

    fn clock(&self) -> Option<Clock> {
        self.clock
    }

    fn keeps(&self) -> Option<(&'static str, Layout)> {
        Some((self.name, self.operator.layout()))
    }

    fn build(self: Box<Self>, mut inputs: Vec<Flow>, _: &mut Builder) -> Result<Flow> {
        let Self { operator, name, keys, .. } = *self;
        Ok(inputs.swap_remove(0).map(hashed(keys)).deal().operator(name, operator).into())
    }
}
