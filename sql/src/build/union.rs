//! `UNION ALL`: rows of several queries as one.

use datafusion_common::Result;
use datafusion_expr::logical_plan::Union;

use super::{Builder, Flow, Node, Operation, Traits, Translator, window};

/// Rows of all inputs.
pub(super) struct All;

impl Operation for All {
    fn describe(&self) -> String {
        "Union(all)".into()
    }

    fn build(self: Box<Self>, inputs: Vec<Flow>, _: &mut Builder) -> Result<Flow> {
        let mut streams = inputs.into_iter().map(|flow| flow.stream().materialize());
        let first = streams.next().ok_or_else(|| datafusion_common::plan_datafusion_err!("a union of nothing"))?;
        Ok(streams.fold(first, |all, next| all.union(next)).into())
    }
}

/// `UNION ALL`.
pub(crate) fn translate(translator: &Translator, union: &Union) -> Result<Node> {
    let inputs = union.inputs.iter().map(|input| window::assigned(translator.node(input)?));
    let inputs = inputs.collect::<Result<Vec<_>>>()?;
    let renamed = inputs.into_iter().map(|input| rename(input, union)).collect::<Result<Vec<_>>>()?;
    let common = |of: &dyn Fn(&Traits, usize) -> bool| {
        (0..union.schema.fields().len()).filter(|c| renamed.iter().all(|input| of(&input.traits, *c))).collect()
    };
    let first = renamed.first().and_then(|input| input.traits.window.clone());
    let traits = Traits {
        rowtimes: common(&|traits, column| traits.rowtimes.contains(&column)),
        proctimes: common(&|traits, column| traits.proctimes.contains(&column)),
        window: first.filter(|window| renamed.iter().all(|input| input.traits.window.as_ref() == Some(window))),
        changes: renamed.iter().any(|input| input.traits.changes),
    };
    Ok(Node::new(All, renamed, union.schema.clone(), traits))
}

/// The columns of one input, called and typed as in the union.
fn rename(input: Node, union: &Union) -> Result<Node> {
    let exprs: Vec<_> = input
        .schema
        .columns()
        .into_iter()
        .zip(union.schema.fields())
        .map(|(column, field)| {
            let expr = datafusion_expr::Expr::Column(column.clone());
            let same =
                input.schema.index_of_column(&column).map(|at| input.schema.field(at).data_type() == field.data_type());
            if same.unwrap_or(false) { expr } else { datafusion_expr::cast(expr, field.data_type().clone()) }
        })
        .collect();
    super::project::node(input, &exprs, union.schema.clone())
}
