//! Queries: what Flink writes, as sqlparser's trees, which are shown again as text.

use datafusion_sql::sqlparser::ast::{Query, SetExpr, TableFactor};
use updraft_sql::parse::{Statement, table_options};

fn query(text: &str) -> Box<Query> {
    match crate::one(text).value {
        Statement::Query(query) => query,
        other => panic!("{text}: {other:?}"),
    }
}

/// The tables that the outermost `SELECT` is from.
fn tables(text: &str) -> Vec<TableFactor> {
    let SetExpr::Select(select) = *query(text).body else { panic!("{text} is no SELECT") };
    let joins = |table: datafusion_sql::sqlparser::ast::TableWithJoins| {
        std::iter::once(table.relation).chain(table.joins.into_iter().map(|join| join.relation)).collect::<Vec<_>>()
    };
    select.from.into_iter().flat_map(joins).collect()
}

#[test]
fn queries_that_are_written_alike_in_sqlparser_stay_as_they_are() {
    let cases = [
        "SELECT a, b AS c FROM t WHERE a > 1 AND b IN ('x', 'y')",
        "SELECT DISTINCT a FROM t",
        "SELECT `a b`.`c` FROM `a b`",
        "SELECT userId, UserID FROM Orders",
        "WITH orders_with_total AS (SELECT order_id, price + tax AS total FROM Orders) SELECT order_id, SUM(total) FROM orders_with_total GROUP BY order_id",
        "SELECT supplier_id, rating, COUNT(*) AS total FROM (VALUES ('supplier1', 'product1', 4)) AS Products (supplier_id, product_id, rating) GROUP BY GROUPING SETS ((supplier_id, rating), (supplier_id), ())",
        "SELECT a, COUNT(*) FROM t GROUP BY CUBE (a, b)",
        "SELECT a, COUNT(*) FROM t GROUP BY ROLLUP (a, b)",
        "SELECT SUM(amount) FROM Orders GROUP BY users HAVING SUM(amount) > 50",
        "SELECT COUNT(*) FILTER (WHERE flag IN ('a', 'b')) FROM t",
        "SELECT id FROM t WHERE a IS DISTINCT FROM b AND c IS NOT DISTINCT FROM d",
        "SELECT id FROM t WHERE EXISTS (SELECT 1 FROM u WHERE u.id = t.id)",
        "SELECT a FROM t UNION ALL SELECT b FROM u",
        "SELECT a FROM t INTERSECT SELECT b FROM u EXCEPT SELECT c FROM v",
        "SELECT * FROM Orders LEFT JOIN Product ON Orders.product_id = Product.id",
        "SELECT * FROM Orders ORDER BY order_time, order_id DESC LIMIT 3",
        "SELECT x.y.z, a[1], m['k'] FROM t",
        "SELECT ARRAY[1, 2, 3], ARRAY[ARRAY[1], ARRAY[2]] FROM t",
        "SELECT (a, b) FROM t",
        "SELECT CASE WHEN a THEN 1 ELSE 2 END, COALESCE(a, b), EXTRACT(DAY FROM ts) FROM t",
        "SELECT TRIM(BOTH 'x' FROM s), POSITION('a' IN s), OVERLAY(s PLACING 'x' FROM 2 FOR 3) FROM t",
        "SELECT *, ROW_NUMBER() OVER (PARTITION BY category ORDER BY sales DESC) AS row_num FROM ShopSales",
        "SELECT SUM(amount) OVER w FROM Orders WINDOW w AS (PARTITION BY product ORDER BY order_time ROWS BETWEEN 10 PRECEDING AND CURRENT ROW)",
        "SELECT a, ROW_NUMBER() OVER (PARTITION BY b ORDER BY c) AS n FROM t QUALIFY n <= 3",
        "SELECT CAST(a AS INT), TRY_CAST(b AS STRING), CAST(c AS DECIMAL(10, 2)) FROM t",
        "SELECT FIRST_VALUE(a) IGNORE NULLS OVER (ORDER BY ts) FROM t",
        "SELECT LISTAGG(DISTINCT a, ',') FROM t",
        "VALUES (1, 'a'), (2, 'b')",
    ];
    for text in cases {
        assert_eq!(query(text).to_string(), text);
    }
}

#[test]
fn what_flink_writes_in_its_own_way_has_one_shape() {
    let cases = [
        ("SELECT ROW(1, 'a')", "SELECT (1, 'a')"),
        ("SELECT MAP['k', v, 'l', w]", "SELECT MAP {'k': v, 'l': w}"),
        ("SELECT INTERVAL '10' SECOND", "SELECT INTERVAL '10' SECONDS"),
        ("SELECT INTERVAL '10' MINUTES", "SELECT INTERVAL '10' MINUTES"),
        ("SELECT INTERVAL '2.5' SECOND(3)", "SELECT INTERVAL '2.5' SECONDS"),
        ("SELECT INTERVAL -'3' DAY(3)", "SELECT INTERVAL '-3' DAYS"),
        ("SELECT INTERVAL '2' WEEK + INTERVAL '1' QUARTER", "SELECT INTERVAL '14' DAYS + INTERVAL '3' MONTHS"),
        ("SELECT INTERVAL '1:30' MINUTE TO SECOND", "SELECT INTERVAL '1 minutes 30 seconds'"),
        ("SELECT INTERVAL '-1-2' YEAR TO MONTH", "SELECT INTERVAL '-1 years -2 months'"),
        (
            "SELECT INTERVAL '1 10:00:05.123' DAY TO SECOND(3)",
            "SELECT INTERVAL '1 days 10 hours 00 minutes 05.123 seconds'",
        ),
        ("SELECT TIMESTAMP '2024-05-01 12:00:00.123'", "SELECT TIMESTAMP(3) '2024-05-01 12:00:00.123'"),
        ("SELECT CAST(x AS ROW<a INT, b STRING>)", "SELECT CAST(x AS ROW<`a` INT, `b` STRING>)"),
        ("SELECT CAST(x AS ARRAY<MAP<STRING, INT>>)", "SELECT CAST(x AS ARRAY<MAP<STRING, INT>>)"),
        (
            "SELECT * FROM TABLE(TUMBLE(TABLE Bid, DESCRIPTOR(ts), INTERVAL '10' MINUTES))",
            "SELECT * FROM TUMBLE((SELECT * FROM Bid), DESCRIPTOR(ts), INTERVAL '10' MINUTES)",
        ),
        (
            "SELECT * FROM TUMBLE(TABLE Bid, DESCRIPTOR(ts), INTERVAL '1' DAY)",
            "SELECT * FROM TUMBLE((SELECT * FROM Bid), DESCRIPTOR(ts), INTERVAL '1' DAYS)",
        ),
        (
            "SELECT * FROM TABLE(HOP(DATA => TABLE c.d.Bid, TIMECOL => DESCRIPTOR(ts), SLIDE => INTERVAL '5' MINUTES, SIZE => INTERVAL '10' MINUTES))",
            "SELECT * FROM HOP(DATA => (SELECT * FROM c.d.Bid), TIMECOL => DESCRIPTOR(ts), SLIDE => INTERVAL '5' MINUTES, SIZE => INTERVAL '10' MINUTES)",
        ),
        ("SELECT * FROM TABLE(f(TABLE (SELECT a FROM t))) AS r (x)", "SELECT * FROM f((SELECT a FROM t)) AS r (x)"),
        ("SELECT * FROM t, LATERAL TABLE(f(x)) AS r (y)", "SELECT * FROM t, LATERAL f(x) AS r (y)"),
        (
            "SELECT * FROM t LEFT JOIN LATERAL TABLE(f(x)) AS r(y) ON TRUE",
            "SELECT * FROM t LEFT JOIN LATERAL f(x) AS r (y) ON true",
        ),
        (
            "SELECT * FROM t CROSS JOIN UNNEST(items) AS i (item)",
            "SELECT * FROM t CROSS JOIN UNNEST(items) AS i (item)",
        ),
        (
            "SELECT * FROM t CROSS JOIN UNNEST(items) WITH ORDINALITY AS i (item, n)",
            "SELECT * FROM t CROSS JOIN UNNEST(items) WITH ORDINALITY AS i (item, n)",
        ),
        (
            "SELECT * FROM orders JOIN rates FOR SYSTEM_TIME AS OF orders.order_time AS r ON orders.currency = r.currency",
            "SELECT * FROM orders JOIN rates AS r FOR SYSTEM_TIME AS OF orders.order_time ON orders.currency = r.currency",
        ),
        (
            "SELECT SUM(a) OVER (PARTITION BY b ORDER BY ts RANGE BETWEEN INTERVAL '1' HOUR PRECEDING AND CURRENT ROW) FROM t",
            "SELECT SUM(a) OVER (PARTITION BY b ORDER BY ts RANGE BETWEEN INTERVAL '1' HOURS PRECEDING AND CURRENT ROW) FROM t",
        ),
    ];
    for (text, want) in cases {
        assert_eq!(query(text).to_string(), want);
    }
    assert!(matches!(
        tables("SELECT * FROM t CROSS JOIN UNNEST(a) AS u (x)").as_slice(),
        [_, TableFactor::UNNEST { .. }]
    ));
    assert!(matches!(tables("SELECT * FROM TABLE(f(1))").as_slice(), [TableFactor::Function { lateral: false, .. }]));
    assert!(matches!(
        tables("SELECT * FROM t, LATERAL TABLE(f(1))").as_slice(),
        [_, TableFactor::Function { lateral: true, .. }]
    ));
}

#[test]
fn patterns_of_rows_are_read() {
    let text = "SELECT * FROM Ticker MATCH_RECOGNIZE (PARTITION BY symbol ORDER BY rowtime MEASURES START_ROW.rowtime AS start_tstamp \
        ONE ROW PER MATCH AFTER MATCH SKIP TO LAST PRICE_UP PATTERN (START_ROW PRICE_DOWN+ PRICE_UP) \
        DEFINE PRICE_DOWN AS PRICE_DOWN.price < 10, PRICE_UP AS PRICE_UP.price > 10) MR";
    assert!(matches!(tables(text).as_slice(), [TableFactor::MatchRecognize { .. }]));
}

#[test]
fn options_of_a_table_go_to_it() {
    let text = "SELECT * FROM a /*+ OPTIONS('x'='1', 'y' = '2') */ t JOIN b ON t.id = b.id \
        JOIN (SELECT * FROM c/*+ OPTIONS('z'='3')*/ FOR SYSTEM_TIME AS OF ts AS r) AS s ON TRUE";
    let options = |table: &TableFactor| match table {
        TableFactor::Table { with_hints, .. } => table_options(with_hints),
        TableFactor::Derived { subquery, .. } => {
            let SetExpr::Select(select) = subquery.body.as_ref() else { panic!("{text}") };
            let TableFactor::Table { with_hints, .. } = &select.from[0].relation else { panic!("{text}") };
            table_options(with_hints)
        }
        other => panic!("{other}"),
    };
    let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
    let want = [vec![pair("x", "1"), pair("y", "2")], vec![], vec![pair("z", "3")]];
    assert_eq!(tables(text).iter().map(options).collect::<Vec<_>>(), want);
}

#[test]
fn hints_of_a_query_stay_with_it() {
    let SetExpr::Select(select) = *query("SELECT /*+ BROADCAST(a) */ * FROM a").body else { panic!("no SELECT") };
    let hints: Vec<_> = select.optimizer_hints.iter().map(|hint| hint.text.trim().to_owned()).collect();
    assert_eq!(hints, ["BROADCAST(a)"]);
}
