//! Flink's statements, shown in short again.

use std::fmt::Write;

use updraft_sql::parse::Statement;
use updraft_sql::parse::statement::{
    AlterAction, Column, ColumnKind, CreateTable, ExplainDetail, Insert, Position, PrimaryKey, SchemaPart, Setting,
    Watermark,
};

fn list<T>(parts: &[T], show: impl Fn(&T) -> String) -> String {
    parts.iter().map(show).collect::<Vec<_>>().join(", ")
}

fn option(option: &Setting) -> String {
    format!("{}={}", option.key.value, option.value.value)
}

fn column(column: &Column) -> String {
    let kind = match &column.kind {
        ColumnKind::Physical(of) => of.to_string(),
        ColumnKind::Computed(expr) => format!("AS {expr}"),
        ColumnKind::Metadata { of, key, is_virtual } => {
            let key = key.as_ref().map_or(String::new(), |key| format!(" FROM {}", key.value));
            format!("{of} METADATA{key}{}", if *is_virtual { " VIRTUAL" } else { "" })
        }
    };
    let comment = column.comment.as_ref().map_or(String::new(), |comment| format!(" // {comment}"));
    format!("{} {kind}{comment}", column.name)
}

fn key(key: &PrimaryKey) -> String {
    let name = key.name.as_ref().map_or(String::new(), |name| format!("{name} "));
    format!("{name}KEY ({})", list(&key.columns, ToString::to_string))
}

fn watermark(watermark: &Watermark) -> String {
    format!("WATERMARK {} {}", watermark.column, watermark.expr)
}

fn table(table: &CreateTable) -> String {
    let mut short = String::from("TABLE");
    let flags =
        [(table.or_replace, "OR REPLACE"), (table.temporary, "TEMPORARY"), (table.if_not_exists, "IF NOT EXISTS")];
    flags.iter().filter(|(is, _)| *is).for_each(|(_, flag)| write!(short, " {flag}").unwrap());
    write!(short, " {} ({})", table.name, list(&table.columns, column)).unwrap();
    let mut rest = vec![];
    rest.extend((!table.order.is_empty()).then(|| format!("ORDER ({})", list(&table.order, ToString::to_string))));
    rest.extend(table.primary_key.as_ref().map(key));
    rest.extend(table.watermark.as_ref().map(watermark));
    rest.extend(table.comment.as_ref().map(|comment| format!("// {comment}")));
    rest.extend(table.distributed.map(|span| format!("DISTRIBUTED at {}", span.start.column)));
    let partitioned = list(&table.partitioned_by, ToString::to_string);
    rest.extend((!partitioned.is_empty()).then(|| format!("BY ({partitioned})")));
    rest.extend((!table.options.is_empty()).then(|| format!("WITH {}", list(&table.options, option))));
    let rule = |rule: &updraft_sql::parse::statement::LikeRule| format!("{:?} {:?}", rule.merging, rule.feature);
    rest.extend(table.like.as_ref().map(|like| format!("LIKE {} ({})", like.table, list(&like.rules, rule))));
    rest.extend(table.query.as_ref().map(|query| format!("AS {query}")));
    rest.iter().for_each(|rest| write!(short, " {rest}").unwrap());
    short
}

fn insert(insert: &Insert) -> String {
    let mut short = format!("INSERT {}{}", if insert.overwrite { "OVERWRITE " } else { "" }, insert.table);
    let parts = [
        ("OPTIONS", list(&insert.options, option)),
        ("PARTITION", list(&insert.partition, |(column, value)| format!("{column} = {value}"))),
        ("COLUMNS", list(&insert.columns, ToString::to_string)),
    ];
    parts
        .iter()
        .filter(|(_, part)| !part.is_empty())
        .for_each(|(name, part)| write!(short, " {name} ({part})").unwrap());
    format!("{short}: {}", insert.query)
}

fn schema_part(part: &SchemaPart) -> String {
    match part {
        SchemaPart::Column(of, None) => column(of),
        SchemaPart::Column(of, Some(Position::First)) => format!("{} FIRST", column(of)),
        SchemaPart::Column(of, Some(Position::After(name))) => format!("{} AFTER {name}", column(of)),
        SchemaPart::PrimaryKey(of) => key(of),
        SchemaPart::Watermark(of) => watermark(of),
    }
}

fn action(action: &AlterAction) -> String {
    match action {
        AlterAction::Set(options) => format!("SET {}", list(options, option)),
        AlterAction::Reset(keys) => format!("RESET {}", list(keys, |key| key.value.clone())),
        AlterAction::Add(parts) => format!("ADD {}", list(parts, schema_part)),
        AlterAction::Modify(parts) => format!("MODIFY {}", list(parts, schema_part)),
        AlterAction::DropColumns(names) => format!("DROP {}", list(names, ToString::to_string)),
        AlterAction::Rename(name) => format!("RENAME {name}"),
        AlterAction::RenameColumn(from, to) => format!("RENAME {from} {to}"),
        AlterAction::DropConstraint(name) => format!("DROP CONSTRAINT {name}"),
        other => format!("{other:?}"),
    }
}

fn short(statement: &Statement) -> String {
    match statement {
        Statement::Query(query) => query.to_string(),
        Statement::Insert(of) => insert(of),
        Statement::StatementSet(inserts) => format!("SET [{}]", list(inserts, |of| insert(&of.value))),
        Statement::Explain(of) => {
            let details = list(&of.details, |detail: &ExplainDetail| format!("{detail:?}"));
            format!("EXPLAIN [{details}] {}", short(&of.statement.value))
        }
        Statement::CreateTable(of) => table(of),
        Statement::CreateView(of) => {
            let columns =
                list(&of.columns, |(name, comment)| format!("{name}{}", comment.as_deref().unwrap_or_default()));
            let flags = (of.temporary, of.if_not_exists, of.comment.as_deref());
            format!("VIEW {} ({columns}) {flags:?} AS {}", of.name, of.query)
        }
        Statement::CreateFunction(of) => {
            let language = of.language.as_ref().map(|language| language.value.as_str());
            let using = list(&of.using, |(kind, path)| format!("{kind} {}", path.value));
            let flags = (of.temporary, of.system, of.if_not_exists);
            format!(
                "FUNCTION {} {flags:?} AS {} {language:?} [{using}] [{}]",
                of.name,
                of.definition.value,
                list(&of.options, option)
            )
        }
        Statement::CreateNamespace(of) => {
            let Some(comment) = &of.comment else {
                return format!("{:?} {} {} [{}]", of.object, of.name, of.if_not_exists, list(&of.options, option));
            };
            format!("{:?} {} {} // {comment} [{}]", of.object, of.name, of.if_not_exists, list(&of.options, option))
        }
        Statement::AlterTable(of) => format!("ALTER {} {} {}", of.name, of.if_exists, action(&of.action)),
        Statement::AlterView(of) => match &of.action {
            updraft_sql::parse::statement::AlterViewAction::Rename(name) => {
                format!("ALTER VIEW {} RENAME {name}", of.name)
            }
            updraft_sql::parse::statement::AlterViewAction::Query(query) => {
                format!("ALTER VIEW {} AS {query}", of.name)
            }
        },
        Statement::Drop(of) => {
            format!("DROP {:?} {} {:?}", of.object, of.name, (of.temporary, of.system, of.if_exists, of.cascade))
        }
        Statement::Use(updraft_sql::parse::statement::Use::Catalog(name)) => format!("USE CATALOG {name}"),
        Statement::Use(updraft_sql::parse::statement::Use::Database(name)) => format!("USE {name}"),
        Statement::Show(of) => {
            let name = of.of.as_ref().map_or(String::new(), |name| format!(" FROM {name}"));
            let like = of.like.as_ref().map_or(String::new(), |like| {
                format!(
                    " {}{}LIKE {}",
                    if like.not { "NOT " } else { "" },
                    if like.blind_to_case { "I" } else { "" },
                    like.pattern
                )
            });
            format!("SHOW {:?}{name}{like}", of.what)
        }
        Statement::Describe { extended, name } => format!("DESCRIBE {extended} {name}"),
        Statement::Set(of) => format!("SET {}", of.as_ref().map_or(String::new(), option)),
        Statement::Reset(of) => format!("RESET {}", of.as_ref().map_or("", |key| &key.value)),
        Statement::Unsupported(what) => format!("UNSUPPORTED {what}"),
    }
}

fn all_are(cases: &[(&str, &str)]) {
    for (text, want) in cases {
        assert_eq!(short(&crate::one(text).value), *want, "{text}");
    }
}

#[test]
fn tables() {
    all_are(&[
        (
            "CREATE TABLE Orders (`user` BIGINT, product STRING, order_time TIMESTAMP(3)) WITH ('connector' = 'kafka', 'scan.startup.mode' = 'earliest-offset')",
            "TABLE Orders (`user` BIGINT, product STRING, order_time TIMESTAMP(3)) WITH connector=kafka, scan.startup.mode=earliest-offset",
        ),
        (
            "CREATE TABLE MyTable (user_id BIGINT NOT NULL COMMENT 'who', name VARCHAR(20) NOT NULL)",
            "TABLE MyTable (user_id BIGINT NOT NULL // who, name STRING NOT NULL)",
        ),
        (
            "CREATE TABLE MyTable (user_id BIGINT, record_time TIMESTAMP_LTZ(3) METADATA FROM 'timestamp', `offset` BIGINT METADATA VIRTUAL, `timestamp` TIMESTAMP(3) METADATA COMMENT 'when')",
            "TABLE MyTable (user_id BIGINT, record_time TIMESTAMP_LTZ(3) METADATA FROM timestamp, `offset` BIGINT METADATA VIRTUAL, `timestamp` TIMESTAMP(3) METADATA // when)",
        ),
        (
            "CREATE TABLE MyTable (price DOUBLE, quantity DOUBLE, cost AS price * quantity COMMENT 'all', at AS PROCTIME())",
            "TABLE MyTable (price DOUBLE, quantity DOUBLE, cost AS price * quantity // all, at AS PROCTIME())",
        ),
        (
            "CREATE TABLE Orders (id BIGINT PRIMARY KEY NOT ENFORCED, ts TIMESTAMP(3), WATERMARK FOR ts AS ts - INTERVAL '5' SECOND)",
            "TABLE Orders (id BIGINT, ts TIMESTAMP(3)) KEY (id) WATERMARK ts ts - INTERVAL '5' SECONDS",
        ),
        (
            "CREATE TEMPORARY TABLE IF NOT EXISTS c.d.t (a INT, r ROW<ts TIMESTAMP(3), b ARRAY<ROW<x INT>>>, CONSTRAINT k PRIMARY KEY (a, b) NOT ENFORCED, WATERMARK FOR r.ts AS r.ts) COMMENT 'it' PARTITIONED BY (a, b)",
            "TABLE TEMPORARY IF NOT EXISTS c.d.t (a INT, r ROW<`ts` TIMESTAMP(3), `b` ARRAY<ROW<`x` INT>>>) k KEY (a, b) WATERMARK r.ts r.ts // it BY (a, b)",
        ),
        (
            "CREATE TABLE t (a INT) DISTRIBUTED BY HASH(a) INTO 4 BUCKETS WITH ('connector' = 'kafka')",
            "TABLE t (a INT) DISTRIBUTED at 24 WITH connector=kafka",
        ),
        (
            "CREATE TABLE t (WATERMARK FOR ts AS ts) WITH ('a' = 'b') LIKE Orders (EXCLUDING ALL INCLUDING GENERATED OVERWRITING OPTIONS INCLUDING WATERMARKS)",
            "TABLE t () WATERMARK ts ts WITH a=b LIKE Orders (Excluding All, Including Generated, Overwriting Options, Including Watermarks)",
        ),
        ("CREATE TABLE t LIKE d.u", "TABLE t () LIKE d.u ()"),
        (
            "CREATE TABLE t WITH ('connector' = 'kafka') AS SELECT id FROM s WHERE mod(id, 10) = 0",
            "TABLE t () WITH connector=kafka AS SELECT id FROM s WHERE mod(id, 10) = 0",
        ),
        (
            "CREATE OR REPLACE TABLE t (b, a) AS SELECT a, b FROM s",
            "TABLE OR REPLACE t () ORDER (b, a) AS SELECT a, b FROM s",
        ),
        (
            "CREATE TABLE t (c AS a + 1, PRIMARY KEY (a) NOT ENFORCED) AS SELECT a FROM s",
            "TABLE t (c AS a + 1) KEY (a) AS SELECT a FROM s",
        ),
        (
            "create table t (type string, date date, key int, comment string comment 'x')",
            "TABLE t (type STRING, date DATE, key INT, comment STRING // x)",
        ),
        ("CREATE TABLE t (a INT) WITH ()", "TABLE t (a INT)"),
    ]);
}

#[test]
fn other_things_that_are_made() {
    all_are(&[
        ("CREATE VIEW v AS SELECT 1", "VIEW v () (false, false, None) AS SELECT 1"),
        (
            "CREATE TEMPORARY VIEW IF NOT EXISTS d.v (a COMMENT 'x', b) COMMENT 'it' AS SELECT 1, 2",
            "VIEW d.v (ax, b) (true, true, Some(\"it\")) AS SELECT 1, 2",
        ),
        ("CREATE FUNCTION f AS 'com.example.F'", "FUNCTION f (false, false, false) AS com.example.F None [] []"),
        (
            "CREATE TEMPORARY SYSTEM FUNCTION IF NOT EXISTS f AS 'F' LANGUAGE java USING JAR '/a.jar', JAR '/b.jar'",
            "FUNCTION f (true, true, true) AS F Some(\"JAVA\") [JAR /a.jar, JAR /b.jar] []",
        ),
        ("CREATE CATALOG c WITH ('type' = 'generic_in_memory')", "Catalog c false [type=generic_in_memory]"),
        ("CREATE DATABASE IF NOT EXISTS c.d COMMENT 'it' WITH ('a'='b')", "Database c.d true // it [a=b]"),
        ("DROP TABLE t", "DROP Table t (false, false, false, false)"),
        ("DROP TEMPORARY VIEW IF EXISTS d.v", "DROP View d.v (true, false, true, false)"),
        ("DROP TEMPORARY SYSTEM FUNCTION f", "DROP Function f (true, true, false, false)"),
        ("DROP DATABASE IF EXISTS d CASCADE", "DROP Database d (false, false, true, true)"),
        ("DROP DATABASE d RESTRICT", "DROP Database d (false, false, false, false)"),
        ("DROP CATALOG c", "DROP Catalog c (false, false, false, false)"),
    ]);
}

#[test]
fn changes() {
    all_are(&[
        ("ALTER TABLE Orders RENAME TO NewOrders", "ALTER Orders false RENAME NewOrders"),
        ("ALTER TABLE IF EXISTS t RENAME a TO b", "ALTER t true RENAME a b"),
        ("ALTER TABLE t SET ('rows-per-second' = '10')", "ALTER t false SET rows-per-second=10"),
        ("ALTER TABLE t RESET ('a', 'b')", "ALTER t false RESET a, b"),
        ("ALTER TABLE t ADD `category_id` STRING COMMENT 'id'", "ALTER t false ADD `category_id` STRING // id"),
        (
            "ALTER TABLE t ADD (`ts` STRING FIRST, b AS a + 1 AFTER a, PRIMARY KEY(id) NOT ENFORCED, WATERMARK FOR `ts` AS `ts` - INTERVAL '1' SECOND)",
            "ALTER t false ADD `ts` STRING FIRST, b AS a + 1 AFTER a, KEY (id), WATERMARK `ts` `ts` - INTERVAL '1' SECONDS",
        ),
        ("ALTER TABLE t ADD COLUMN a INT PRIMARY KEY NOT ENFORCED", "ALTER t false ADD a INT, KEY (a)"),
        ("ALTER TABLE t MODIFY measurement DOUBLE FIRST", "ALTER t false MODIFY measurement DOUBLE FIRST"),
        ("ALTER TABLE t DROP a", "ALTER t false DROP a"),
        ("ALTER TABLE t DROP (a, b)", "ALTER t false DROP a, b"),
        ("ALTER TABLE t DROP PRIMARY KEY", "ALTER t false DropPrimaryKey"),
        ("ALTER TABLE t DROP CONSTRAINT k", "ALTER t false DROP CONSTRAINT k"),
        ("ALTER TABLE t DROP WATERMARK", "ALTER t false DropWatermark"),
        ("ALTER VIEW v RENAME TO w", "ALTER VIEW v RENAME w"),
        ("ALTER VIEW v AS SELECT 2", "ALTER VIEW v AS SELECT 2"),
    ]);
}

#[test]
fn jobs() {
    all_are(&[
        ("INSERT INTO students SELECT name, age FROM people", "INSERT students: SELECT name, age FROM people"),
        ("INSERT INTO t (a, b) VALUES (1, 2), (3, 4)", "INSERT t COLUMNS (a, b): VALUES (1, 2), (3, 4)"),
        ("INSERT INTO t (SELECT 1)", "INSERT t: (SELECT 1)"),
        (
            "INSERT OVERWRITE c.d.t PARTITION (date='2019-8-30', country='China') (a) SELECT a FROM s",
            "INSERT OVERWRITE c.d.t PARTITION (date = '2019-8-30', country = 'China') COLUMNS (a): SELECT a FROM s",
        ),
        (
            "INSERT INTO t /*+ OPTIONS('sink.partitioner'='round-robin') */ SELECT * FROM s",
            "INSERT t OPTIONS (sink.partitioner=round-robin): SELECT * FROM s",
        ),
        ("EXECUTE INSERT INTO t SELECT 1", "INSERT t: SELECT 1"),
        (
            "EXECUTE STATEMENT SET BEGIN INSERT INTO a SELECT 1; INSERT INTO b SELECT 2; END;",
            "SET [INSERT a: SELECT 1, INSERT b: SELECT 2]",
        ),
        ("BEGIN STATEMENT SET; INSERT INTO a SELECT 1; END;", "SET [INSERT a: SELECT 1]"),
        ("EXPLAIN SELECT 1", "EXPLAIN [] SELECT 1"),
        ("EXPLAIN PLAN FOR SELECT 1", "EXPLAIN [] SELECT 1"),
        (
            "EXPLAIN ESTIMATED_COST, CHANGELOG_MODE, PLAN_ADVICE, JSON_EXECUTION_PLAN INSERT INTO t SELECT 1",
            "EXPLAIN [EstimatedCost, ChangelogMode, PlanAdvice, JsonExecutionPlan] INSERT t: SELECT 1",
        ),
        ("EXPLAIN STATEMENT SET BEGIN INSERT INTO a SELECT 1; END;", "EXPLAIN [] SET [INSERT a: SELECT 1]"),
    ]);
}

#[test]
fn the_rest() {
    all_are(&[
        ("USE CATALOG c", "USE CATALOG c"),
        ("USE c.d", "USE c.d"),
        ("SHOW TABLES", "SHOW Tables"),
        ("SHOW TABLES FROM d NOT LIKE '%n'", "SHOW Tables FROM d NOT LIKE %n"),
        ("SHOW VIEWS", "SHOW Views"),
        ("SHOW COLUMNS IN orders LIKE 'f%'", "SHOW Columns FROM orders LIKE f%"),
        ("SHOW USER FUNCTIONS ILIKE 'F%'", "SHOW Functions { user: true } ILIKE F%"),
        ("SHOW CURRENT DATABASE", "SHOW CurrentDatabase"),
        ("SHOW JOBS", "SHOW Jobs"),
        ("DESCRIBE Orders", "DESCRIBE false Orders"),
        ("DESC EXTENDED d.Orders", "DESCRIBE true d.Orders"),
        ("SET", "SET "),
        ("SET 'table.local-time-zone' = 'Europe/Berlin'", "SET table.local-time-zone=Europe/Berlin"),
        ("SET execution.runtime-mode = batch", "SET execution.runtime-mode=batch"),
        ("SET table.exec.state.ttl = 10 s", "SET table.exec.state.ttl=10 s"),
        ("RESET", "RESET "),
        ("RESET 'table.planner'", "RESET table.planner"),
        ("RESET execution.runtime-mode", "RESET execution.runtime-mode"),
        ("ANALYZE TABLE t COMPUTE STATISTICS FOR ALL COLUMNS", "UNSUPPORTED ANALYZE TABLE"),
        ("CALL sys.p(1)", "UNSUPPORTED CALL"),
        ("LOAD MODULE hive", "UNSUPPORTED LOAD MODULE"),
        ("TRUNCATE TABLE t", "UNSUPPORTED TRUNCATE TABLE"),
        ("UPDATE t SET a = 1", "UNSUPPORTED UPDATE"),
        ("DELETE FROM t", "UNSUPPORTED DELETE"),
        ("CREATE MODEL m WITH ('a' = 'b')", "UNSUPPORTED CREATE MODEL"),
        ("CREATE MATERIALIZED TABLE t AS SELECT 1", "UNSUPPORTED CREATE MATERIALIZED"),
        ("ALTER DATABASE d SET ('a' = 'b')", "UNSUPPORTED ALTER DATABASE"),
        ("ALTER TABLE t ADD PARTITION (a = 1)", "UNSUPPORTED ALTER TABLE … PARTITION"),
        ("SHOW MODULES", "UNSUPPORTED SHOW MODULES"),
        ("USE MODULES a, b", "UNSUPPORTED USE MODULES"),
        ("ADD JAR '/a.jar'", "UNSUPPORTED ADD JAR"),
        ("COMPILE PLAN '/a' FOR INSERT INTO t SELECT 1", "UNSUPPORTED COMPILE"),
    ]);
    assert_eq!(
        short(&crate::one("SHOW CREATE TABLE d.t").value),
        "SHOW Create(Table, ObjectName([Identifier(Ident { value: \"d\", quote_style: None, span: Span(Location(1,19)..Location(1,20)) }), Identifier(Ident { value: \"t\", quote_style: None, span: Span(Location(1,21)..Location(1,22)) })]))"
    );
}
