//! `/*+ OPTIONS('key' = 'value') */` after a table's name, and one shape for all calls of table functions.
//!
//! To sqlparser a hint is a comment, which it skips. So hints are found among the tokens, and given to the table whose
//! name ends right before: in [`TableFactor::Table`]'s `with_hints` (see [`table_options`]), or in an
//! [`Insert`](super::statement::Insert). On the same walk `TABLE(f(…))`, `LATERAL TABLE(f(…))` and `f(…)` all become
//! [`TableFactor::Function`], and `UNNEST(…)` becomes [`TableFactor::UNNEST`].

use std::ops::ControlFlow;

use datafusion_sql::sqlparser::ast::{
    BinaryOperator, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, ObjectName, Query, TableFactor,
    Value, VisitMut, VisitorMut,
};
use datafusion_sql::sqlparser::parser::Parser;
use datafusion_sql::sqlparser::tokenizer::{Location, Span, Token, TokenWithSpan, Whitespace};

use super::statement::{AlterViewAction, Insert, Setting, Statement};
use super::words::{Parsed, Words, is_word};
use super::{Diagnostic, diagnostic, script};

/// Options that a table was given where it is used.
#[derive(Debug)]
pub(super) struct Hint {
    /// Where the token before it ends.
    after: Location,
    span: Span,
    options: Vec<Setting>,
}

/// The options in a table's `with_hints`.
pub fn table_options(hints: &[Expr]) -> Vec<(String, String)> {
    let text = |expr: &Expr| match expr {
        Expr::Value(value) => value.value.clone().into_string(),
        _ => None,
    };
    let option = |hint: &Expr| match hint {
        Expr::BinaryOp { left, op: BinaryOperator::Eq, right } => Some((text(left)?, text(right)?)),
        _ => None,
    };
    hints.iter().filter_map(option).collect()
}

/// The hints of a statement, but for those after `SELECT`, which sqlparser keeps.
pub(super) fn find(tokens: &[TokenWithSpan]) -> Result<Vec<Hint>, Diagnostic> {
    let mut hints = vec![];
    let mut before: Option<&TokenWithSpan> = None;
    for token in tokens {
        match &token.token {
            Token::Whitespace(Whitespace::MultiLineComment(text)) if text.starts_with('+') => {
                let Some(before) = before.filter(|before| !is_word(&before.token, "SELECT")) else { continue };
                let options = options(text, token.span.start)?;
                hints.push(Hint { after: before.span.end, span: token.span, options });
            }
            Token::Whitespace(_) => {}
            _ => before = Some(token),
        }
    }
    Ok(hints)
}

fn options(comment: &str, start: Location) -> Result<Vec<Setting>, Diagnostic> {
    let (tokens, wrong) = script::tokens(&comment[1..]);
    let tokens: Vec<_> = tokens.into_iter().map(|token| moved(token, start)).collect();
    if let Some(mut wrong) = wrong {
        wrong.location = shifted(wrong.location, start);
        return Err(diagnostic::of_tokens(&wrong));
    }
    script::read(&tokens, table_hints).map_err(|error| diagnostic::of_parser(&error, &tokens))
}

fn table_hints(p: &mut Parser) -> Parsed<Vec<Setting>> {
    let mut options = vec![];
    loop {
        p.expect_words(&["OPTIONS"])?;
        options.extend(p.settings()?);
        if !p.consume_token(&Token::Comma) {
            return p.expect(&Token::EOF).map(|()| options);
        }
    }
}

/// A token of a hint's text, which begins after `/*+`, at its place in the whole.
fn moved(token: TokenWithSpan, start: Location) -> TokenWithSpan {
    let TokenWithSpan { token, span } = token;
    TokenWithSpan::new(token, Span::new(shifted(span.start, start), shifted(span.end, start)))
}

fn shifted(at: Location, start: Location) -> Location {
    let column = if at.line == 1 { at.column + start.column + 2 } else { at.column };
    Location { line: at.line + start.line - 1, column }
}

/// Gives each hint to its table.
pub(super) fn settle(statement: &mut Statement, hints: Vec<Hint>) -> Result<(), Diagnostic> {
    let mut settler = Settler { hints };
    settler.statement(statement);
    match settler.hints.first() {
        None => Ok(()),
        Some(hint) => Err(Diagnostic::new("this hint belongs to no table")
            .at(hint.span)
            .hint("write it right after a table's name, or a query's after SELECT")),
    }
}

struct Settler {
    hints: Vec<Hint>,
}

impl Settler {
    fn statement(&mut self, statement: &mut Statement) {
        match statement {
            Statement::Query(query) => self.query(query),
            Statement::Insert(insert) => self.insert(insert),
            Statement::StatementSet(inserts) => inserts.iter_mut().for_each(|insert| self.insert(&mut insert.value)),
            Statement::Explain(explain) => self.statement(&mut explain.statement.value),
            Statement::CreateTable(table) => table.query.iter_mut().for_each(|query| self.query(query)),
            Statement::CreateView(view) => self.query(&mut view.query),
            Statement::AlterView(view) => match &mut view.action {
                AlterViewAction::Query(query) => self.query(query),
                AlterViewAction::Rename(_) => {}
            },
            _ => {}
        }
    }

    fn query(&mut self, query: &mut Query) {
        let ControlFlow::Continue(()) = query.visit(self);
    }

    fn insert(&mut self, insert: &mut Insert) {
        insert.options = self.of(&insert.table);
        self.query(&mut insert.query);
    }

    /// The hints right after a name.
    fn of(&mut self, name: &ObjectName) -> Vec<Setting> {
        let end = name.0.last().and_then(|part| part.as_ident()).map(|part| part.span.end);
        let mut options = vec![];
        for hint in self.hints.extract_if(.., |hint| Some(hint.after) == end) {
            options.extend(hint.options);
        }
        options
    }
}

impl VisitorMut for Settler {
    type Break = std::convert::Infallible;

    fn pre_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<Self::Break> {
        if let TableFactor::Table { name, with_hints, args: None, .. } = factor {
            with_hints.extend(self.of(name).into_iter().map(as_expr));
        }
        one_shape(factor);
        ControlFlow::Continue(())
    }
}

fn as_expr(option: Setting) -> Expr {
    let text = |text: super::statement::Spanned<String>| {
        Box::new(Expr::Value(Value::SingleQuotedString(text.value).with_span(text.span)))
    };
    Expr::BinaryOp { left: text(option.key), op: BinaryOperator::Eq, right: text(option.value) }
}

/// Whether a name is that word, unquoted.
fn is(name: &ObjectName, word: &str) -> bool {
    let ident = if name.0.len() == 1 { name.0[0].as_ident() } else { None };
    ident.is_some_and(|ident| ident.quote_style.is_none() && ident.value.eq_ignore_ascii_case(word))
}

fn one_shape(factor: &mut TableFactor) {
    let alias = match &*factor {
        TableFactor::Table { alias, .. }
        | TableFactor::Function { alias, .. }
        | TableFactor::TableFunction { alias, .. } => alias.clone(),
        _ => return,
    };
    let (lateral, name, args, with_ordinality) = match &*factor {
        TableFactor::Table { name, args: Some(args), with_ordinality, .. } => {
            (false, name.clone(), args.args.clone(), *with_ordinality)
        }
        TableFactor::TableFunction { expr: Expr::Function(call), .. } => match arguments(call) {
            Some(args) => (false, call.name.clone(), args, false),
            None => return,
        },
        TableFactor::Function { lateral, name, args, .. } => match args.as_slice() {
            [FunctionArg::Unnamed(FunctionArgExpr::Expr(Expr::Function(call)))] if is(name, "TABLE") => {
                let Some(args) = arguments(call) else { return };
                (*lateral, call.name.clone(), args, false)
            }
            _ => return,
        },
        _ => return,
    };
    *factor = match exprs(&args) {
        Some(array_exprs) if is(&name, "UNNEST") => {
            TableFactor::UNNEST { alias, array_exprs, with_offset: false, with_offset_alias: None, with_ordinality }
        }
        _ => TableFactor::Function { lateral, name, args, with_ordinality, alias },
    };
}

fn arguments(call: &Function) -> Option<Vec<FunctionArg>> {
    match &call.args {
        FunctionArguments::List(list) if list.clauses.is_empty() => Some(list.args.clone()),
        FunctionArguments::None => Some(vec![]),
        _ => None,
    }
}

fn exprs(args: &[FunctionArg]) -> Option<Vec<Expr>> {
    let expr = |arg: &FunctionArg| match arg {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => Some(expr.clone()),
        _ => None,
    };
    args.iter().map(expr).collect()
}
