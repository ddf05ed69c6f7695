//! The expressions of Flink's grammar that are no plain calls, parsed into calls: for a dialect's hooks.
//!
//! `FLOOR(t TO DAY)`, `TIMESTAMPADD(DAY, 1, t)`, `SUBSTRING(s FROM 2)`, `IF(a, b, c)`, `MAP[k, v]`, `ROW(a, b)`, `JSON_VALUE(… RETURNING … ON EMPTY)`
//! and its kin begin an expression: [`parse_prefix`]. `IS JSON`, `SIMILAR TO`, `BETWEEN SYMMETRIC` and `OVERLAPS` stand
//! inside one: [`parse_infix`]. `sqlparser::dialect::Dialect` has methods of the same names, to call these from.

use datafusion_sql::sqlparser::ast::helpers::attached_token::AttachedToken;
use datafusion_sql::sqlparser::ast::{
    BinaryOperator, CaseWhen, CastKind, DataType, DateTimeField, Expr, Function, FunctionArg, FunctionArgExpr,
    FunctionArgumentList, FunctionArguments, Ident, Interval, ObjectName, UnaryOperator, Value,
};
use datafusion_sql::sqlparser::keywords::Keyword;
use datafusion_sql::sqlparser::parser::{Parser, ParserError};
use datafusion_sql::sqlparser::tokenizer::Token;

use super::json_forms;

type Parsed<T> = Result<T, ParserError>;

/// Parses an expression that begins with one of Flink's forms; none where it begins otherwise.
pub fn parse_prefix(parser: &mut Parser<'_>) -> Option<Parsed<Expr>> {
    let name = form(parser)?;
    let opened = parser.peek_nth_token_ref(1).token.clone();
    let bracket = opened == Token::LBracket;
    let parse: fn(&mut Parser<'_>) -> Parsed<Expr> = match (name.as_str(), bracket) {
        ("FLOOR", false) => |parser| rounding(parser, "floor"),
        ("CEIL" | "CEILING", false) => |parser| rounding(parser, "ceil"),
        ("TIMESTAMPADD", false) => |parser| with_unit(parser, "timestampadd"),
        ("TIMESTAMPDIFF", false) => |parser| with_unit(parser, "timestampdiff"),
        ("IF", false) => conditional,
        ("SUBSTRING" | "SUBSTR", false) => substring,
        ("ROW", false) => |parser| Ok(call("row", list(parser, &Token::RParen)?)),
        ("MAP", true) => |parser| Ok(call("make_map", list(parser, &Token::RBracket)?)),
        ("JSON_VALUE", false) => json_forms::value,
        ("JSON_QUERY", false) => json_forms::query,
        ("JSON_EXISTS", false) => json_forms::exists,
        ("JSON_OBJECT", false) => json_forms::object,
        ("JSON_ARRAY", false) => json_forms::array,
        ("JSON_OBJECTAGG", false) => json_forms::objectagg,
        ("JSON_ARRAYAGG", false) => json_forms::arrayagg,
        ("INTERVAL", _) => return interval(parser).transpose(),
        _ => return None,
    };
    // The name, and what it opens.
    parser.next_token();
    parser.next_token();
    Some(parse(parser))
}

/// The word that is next, if it opens a parenthesis or a bracket, or begins an interval.
fn form(parser: &Parser<'_>) -> Option<String> {
    let Token::Word(word) = &parser.peek_nth_token_ref(0).token else { return None };
    let opens = matches!(parser.peek_nth_token_ref(1).token, Token::LParen | Token::LBracket);
    let named = word.quote_style.is_none() && (opens || word.keyword == Keyword::INTERVAL);
    named.then(|| word.value.to_uppercase())
}

/// A call of a function.
pub(super) fn call(name: &str, args: Vec<Expr>) -> Expr {
    let args = args.into_iter().map(|arg| FunctionArg::Unnamed(FunctionArgExpr::Expr(arg))).collect();
    Expr::Function(Function {
        name: ObjectName::from(vec![Ident::new(name)]),
        uses_odbc_syntax: false,
        parameters: FunctionArguments::None,
        args: FunctionArguments::List(FunctionArgumentList { duplicate_treatment: None, args, clauses: Vec::new() }),
        filter: None,
        null_treatment: None,
        over: None,
        within_group: Vec::new(),
    })
}

/// A string.
pub(super) fn text(text: impl Into<String>) -> Expr {
    Expr::Value(Value::SingleQuotedString(text.into()).with_empty_span())
}

/// A cast; one that gives NULL where it fails, if it shall.
pub(super) fn cast(expr: Expr, to: DataType, safe: bool) -> Expr {
    let kind = if safe { CastKind::TryCast } else { CastKind::Cast };
    Expr::Cast { kind, expr: Box::new(expr), data_type: to, array: false, format: None }
}

fn list(parser: &mut Parser<'_>, end: &Token) -> Parsed<Vec<Expr>> {
    if parser.consume_token(end) {
        return Ok(Vec::new());
    }
    let list = parser.parse_comma_separated(Parser::parse_expr)?;
    parser.expect_token(end)?;
    Ok(list)
}

/// `FLOOR(x)`, `FLOOR(t TO DAY)`.
fn rounding(parser: &mut Parser<'_>, name: &str) -> Parsed<Expr> {
    let mut args = vec![parser.parse_expr()?];
    let name = if parser.parse_keyword(Keyword::TO) {
        args.push(unit(parser)?);
        format!("{name}_to")
    } else {
        name.to_owned()
    };
    parser.expect_token(&Token::RParen)?;
    Ok(call(&name, args))
}

fn unit(parser: &mut Parser<'_>) -> Parsed<Expr> {
    Ok(text(parser.parse_identifier()?.value))
}

fn with_unit(parser: &mut Parser<'_>, name: &str) -> Parsed<Expr> {
    let unit = unit(parser)?;
    parser.expect_token(&Token::Comma)?;
    let rest = list(parser, &Token::RParen)?;
    Ok(call(name, std::iter::once(unit).chain(rest).collect()))
}

/// `SUBSTRING(s FROM 2 FOR 3)`, `SUBSTRING(s, 2, 3)`.
fn substring(parser: &mut Parser<'_>) -> Parsed<Expr> {
    let mut args = vec![parser.parse_expr()?];
    for word in [Keyword::FROM, Keyword::FOR] {
        if parser.parse_keyword(word) || parser.consume_token(&Token::Comma) {
            args.push(parser.parse_expr()?);
        }
    }
    parser.expect_token(&Token::RParen)?;
    Ok(call("substring", args))
}

/// `IF(condition, then, else)`: only one of the two is evaluated.
fn conditional(parser: &mut Parser<'_>) -> Parsed<Expr> {
    let args = list(parser, &Token::RParen)?;
    let Ok([condition, result, otherwise]) = <[Expr; 3]>::try_from(args) else {
        return Err(ParserError::ParserError("IF takes a condition, and a value for each case".into()));
    };
    Ok(Expr::Case {
        case_token: AttachedToken::empty(),
        end_token: AttachedToken::empty(),
        operand: None,
        conditions: vec![CaseWhen { condition, result }],
        else_result: Some(Box::new(otherwise)),
    })
}

/// `INTERVAL '1 2:03:04.5' DAY TO SECOND` as an interval of one string. Others are left to the parser.
fn interval(parser: &mut Parser<'_>) -> Parsed<Option<Expr>> {
    let [Token::SingleQuotedString(value), first, to] = [1, 2, 3].map(|place| parser.peek_nth_token(place).token)
    else {
        return Ok(None);
    };
    let ranges = |token: &Token, keyword| matches!(token, Token::Word(word) if word.keyword == keyword);
    if !ranges(&to, Keyword::TO) {
        return Ok(None);
    }
    (0..4).for_each(|_| drop(parser.next_token()));
    let last = parser.parse_identifier()?.value.to_uppercase();
    if parser.consume_token(&Token::LParen) {
        parser.next_token();
        parser.expect_token(&Token::RParen)?;
    }
    let first = first.to_string().to_uppercase();
    let value = Box::new(text(spelled(&value, &first, &last)?));
    Ok(Some(Expr::Interval(Interval {
        value,
        leading_field: None::<DateTimeField>,
        leading_precision: None,
        last_field: None,
        fractional_seconds_precision: None,
    })))
}

const FIELDS: [&str; 6] = ["YEAR", "MONTH", "DAY", "HOUR", "MINUTE", "SECOND"];

/// The interval's fields, each with its unit.
fn spelled(value: &str, first: &str, last: &str) -> Parsed<String> {
    let wrong = || ParserError::ParserError(format!("INTERVAL '{value}' {first} TO {last} does not have such fields"));
    let place = |name: &str| FIELDS.iter().position(|field| *field == name).ok_or_else(wrong);
    let (first, last) = (place(first)?, place(last)?);
    let (sign, digits) = match value.trim().strip_prefix('-') {
        Some(digits) => ("-", digits),
        None => ("", value.trim()),
    };
    let parts: Vec<_> = digits.split(['-', ' ', ':']).collect();
    if last < first || parts.len() != last - first + 1 || (first < 2) != (last < 2) {
        return Err(wrong());
    }
    let parts = parts.iter().zip(first..).map(|(part, place)| match part.parse::<f64>() {
        Ok(_) => Ok(format!("{sign}{part} {}", FIELDS[place])),
        Err(_) => Err(wrong()),
    });
    Ok(parts.collect::<Parsed<Vec<_>>>()?.join(" "))
}

/// Parses what follows an expression, if it is one of Flink's forms.
pub fn parse_infix(parser: &mut Parser<'_>, expr: &Expr, precedence: u8) -> Option<Parsed<Expr>> {
    let word = |place| match parser.peek_nth_token(place).token {
        Token::Word(word) if word.quote_style.is_none() => word.value.to_uppercase(),
        _ => String::new(),
    };
    let (first, second) = (word(0), word(1));
    let negated = first == "NOT" || (first == "IS" && second == "NOT");
    let words = if negated { [first, second, word(2)] } else { [first, String::new(), second] };
    let last = words[2].clone();
    let (taken, parse): (usize, fn(&mut Parser<'_>, Expr, u8) -> Parsed<Expr>) = match words[0].as_str() {
        "IS" if last == "JSON" => (2 + usize::from(negated), is_json),
        "NOT" if words[1] == "SIMILAR" && last == "TO" => (3, similar),
        "SIMILAR" if last == "TO" => (2, similar),
        "NOT" if words[1] == "BETWEEN" && last == "SYMMETRIC" => (3, between_either),
        "BETWEEN" if last == "SYMMETRIC" => (2, between_either),
        "NOT" if words[1] == "BETWEEN" && last == "ASYMMETRIC" => (3, between),
        "BETWEEN" if last == "ASYMMETRIC" => (2, between),
        "OVERLAPS" => (1, overlaps),
        _ => return None,
    };
    (0..taken).for_each(|_| drop(parser.next_token()));
    Some(parse(parser, expr.clone(), precedence).map(|parsed| if negated { not(parsed) } else { parsed }))
}

fn not(expr: Expr) -> Expr {
    Expr::UnaryOp { op: UnaryOperator::Not, expr: Box::new(Expr::Nested(Box::new(expr))) }
}

fn is_json(parser: &mut Parser<'_>, expr: Expr, _: u8) -> Parsed<Expr> {
    let next = parser.peek_token().token.to_string().to_uppercase();
    let kind = ["VALUE", "SCALAR", "ARRAY", "OBJECT"].into_iter().find(|kind| *kind == next);
    if kind.is_some() {
        parser.next_token();
    }
    Ok(call("is_json", vec![expr, text(kind.unwrap_or("VALUE"))]))
}

fn similar(parser: &mut Parser<'_>, expr: Expr, precedence: u8) -> Parsed<Expr> {
    let mut args = vec![expr, parser.parse_subexpr(precedence)?];
    if parser.parse_keyword(Keyword::ESCAPE) {
        args.push(parser.parse_subexpr(precedence)?);
    }
    Ok(call("similar_to", args))
}

fn bounds(parser: &mut Parser<'_>, precedence: u8) -> Parsed<[Box<Expr>; 2]> {
    let low = parser.parse_subexpr(precedence)?;
    parser.expect_keyword_is(Keyword::AND)?;
    Ok([Box::new(low), Box::new(parser.parse_subexpr(precedence)?)])
}

fn between(parser: &mut Parser<'_>, expr: Expr, precedence: u8) -> Parsed<Expr> {
    let [low, high] = bounds(parser, precedence)?;
    Ok(Expr::Between { expr: Box::new(expr), negated: false, low, high })
}

/// Between the two, whichever is less.
fn between_either(parser: &mut Parser<'_>, expr: Expr, precedence: u8) -> Parsed<Expr> {
    let [low, high] = bounds(parser, precedence)?;
    let expr = Box::new(expr);
    let there = Expr::Between { expr: expr.clone(), negated: false, low: low.clone(), high: high.clone() };
    let back = Expr::Between { expr, negated: false, low: high, high: low };
    let either = Expr::BinaryOp { left: Box::new(there), op: BinaryOperator::Or, right: Box::new(back) };
    Ok(Expr::Nested(Box::new(either)))
}

fn overlaps(parser: &mut Parser<'_>, expr: Expr, precedence: u8) -> Parsed<Expr> {
    match (expr, parser.parse_subexpr(precedence)?) {
        (Expr::Tuple(left), Expr::Tuple(right)) if left.len() == 2 && right.len() == 2 => {
            Ok(call("overlaps", left.into_iter().chain(right).collect()))
        }
        _ => Err(ParserError::ParserError("OVERLAPS takes two pairs: (start, end) OVERLAPS (start, end)".into())),
    }
}
