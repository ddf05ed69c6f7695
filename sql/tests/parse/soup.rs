//! Random tokens neither make the parser panic nor hang, and what it says of them has a place.

use proptest::prelude::*;

use crate::checks;

const WORDS: &[&str] = &[
    "SELECT",
    "FROM",
    "t",
    "a",
    ",",
    "(",
    ")",
    "(",
    ")",
    ";",
    "CREATE",
    "TABLE",
    "WITH",
    "'k'",
    "=",
    "'v'",
    "CAST",
    "AS",
    "INT",
    "ROW",
    "<",
    ">",
    ">>",
    "ARRAY",
    "MAP",
    "[",
    "]",
    "INTERVAL",
    "'1:30'",
    "MINUTE",
    "TO",
    "SECOND",
    "INSERT",
    "INTO",
    "EXECUTE",
    "STATEMENT",
    "SET",
    "BEGIN",
    "END",
    "EXPLAIN",
    "SHOW",
    "CREATE",
    "VIEW",
    "WATERMARK",
    "FOR",
    "PRIMARY",
    "KEY",
    "NOT",
    "ENFORCED",
    "NULL",
    "/*+ OPTIONS('a'='b') */",
    "/* c */",
    "-- c\n",
    "\n",
    "`q`",
    "TRIM",
    "EXTRACT",
    "CASE",
    "WHEN",
    "THEN",
    "JOIN",
    "ON",
    "LATERAL",
    "UNNEST",
    "OVER",
    "PARTITION",
    "BY",
    "ORDER",
    "UNION",
    "VALUES",
    "1",
    "1.5",
    "*",
    ".",
    "-",
    "+",
    "=>",
    "DESCRIPTOR",
    "TUMBLE",
    "TIMESTAMP",
    "DECIMAL",
    "EXISTS",
    "'é",
    "😀",
    "MATCH_RECOGNIZE",
    "PATTERN",
    "DEFINE",
    "ALTER",
    "DROP",
    "ADD",
    "LIKE",
    "INCLUDING",
    "ALL",
    "/*",
    "'",
    "`",
    "::",
    "->",
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn any_text_is_read_or_refused(text in ".{0,80}") {
        checks::sql_parse(text.as_bytes());
    }

    #[test]
    fn any_words_are_read_or_refused(words in prop::collection::vec(prop::sample::select(WORDS), 0..40)) {
        checks::sql_parse(words.join(" ").as_bytes());
    }
}

/// On a stack as large as that of a program, which is larger than that of a test.
#[test]
fn what_is_nested_deeply_is_refused_at_once() {
    let program = std::thread::Builder::new().stack_size(8 << 20);
    program.spawn(nest_deeply).unwrap().join().unwrap();
}

fn nest_deeply() {
    let openings = [
        "(",
        "SELECT * FROM (",
        "SELECT CAST(",
        "TRIM(",
        "CASE WHEN ",
        "ARRAY<",
        "ARRAY[",
        "MAP[",
        "ROW(",
        "f(",
        "a[",
        "NOT ",
        "- ",
        "EXISTS (SELECT ",
        "EXTRACT(",
        "INTERVAL ",
        "((SELECT 1 FROM ",
        "TABLE(",
        "x IN (",
        "CAST(a AS ARRAY<",
        "a::ARRAY<",
        "INTERVAL -",
        "MATCH_RECOGNIZE (PATTERN (",
        "a = ",
        "1 + ",
        "POSITION(",
    ];
    for opening in openings {
        for begin in ["SELECT ", "SELECT * FROM ", "INSERT INTO t ", "CREATE TABLE t (a "] {
            let text = format!("{begin}{}", opening.repeat(2_000));
            checks::sql_parse(text.as_bytes());
            checks::sql_parse(format!("{begin}{}", opening.repeat(20)).as_bytes());
        }
    }
}
