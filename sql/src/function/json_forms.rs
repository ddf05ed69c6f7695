//! The clauses of the functions on JSON, as arguments: what [`super::json_function`] and [`super::collect`] take.

use datafusion_sql::sqlparser::ast::{DataType, Expr, FunctionArg, FunctionArgExpr, FunctionArguments};
use datafusion_sql::sqlparser::keywords::Keyword;
use datafusion_sql::sqlparser::parser::{Parser, ParserError};
use datafusion_sql::sqlparser::tokenizer::Token;

use super::forms::{call, cast, text};

type Parsed<T> = Result<T, ParserError>;

/// Takes these words, if they are the next ones.
fn words(parser: &mut Parser<'_>, words: &[&str]) -> bool {
    let is = |(place, word): (usize, &&str)| match parser.peek_nth_token(place).token {
        Token::Word(found) => found.value.eq_ignore_ascii_case(word),
        _ => false,
    };
    let all = words.iter().enumerate().all(is);
    if all {
        words.iter().for_each(|_| drop(parser.next_token()));
    }
    all
}

fn close(parser: &mut Parser<'_>) -> Parsed<()> {
    parser.expect_token(&Token::RParen).map(drop)
}

/// The JSON, and the path.
fn subject(parser: &mut Parser<'_>) -> Parsed<Vec<Expr>> {
    let json = parser.parse_expr()?;
    parser.expect_token(&Token::Comma)?;
    Ok(vec![json, parser.parse_expr()?])
}

fn returning(parser: &mut Parser<'_>) -> Parsed<Option<DataType>> {
    if parser.parse_keyword(Keyword::RETURNING) { parser.parse_data_type().map(Some) } else { Ok(None) }
}

/// What to do on an event, of these choices: `NULL ON EMPTY`. The default is the first one.
fn on(parser: &mut Parser<'_>, event: &str, choices: &[&str]) -> Expr {
    let chosen = choices.iter().find(|choice| {
        let all: Vec<_> = choice.split(' ').chain(["ON", event]).collect();
        words(parser, &all)
    });
    text(*chosen.unwrap_or(&choices[0]))
}

/// `JSON_VALUE(json, path [RETURNING type] [… ON EMPTY] [… ON ERROR])`.
pub(super) fn value(parser: &mut Parser<'_>) -> Parsed<Expr> {
    let mut args = subject(parser)?;
    let returned = returning(parser)?;
    let mut choices = [(text("NULL"), text("")), (text("NULL"), text(""))];
    while parser.peek_token().token != Token::RParen {
        let choice = choice(parser)?;
        match (words(parser, &["ON", "EMPTY"]), words(parser, &["ON", "ERROR"])) {
            (true, _) => choices[0] = choice,
            (_, true) => choices[1] = choice,
            _ => return parser.expected("ON EMPTY or ON ERROR", parser.peek_token()),
        }
    }
    close(parser)?;
    let strict = choices[1].0 == text("ERROR");
    args.extend(choices.into_iter().flat_map(|(what, default)| [what, default]));
    let value = call("json_value", args);
    Ok(match returned {
        Some(to) => cast(value, to, !strict),
        None => value,
    })
}

fn choice(parser: &mut Parser<'_>) -> Parsed<(Expr, Expr)> {
    for word in ["NULL", "ERROR"] {
        if words(parser, &[word]) {
            return Ok((text(word), text("")));
        }
    }
    if !words(parser, &["DEFAULT"]) {
        return parser.expected("NULL, ERROR or DEFAULT", parser.peek_token());
    }
    Ok((text("DEFAULT"), parser.parse_expr()?))
}

/// `JSON_QUERY(json, path [RETURNING type] [wrapper] [… ON EMPTY] [… ON ERROR])`.
pub(super) fn query(parser: &mut Parser<'_>) -> Parsed<Expr> {
    let mut args = subject(parser)?;
    let returned = returning(parser)?;
    args.push(wrapper(parser));
    let choices = ["NULL", "EMPTY ARRAY", "EMPTY OBJECT", "ERROR"];
    args.push(on(parser, "EMPTY", &choices));
    args.push(on(parser, "ERROR", &choices));
    close(parser)?;
    match returned {
        Some(DataType::Array(_)) => Ok(call("json_query_array", args)),
        Some(to) => Ok(cast(call("json_query", args), to, true)),
        None => Ok(call("json_query", args)),
    }
}

fn wrapper(parser: &mut Parser<'_>) -> Expr {
    let forms: [(&[&str], &str); 5] = [
        (&["WITHOUT"], "WITHOUT"),
        (&["WITH", "CONDITIONAL"], "CONDITIONAL"),
        (&["WITH", "UNCONDITIONAL"], "UNCONDITIONAL"),
        (&["WITH", "ARRAY", "WRAPPER"], "UNCONDITIONAL"),
        (&["WITH", "WRAPPER"], "UNCONDITIONAL"),
    ];
    let found = forms.iter().find(|(form, _)| words(parser, form));
    words(parser, &["ARRAY"]);
    words(parser, &["WRAPPER"]);
    text(found.map_or("WITHOUT", |(_, name)| *name))
}

/// `JSON_EXISTS(json, path [… ON ERROR])`.
pub(super) fn exists(parser: &mut Parser<'_>) -> Parsed<Expr> {
    let mut args = subject(parser)?;
    args.push(on(parser, "ERROR", &["FALSE", "TRUE", "UNKNOWN", "ERROR"]));
    close(parser)?;
    Ok(call("json_exists", args))
}

/// `N` for NULL ON NULL, `A` for ABSENT ON NULL.
fn on_null(parser: &mut Parser<'_>, default: &str) -> String {
    if words(parser, &["NULL", "ON", "NULL"]) {
        return "N".into();
    }
    if words(parser, &["ABSENT", "ON", "NULL"]) { "A".into() } else { default.into() }
}

/// A key and a value: `[KEY] key VALUE value`.
fn member(parser: &mut Parser<'_>) -> Parsed<[Expr; 2]> {
    let is_key =
        !matches!(parser.peek_nth_token(1).token, Token::Word(word) if word.value.eq_ignore_ascii_case("VALUE"));
    if is_key {
        words(parser, &["KEY"]);
    }
    let key = parser.parse_expr()?;
    if !words(parser, &["VALUE"]) && !parser.consume_token(&Token::Colon) {
        return parser.expected("VALUE", parser.peek_token());
    }
    Ok([key, parser.parse_expr()?])
}

/// Where a value is JSON itself: `j` and what makes it; else `v`.
fn item(value: Expr) -> (char, Expr) {
    let Expr::Function(function) = &value else { return ('v', value) };
    let name = function.name.to_string().to_lowercase();
    if name != "json" {
        return (if name == "json_object" || name == "json_array" { 'j' } else { 'v' }, value);
    }
    match &function.args {
        FunctionArguments::List(list) => match list.args.as_slice() {
            [FunctionArg::Unnamed(FunctionArgExpr::Expr(inner))] => ('j', inner.clone()),
            _ => ('v', value),
        },
        _ => ('v', value),
    }
}

/// `JSON_OBJECT([[KEY] key VALUE value]* [… ON NULL])`.
pub(super) fn object(parser: &mut Parser<'_>) -> Parsed<Expr> {
    let (mut args, mut letters) = (Vec::new(), String::new());
    while parser.peek_token().token != Token::RParen && !at_on_null(parser) {
        let [key, value] = member(parser)?;
        let (letter, value) = item(value);
        letters.push(letter);
        args.extend([key, value]);
        if !parser.consume_token(&Token::Comma) {
            break;
        }
    }
    let plan = on_null(parser, "N") + &letters;
    close(parser)?;
    Ok(call("json_object", std::iter::once(text(plan)).chain(args).collect()))
}

fn at_on_null(parser: &Parser<'_>) -> bool {
    let word = |place| parser.peek_nth_token(place).token.to_string().to_uppercase();
    matches!(word(0).as_str(), "NULL" | "ABSENT") && word(1) == "ON" && word(2) == "NULL"
}

/// `JSON_ARRAY([value]* [… ON NULL])`.
pub(super) fn array(parser: &mut Parser<'_>) -> Parsed<Expr> {
    let (mut args, mut letters) = (Vec::new(), String::new());
    while parser.peek_token().token != Token::RParen && !at_on_null(parser) {
        let (letter, value) = item(parser.parse_expr()?);
        letters.push(letter);
        args.push(value);
        if !parser.consume_token(&Token::Comma) {
            break;
        }
    }
    let plan = on_null(parser, "A") + &letters;
    close(parser)?;
    Ok(call("json_array", std::iter::once(text(plan)).chain(args).collect()))
}

/// `JSON_OBJECTAGG([KEY] key VALUE value [… ON NULL])`.
pub(super) fn objectagg(parser: &mut Parser<'_>) -> Parsed<Expr> {
    let [key, value] = member(parser)?;
    let mode = on_null(parser, "N");
    close(parser)?;
    Ok(call("json_objectagg", vec![key, value, text(mode)]))
}

/// `JSON_ARRAYAGG(value [… ON NULL])`.
pub(super) fn arrayagg(parser: &mut Parser<'_>) -> Parsed<Expr> {
    let value = parser.parse_expr()?;
    let mode = on_null(parser, "A");
    close(parser)?;
    Ok(call("json_arrayagg", vec![value, text(mode)]))
}
