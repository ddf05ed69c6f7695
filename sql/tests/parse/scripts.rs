//! Texts as statements.

use updraft_sql::parse::{Statement, is_complete, parse, split};

fn pieces(text: &str) -> Vec<&str> {
    split(text).iter().map(|piece| piece.text()).collect()
}

#[test]
fn a_statement_ends_with_its_semicolon() {
    let cases: [(&str, &[&str]); 9] = [
        ("", &[]),
        ("SELECT 1", &["SELECT 1"]),
        ("SELECT 1;\n", &["SELECT 1;", "\n"]),
        ("SELECT ';'; -- a; b\nSELECT `;`;", &["SELECT ';';", " -- a; b\nSELECT `;`;"]),
        ("/* ; */ SELECT 'é;' ;;", &["/* ; */ SELECT 'é;' ;", ";"]),
        ("SELECT 'it''s;';\r\nSELECT 2;", &["SELECT 'it''s;';", "\r\nSELECT 2;"]),
        (
            "EXECUTE STATEMENT SET BEGIN INSERT INTO a SELECT 1; INSERT INTO b SELECT CASE WHEN x THEN 1 END; END; SELECT 1",
            &[
                "EXECUTE STATEMENT SET BEGIN INSERT INTO a SELECT 1; INSERT INTO b SELECT CASE WHEN x THEN 1 END; END;",
                " SELECT 1",
            ],
        ),
        (
            "BEGIN STATEMENT SET; INSERT INTO a SELECT 1; END; SELECT 2;",
            &["BEGIN STATEMENT SET; INSERT INTO a SELECT 1; END;", " SELECT 2;"],
        ),
        (
            "explain statement set begin insert into a select 1; end; x",
            &["explain statement set begin insert into a select 1; end;", " x"],
        ),
    ];
    for (text, want) in cases {
        assert_eq!(pieces(text), want, "{text}");
    }
}

#[test]
fn one_bad_statement_leaves_the_others() {
    let text = "SELECT 1;\nSELEC 2;\n\n  SHOW TABLES;\nSELECT 'x";
    let read = parse(text);
    assert!(matches!(read[0].as_ref().unwrap().value, Statement::Query(_)));
    assert!(matches!(read[2].as_ref().unwrap().value, Statement::Show(_)));
    let span = read[2].as_ref().unwrap().span;
    assert_eq!((span.start.line, span.start.column, span.end.line, span.end.column), (4, 3, 4, 14));
    let wrong: Vec<_> = read.iter().filter_map(|read| read.as_ref().err()).map(|wrong| wrong.to_string()).collect();
    let want = ["2:1: expected a statement, found SELEC (did you mean SELECT?)", "5:8: this text has no closing quote"];
    assert_eq!(wrong, want);
}

#[test]
fn the_place_of_a_piece_is_without_blanks() {
    let spans: Vec<_> = split(" -- a\n SELECT 1 ; \n").iter().map(|piece| piece.span()).collect();
    let place = spans[0].unwrap();
    assert_eq!((place.start.line, place.start.column, place.end.line, place.end.column), (2, 2, 2, 12));
    assert_eq!(spans[1], None);
}

#[test]
fn what_has_no_end_yet_is_told_from_what_is_wrong() {
    let complete = [
        "",
        "  \n",
        "-- nothing",
        "SELECT 1;",
        "SELECT ';'; -- more",
        "SELEC 1;",
        "SELECT (;",
        "BEGIN STATEMENT SET; INSERT INTO a SELECT 1; END;",
    ];
    let incomplete = [
        "SELECT 1",
        "SELECT 'a;",
        "SELECT `a;",
        "SELECT 1 /* ;",
        "SELECT 1; SELECT",
        "BEGIN STATEMENT SET;",
        "EXECUTE STATEMENT SET BEGIN INSERT INTO a SELECT 1;",
        "EXECUTE STATEMENT SET BEGIN INSERT INTO a SELECT 1; END",
    ];
    complete.iter().for_each(|text| assert!(is_complete(text), "{text}"));
    incomplete.iter().for_each(|text| assert!(!is_complete(text), "{text}"));
}
