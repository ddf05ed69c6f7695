//! Aggregates: their results, types, merging, groups and retraction.

use super::harness::{groups, nothing, retracted, total};

#[test]
fn of_the_table() {
    let cases = [
        ("COUNT(*)", "6"),
        ("COUNT(i)", "5"),
        ("COUNT(DISTINCT i)", "4"),
        ("SUM(i)", "16"),
        ("SUM(DISTINCT i)", "12"),
        ("SUM0(i)", "16"),
        ("SUM(d)", "15.0"),
        ("SUM(m)", "8.51"),
        ("AVG(i)", "3"),
        ("AVG(d)", "3.0"),
        ("AVG(m)", "1.702000"),
        ("MIN(i)", "1"),
        ("MAX(s)", "d"),
        ("VAR_POP(d)", "1.9"),
        ("VAR_SAMP(i)", "2"),
        ("VARIANCE(i)", "2"),
        ("STDDEV_POP(i)", "1"),
        ("STDDEV_SAMP(d)", "1.541103500742244"),
        ("APPROX_COUNT_DISTINCT(s)", "4"),
        ("LISTAGG(s)", "a,b,a,c,d"),
        ("LISTAGG(s, '; ')", "a; b; a; c; d"),
        ("LISTAGG(DISTINCT s)", "a,b,c,d"),
        ("COLLECT(s)", "{a: 2, b: 1, c: 1, d: 1}"),
        ("ARRAY_AGG(i)", "[1, 2, , 4, 4, 5]"),
        ("FIRST_VALUE(s)", "a"),
        ("LAST_VALUE(s)", "d"),
        ("PERCENTILE(d, 0.5)", "3.0"),
        ("PERCENTILE(i, 0.5)", "4.0"),
        ("PERCENTILE(d, 0.25, i)", "3.875"),
        ("PERCENTILE(d, ARRAY[0.0, 1.0])", "[1.0, 4.5]"),
        ("JSON_ARRAYAGG(i)", "[1,2,4,4,5]"),
        ("JSON_ARRAYAGG(s NULL ON NULL)", r#"["a","b","a",null,"c","d"]"#),
        ("JSON_OBJECTAGG(KEY CAST(d + COALESCE(i, 9) AS STRING) VALUE s ABSENT ON NULL)", ""),
    ];
    for (expression, expected) in &cases[..cases.len() - 1] {
        assert_eq!(total(expression).unwrap(), *expected, "{expression}");
    }
    let (twice, _) = cases[cases.len() - 1];
    assert!(total(twice).unwrap_err().to_string().contains("is NULL or came twice"), "{twice}");
}

#[test]
fn by_groups() {
    let cases = [
        ("SUM(i)", ["3", "13"]),
        ("AVG(i)", ["1", "4"]),
        ("AVG(m)", ["1.500000", "1.836667"]),
        ("MAX(s)", ["b", "d"]),
        ("COUNT(i)", ["2", "3"]),
    ];
    for (expression, expected) in cases {
        assert_eq!(groups(expression).unwrap().unwrap(), expected, "{expression}");
    }
}

#[test]
fn rows_retract() {
    let cases = [
        ("SUM(i)", "13"),
        ("AVG(i)", "4"),
        ("COUNT(i)", "3"),
        ("LISTAGG(s)", "c,d"),
        ("COLLECT(i)", "{4: 2, 5: 1}"),
        ("PERCENTILE(i, 1)", "5.0"),
    ];
    for (expression, expected) in cases {
        assert_eq!(retracted(expression).unwrap(), expected, "{expression}");
    }
}

#[test]
fn of_nothing() {
    let cases = [
        ("COUNT(i)", "0"),
        ("SUM(i)", "NULL"),
        ("SUM0(i)", "0"),
        ("AVG(i)", "NULL"),
        ("LISTAGG(s)", "NULL"),
        ("COLLECT(s)", "NULL"),
        ("PERCENTILE(d, 0.5)", "NULL"),
        ("JSON_ARRAYAGG(i)", "[]"),
        ("ARRAY_AGG(i)", "NULL"),
    ];
    for (expression, expected) in cases {
        assert_eq!(nothing(expression).unwrap(), expected, "{expression}");
    }
}

#[test]
fn what_overflows_is_an_error() {
    let error = total("SUM(i * 1000 * 1000 * 1000 * CAST(1 AS INT))");
    assert!(error.is_ok(), "INT times BIGINT is BIGINT: {error:?}");
    let error = total("SUM(CAST(COALESCE(i, 1) * 400000000 AS INT))").unwrap_err();
    assert!(error.to_string().contains("CAST"), "{error}");
}
