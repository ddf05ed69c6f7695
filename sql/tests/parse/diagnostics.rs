//! What is said of wrong statements, word by word.

use datafusion_common::{Column, DataFusionError, Diagnostic as Told, Location, SchemaError, Span};
use updraft_sql::parse::split;

fn all_are(cases: &[(&str, &str)]) {
    let said: Vec<_> = cases.iter().map(|(text, _)| crate::wrong(text)).collect();
    let want: Vec<_> = cases.iter().map(|(_, want)| want.trim_start_matches('\n').trim_end().to_owned()).collect();
    assert_eq!(said.join("\n\n"), want.join("\n\n"));
}

#[test]
fn words_that_are_misspelt_or_missing() {
    all_are(&[
        (
            "SELEC 1",
            r#"
job.sql:1:1: expected a statement, found SELEC
   |
 1 | SELEC 1
   | ^^^^^ did you mean SELECT?"#,
        ),
        (
            "SELECT a FORM t",
            r#"
job.sql:1:10: expected the end of the statement, found t
   |
 1 | SELECT a FORM t
   |          ^^^^ did you mean FROM?"#,
        ),
        (
            "SELECT a FROM t WERE a = 1",
            r#"
job.sql:1:17: expected the end of the statement, found a
   |
 1 | SELECT a FROM t WERE a = 1
   |                 ^^^^ did you mean WHERE?"#,
        ),
        (
            "SELECT a FROM t GRUOP BY a",
            r#"
job.sql:1:17: expected the end of the statement, found BY
   |
 1 | SELECT a FROM t GRUOP BY a
   |                 ^^^^^ did you mean GROUP?"#,
        ),
        (
            "SELECT a,\n\tb c d\nFROM t",
            r#"
job.sql:2:6: expected the end of the statement, found d
   |
 2 | 	b c d
   | 	    ^"#,
        ),
        (
            "SELECT FROM t",
            r#"
job.sql:1:8: expected an expression, found FROM
   |
 1 | SELECT FROM t
   |        ^^^^"#,
        ),
        (
            "SELECT a FROM",
            r#"
job.sql:1:14: expected identifier, found the end
   |
 1 | SELECT a FROM
   |              ^"#,
        ),
        (
            "SELECT (a FROM t",
            r#"
job.sql:1:11: expected ), found FROM
   |
 1 | SELECT (a FROM t
   |           ^^^^"#,
        ),
        (
            "SELECT a FROM (SELECT b FROM c WHER d = 1) AS e",
            r#"
job.sql:1:32: expected the end, found d
   |
 1 | SELECT a FROM (SELECT b FROM c WHER d = 1) AS e
   |                                ^^^^ did you mean WHERE?"#,
        ),
        (
            "SELECT a FROM t WHERE a IN (SELECT b FROM (SELECT c, FROM d))",
            r#"
job.sql:1:54: expected an expression, found FROM
   |
 1 | SELECT a FROM t WHERE a IN (SELECT b FROM (SELECT c, FROM d))
   |                                                      ^^^^"#,
        ),
        (
            "SELECT COUNT(*) FROM t WHERE a LIKE",
            r#"
job.sql:1:36: expected an expression, found the end
   |
 1 | SELECT COUNT(*) FROM t WHERE a LIKE
   |                                    ^"#,
        ),
    ]);
}

#[test]
fn values_that_are_wrong() {
    all_are(&[
        (
            "SELECT CAST(a AS STRNG) FROM t",
            r#"
job.sql:1:18: unknown type STRNG
   |
 1 | SELECT CAST(a AS STRNG) FROM t
   |                  ^^^^^ did you mean STRING?"#,
        ),
        (
            "SELECT CAST(a AS DECIMAL(50, 2)) FROM t",
            r#"
job.sql:1:18: DECIMAL(50, 2): of 1 to 38 digits, as many or fewer are after the point
   |
 1 | SELECT CAST(a AS DECIMAL(50, 2)) FROM t
   |                  ^^^^^^^"#,
        ),
        (
            "SELECT INTERVAL '1:xx' MINUTE TO SECOND",
            r#"
job.sql:1:17: '1:xx' is not an interval of MINUTE, SECOND
   |
 1 | SELECT INTERVAL '1:xx' MINUTE TO SECOND
   |                 ^^^^^^"#,
        ),
        (
            "SELECT INTERVAL '1' FORTNIGHT",
            r#"
job.sql:1:21: expected the interval's unit: YEAR, QUARTER, MONTH, WEEK, DAY, HOUR, MINUTE or SECOND, found FORTNIGHT
   |
 1 | SELECT INTERVAL '1' FORTNIGHT
   |                     ^^^^^^^^^"#,
        ),
        (
            "SELECT INTERVAL '1' SECOND TO DAY",
            r#"
job.sql:1:31: an interval cannot go from SECOND to DAY
   |
 1 | SELECT INTERVAL '1' SECOND TO DAY
   |                               ^^^"#,
        ),
        (
            "SELECT INTERVAL 10 MINUTE",
            r#"
job.sql:1:17: expected the interval's length in single quotes, as in INTERVAL '10' SECOND, found 10
   |
 1 | SELECT INTERVAL 10 MINUTE
   |                 ^^"#,
        ),
        (
            "SELECT MAP['a', 1, 'b'] FROM t",
            r#"
job.sql:1:23: expected ',' and the value of the key, found ]
   |
 1 | SELECT MAP['a', 1, 'b'] FROM t
   |                       ^"#,
        ),
        (
            "SELECT 'it''s FROM t",
            r#"
job.sql:1:8: this text has no closing quote
   |
 1 | SELECT 'it''s FROM t
   |        ^"#,
        ),
        (
            "SELECT `a FROM t",
            r#"
job.sql:1:8: this name has no closing quote
   |
 1 | SELECT `a FROM t
   |        ^"#,
        ),
        (
            "SELECT 1 /* more",
            r#"
job.sql:1:17: this comment has no end
   |
 1 | SELECT 1 /* more
   |                 ^"#,
        ),
        (
            "SELECT TUMBLE(TABLE t ORDER BY a, DESCRIPTOR(ts))",
            r#"
job.sql:1:23: ORDER BY of a table argument is not supported
   |
 1 | SELECT TUMBLE(TABLE t ORDER BY a, DESCRIPTOR(ts))
   |                       ^^^^^"#,
        ),
    ]);
}

#[test]
fn statements_that_are_wrong() {
    all_are(&[
        (
            "CREATE TABLE t (a INT PRIMARY KEY)",
            r#"
job.sql:1:23: keys are not checked
   |
 1 | CREATE TABLE t (a INT PRIMARY KEY)
   |                       ^^^^^^^ add NOT ENFORCED after PRIMARY KEY"#,
        ),
        (
            "CREATE TABLE t (a INT, PRIMARY KEY (a))",
            r#"
job.sql:1:24: keys are not checked
   |
 1 | CREATE TABLE t (a INT, PRIMARY KEY (a))
   |                        ^^^^^^^ add NOT ENFORCED after PRIMARY KEY"#,
        ),
        (
            "CREATE TABLE t (a INT, UNIQUE (a) NOT ENFORCED)",
            r#"
job.sql:1:24: UNIQUE is not supported
   |
 1 | CREATE TABLE t (a INT, UNIQUE (a) NOT ENFORCED)
   |                        ^^^^^^ use PRIMARY KEY (…) NOT ENFORCED"#,
        ),
        (
            "CREATE TABLE t (a INT PRIMARY KEY NOT ENFORCED, PRIMARY KEY (a) NOT ENFORCED)",
            r#"
job.sql:1:49: a table has one primary key
   |
 1 | CREATE TABLE t (a INT PRIMARY KEY NOT ENFORCED, PRIMARY KEY (a) NOT ENFORCED)
   |                                                 ^^^^^^^"#,
        ),
        (
            "CREATE TABLE t (WATERMARK FOR a AS a, WATERMARK FOR b AS b)",
            r#"
job.sql:1:39: a table has one watermark
   |
 1 | CREATE TABLE t (WATERMARK FOR a AS a, WATERMARK FOR b AS b)
   |                                       ^^^^^^^^^"#,
        ),
        (
            "CREATE TABLE t (a, b INT)",
            r#"
job.sql:1:17: column a has no type
   |
 1 | CREATE TABLE t (a, b INT)
   |                 ^"#,
        ),
        (
            "CREATE TABLE t (a INT,\n  b STRNG)",
            r#"
job.sql:2:5: unknown type STRNG
   |
 2 |   b STRNG)
   |     ^^^^^ did you mean STRING?"#,
        ),
        (
            "CREATE TABLE t (a INT b INT)",
            r#"
job.sql:1:23: expected ',' or ')', found b
   |
 1 | CREATE TABLE t (a INT b INT)
   |                       ^"#,
        ),
        (
            "CREATE TABLE t (a INT) WITH ('connector' = kafka)",
            r#"
job.sql:1:44: expected the option's value, in single quotes, found kafka
   |
 1 | CREATE TABLE t (a INT) WITH ('connector' = kafka)
   |                                            ^^^^^"#,
        ),
        (
            "CREATE TABLE t (a INT) WITH (connector = 'kafka')",
            r#"
job.sql:1:30: expected an option, such as 'connector' = 'filesystem', found connector
   |
 1 | CREATE TABLE t (a INT) WITH (connector = 'kafka')
   |                              ^^^^^^^^^"#,
        ),
        (
            "CREATE TABLE t (a INT) WIHT ('connector' = 'kafka')",
            r#"
job.sql:1:24: expected the end of the statement, found WIHT
   |
 1 | CREATE TABLE t (a INT) WIHT ('connector' = 'kafka')
   |                        ^^^^ did you mean WITH?"#,
        ),
        (
            "CREATE TABLE t LIKE u (INCLUDING EVERYTHING)",
            r#"
job.sql:1:34: expected ALL, CONSTRAINTS, DISTRIBUTION, GENERATED, METADATA, OPTIONS, PARTITIONS or WATERMARKS, found EVERYTHING
   |
 1 | CREATE TABLE t LIKE u (INCLUDING EVERYTHING)
   |                                  ^^^^^^^^^^"#,
        ),
        (
            "CREATE TABEL t (a INT)",
            r#"
job.sql:1:8: expected TABLE, VIEW, FUNCTION, CATALOG or DATABASE, found TABEL
   |
 1 | CREATE TABEL t (a INT)
   |        ^^^^^ did you mean TABLE?"#,
        ),
        (
            "CREATE TEMPORARY DATABASE d",
            r#"
job.sql:1:18: only tables, views and functions are TEMPORARY or replaced
   |
 1 | CREATE TEMPORARY DATABASE d
   |                  ^^^^^^^^"#,
        ),
        (
            "CREATE VIEW v SELECT 1",
            r#"
job.sql:1:15: expected AS, found SELECT
   |
 1 | CREATE VIEW v SELECT 1
   |               ^^^^^^"#,
        ),
        (
            "INSERT t SELECT 1",
            r#"
job.sql:1:8: expected INTO or OVERWRITE, found t
   |
 1 | INSERT t SELECT 1
   |        ^"#,
        ),
        (
            "INSERT INTO t",
            r#"
job.sql:1:14: expected SELECT, VALUES, or a subquery in the query body, found the end
   |
 1 | INSERT INTO t
   |              ^"#,
        ),
        (
            "EXECUTE STATEMENT SET BEGIN INSERT INTO a SELECT 1; SELECT 2; END;",
            r#"
job.sql:1:53: expected INSERT or END, found SELECT
   |
 1 | EXECUTE STATEMENT SET BEGIN INSERT INTO a SELECT 1; SELECT 2; END;
   |                                                     ^^^^^^"#,
        ),
        (
            "EXECUTE STATEMENT SET BEGIN INSERT INTO a SELECT 1;",
            r#"
job.sql:1:52: expected INSERT or END, found the end
   |
 1 | EXECUTE STATEMENT SET BEGIN INSERT INTO a SELECT 1;
   |                                                    ^"#,
        ),
        (
            "SHOW TABELS",
            r#"
job.sql:1:6: expected TABLES, VIEWS, COLUMNS, CREATE, FUNCTIONS, CATALOGS, DATABASES, CURRENT or JOBS, found TABELS
   |
 1 | SHOW TABELS
   |      ^^^^^^ did you mean TABLES?"#,
        ),
        (
            "SHOW COLUMNS",
            r#"
job.sql:1:13: expected FROM and a table, found the end
   |
 1 | SHOW COLUMNS
   |             ^"#,
        ),
        (
            "SET 'a'",
            r#"
job.sql:1:8: expected =, found the end
   |
 1 | SET 'a'
   |        ^"#,
        ),
        (
            "DROP t",
            r#"
job.sql:1:6: expected TABLE, VIEW, FUNCTION, CATALOG or DATABASE, found t
   |
 1 | DROP t
   |      ^"#,
        ),
        (
            "ALTER TABLE t FROBNICATE",
            r#"
job.sql:1:15: expected RENAME, SET, RESET, ADD, MODIFY or DROP, found FROBNICATE
   |
 1 | ALTER TABLE t FROBNICATE
   |               ^^^^^^^^^^"#,
        ),
        (
            "SELECT 1 SELECT 2",
            r#"
job.sql:1:10: expected the end of the statement, found SELECT
   |
 1 | SELECT 1 SELECT 2
   |          ^^^^^^"#,
        ),
        (
            "SELECT * FROM t AS u /*+ OPTIONS('a'='b') */",
            r#"
job.sql:1:22: this hint belongs to no table
   |
 1 | SELECT * FROM t AS u /*+ OPTIONS('a'='b') */
   |                      ^^^^^^^^^^^^^^^^^^^^^^^ write it right after a table's name, or a query's after SELECT"#,
        ),
        (
            "SELECT * FROM t /*+ OPTION('a'='b') */",
            r#"
job.sql:1:21: expected OPTIONS, found OPTION
   |
 1 | SELECT * FROM t /*+ OPTION('a'='b') */
   |                     ^^^^^^"#,
        ),
        (
            "SELECT * FROM t /*+ OPTIONS('a'=b) */",
            r#"
job.sql:1:33: expected the option's value, in single quotes, found b
   |
 1 | SELECT * FROM t /*+ OPTIONS('a'=b) */
   |                                 ^"#,
        ),
    ]);
}

/// What is said of a statement that a planner finds wrong.
fn planned(text: &str, error: &DataFusionError) -> String {
    let pieces = split(text);
    let piece = pieces.last().expect("a statement");
    let told: Vec<_> = piece.explain(error).iter().map(|told| told.render("job.sql", text).to_string()).collect();
    told.join("\n")
}

fn no_field(name: &str, relation: Option<&str>, valid: &[&str]) -> DataFusionError {
    let field = Box::new(Column::new(relation, name));
    let valid_fields = valid.iter().map(|name| Column::new(Some("t"), *name)).collect();
    DataFusionError::SchemaError(Box::new(SchemaError::FieldNotFound { field, valid_fields }), Box::new(None))
}

#[test]
fn what_a_planner_finds() {
    let text = "SELECT 1;\nSELECT\n  count(user_idd), sumb(1) FROM tt";
    let span = Span::new(Location { line: 3, column: 9 }, Location { line: 3, column: 17 });
    let told = |message: &str| Told::new_error(message, Some(span));
    let plan = |message: &str| DataFusionError::Plan(message.to_owned());
    let unknown = || no_field("user_idd", None, &["user_id", "name"]);
    let cases = [
        (
            unknown().with_diagnostic(told("column 'user_idd' not found")),
            r#"
job.sql:3:9: unknown column `user_idd`
   |
 3 |   count(user_idd), sumb(1) FROM tt
   |         ^^^^^^^^ did you mean `user_id`?"#,
        ),
        (
            no_field("user_idd", Some("t"), &["a", "user_id"]),
            r#"
job.sql:3:9: unknown column `t.user_idd`
   |
 3 |   count(user_idd), sumb(1) FROM tt
   |         ^^^^^^^^ did you mean `t.user_id`?"#,
        ),
        (
            no_field("user_idd", None, &["a", "b"]),
            r#"
job.sql:3:9: unknown column `user_idd`
   |
 3 |   count(user_idd), sumb(1) FROM tt
   |         ^^^^^^^^ there are `a`, `b`"#,
        ),
        (
            plan("Invalid function 'sumb'.\nDid you mean 'sum'?"),
            r#"
job.sql:3:20: unknown function `sumb`
   |
 3 |   count(user_idd), sumb(1) FROM tt
   |                    ^^^^ did you mean `sum`?"#,
        ),
        (
            plan("table 'a.b.tt' not found"),
            r#"
job.sql:3:33: unknown table `a.b.tt`
   |
 3 |   count(user_idd), sumb(1) FROM tt
   |                                 ^^"#,
        ),
        (
            plan("Cannot coerce arithmetic expression Utf8View + Int64 to valid types"),
            r#"
job.sql: Cannot coerce arithmetic expression STRING + BIGINT to valid types"#,
        ),
        (
            DataFusionError::NotImplemented("Timestamp(ms, \"UTC\") of List(Int32)".into()),
            r#"
job.sql: TIMESTAMP_LTZ(3) of List(INT)"#,
        ),
        (
            DataFusionError::Collection(vec![plan("one"), plan("two").context("type_coercion")]),
            r#"
job.sql: one
job.sql: two"#,
        ),
    ];
    let said: Vec<_> = cases.iter().map(|(error, _)| planned(text, error)).collect();
    let want: Vec<_> = cases.iter().map(|(_, want)| want.trim_start_matches('\n')).collect();
    assert_eq!(said.join("\n\n"), want.join("\n\n"));
}

#[test]
fn colours_are_for_who_asks() {
    let wrong = split("SELEC 1")[0].parse().expect_err("misspelt");
    let coloured = wrong.render("a.sql", "SELEC 1").colours(true).to_string();
    assert!(coloured.contains("\u{1b}[31m^^^^^\u{1b}[0m"), "{coloured:?}");
    assert!(!wrong.render("a.sql", "SELEC 1").to_string().contains('\u{1b}'));
}
