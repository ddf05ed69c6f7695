//! What begins an expression in Flink's way: `TABLE t` as an argument, casts to Flink's types, `ROW(…)`, `MAP[…]`,
//! intervals and moments.

use datafusion_sql::sqlparser::ast::{
    CastKind, DataType, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArgumentList, FunctionArguments, Ident,
    Map, MapEntry, ObjectName, Query, SetExpr, TableFactor, TableWithJoins, TypedString, Value,
};
use datafusion_sql::sqlparser::parser::{Parser, ParserError};
use datafusion_sql::sqlparser::tokenizer::Token;

use super::dialect::DIALECT;
use super::words::{Parsed, Words, fault, is_word};
use super::{interval, types};

/// Reads the expression that begins here, if it is one of ours.
pub(super) fn parse(parser: &mut Parser) -> Option<Result<Expr, ParserError>> {
    let Token::Word(word) = &parser.peek_token_ref().token else { return None };
    if word.quote_style.is_some() {
        return None;
    }
    let word = word.value.to_ascii_uppercase();
    let next = parser.peek_nth_token_ref(1).token.clone();
    match (word.as_str(), &next) {
        ("TABLE", Token::Word(_) | Token::LParen) => Some(table(parser)),
        ("CAST", Token::LParen) => Some(cast(parser, CastKind::Cast)),
        ("TRY_CAST", Token::LParen) => Some(cast(parser, CastKind::TryCast)),
        ("ROW", Token::LParen) => Some(row(parser)),
        ("MAP", Token::LBracket) => Some(map(parser)),
        ("ARRAY", Token::Lt) => Some(parser.wanted("an expression")),
        ("INTERVAL", _) => Some(interval::parse(parser)),
        ("TIMESTAMP" | "TIMESTAMP_LTZ", Token::SingleQuotedString(_)) => Some(timestamp(parser)),
        _ => None,
    }
}

/// `TABLE t` stands for the query `SELECT * FROM t`, so that it is planned, and its names are found, as that query is.
fn table(p: &mut Parser) -> Parsed<Expr> {
    let is_call = p.peek_nth_token_ref(1).token == Token::LParen;
    let is_query = ["SELECT", "WITH", "VALUES"].iter().any(|word| is_word(&p.peek_nth_token_ref(2).token, word));
    if !is_call || is_query {
        p.advance_token();
    }
    let relation = p.parse_table_factor()?;
    if p.at_words(&["ORDER", "BY"]) {
        return fault("ORDER BY of a table argument is not supported", p.here());
    }
    let query = match relation {
        TableFactor::Derived { subquery, alias: None, .. } => Expr::Subquery(subquery),
        relation => Expr::Subquery(all_of(relation)?),
    };
    if !p.at_words(&["PARTITION", "BY"]) {
        return Ok(query);
    }
    p.advance_token();
    p.advance_token();
    // The next comma may begin the next argument: columns go on as long as they are names.
    let mut arguments = vec![query, Expr::Identifier(p.parse_identifier()?)];
    while p.peek_token_ref().token == Token::Comma && goes_on(p) {
        p.advance_token();
        arguments.push(Expr::Identifier(p.parse_identifier()?));
    }
    Ok(call(PARTITIONED_TABLE, arguments))
}

/// `TABLE t PARTITION BY a, b` is this function of the query and the columns.
pub(crate) const PARTITIONED_TABLE: &str = "PARTITIONED_TABLE";

/// Whether what follows a comma is one more column, and not the next argument: a name that is no call and no `name =>`.
fn goes_on(p: &Parser) -> bool {
    let (name, after) = (&p.peek_nth_token_ref(1).token, &p.peek_nth_token_ref(2).token);
    matches!(name, Token::Word(_)) && matches!(after, Token::Comma | Token::RParen)
}

fn call(name: &str, arguments: Vec<Expr>) -> Expr {
    let args = arguments.into_iter().map(|expr| FunctionArg::Unnamed(FunctionArgExpr::Expr(expr))).collect();
    Expr::Function(Function {
        name: ObjectName::from(vec![Ident::new(name)]),
        uses_odbc_syntax: false,
        parameters: FunctionArguments::None,
        args: FunctionArguments::List(FunctionArgumentList { duplicate_treatment: None, args, clauses: vec![] }),
        filter: None,
        null_treatment: None,
        over: None,
        within_group: vec![],
    })
}

/// `SELECT * FROM relation`.
fn all_of(relation: TableFactor) -> Parsed<Box<Query>> {
    let from = [Token::make_keyword("SELECT"), Token::Mul, Token::make_keyword("FROM"), Token::make_word("t", None)];
    let mut query = Parser::new(&DIALECT).with_tokens(from.to_vec()).parse_query()?;
    if let SetExpr::Select(select) = query.body.as_mut() {
        select.from = vec![TableWithJoins { relation, joins: vec![] }];
    }
    Ok(query)
}

/// `CAST(expression AS type)`: the type is read as Flink writes it, and kept as its text for
/// [`FlinkTypes`](super::FlinkTypes).
fn cast(p: &mut Parser, kind: CastKind) -> Parsed<Expr> {
    p.advance_token();
    p.expect(&Token::LParen)?;
    let expr = Box::new(p.parse_expr()?);
    p.expect_words(&["AS"])?;
    let data_type = kept(p)?;
    p.expect(&Token::RParen)?;
    Ok(Expr::Cast { kind, expr, data_type, array: false, format: None })
}

fn kept(p: &mut Parser) -> Parsed<DataType> {
    let text = types::parse(p)?.to_string();
    Ok(DataType::Custom(ObjectName::from(vec![Ident::new(text)]), vec![]))
}

/// `ROW(a, b)` is `(a, b)`.
fn row(p: &mut Parser) -> Parsed<Expr> {
    p.advance_token();
    Ok(Expr::Tuple(p.list(|p| p.parse_expr())?))
}

/// `MAP[key, value, …]`.
fn map(p: &mut Parser) -> Parsed<Expr> {
    p.advance_token();
    p.expect(&Token::LBracket)?;
    let mut entries = vec![];
    while p.peek_token_ref().token != Token::RBracket {
        let key = Box::new(p.parse_expr()?);
        if !p.consume_token(&Token::Comma) {
            return p.wanted("',' and the value of the key");
        }
        entries.push(MapEntry { key, value: Box::new(p.parse_expr()?) });
        if !p.consume_token(&Token::Comma) {
            break;
        }
    }
    p.expect(&Token::RBracket)?;
    Ok(Expr::Map(Map { entries }))
}

/// `TIMESTAMP '…'` has as many digits after the second as are written.
fn timestamp(p: &mut Parser) -> Parsed<Expr> {
    let local = is_word(&p.next_token().token, "TIMESTAMP_LTZ");
    let text = p.text("a moment, such as '2024-05-01 12:00:00'")?;
    let fraction = text.value.rsplit_once('.').map_or("", |(_, fraction)| fraction);
    let digits = fraction.chars().take_while(char::is_ascii_digit).count();
    let data_type = format!("TIMESTAMP{}({})", if local { "_LTZ" } else { "" }, digits.min(9));
    Ok(Expr::TypedString(TypedString {
        data_type: DataType::Custom(ObjectName::from(vec![Ident::new(data_type)]), vec![]),
        value: Value::SingleQuotedString(text.value).with_span(text.span),
        uses_odbc_syntax: false,
    }))
}
