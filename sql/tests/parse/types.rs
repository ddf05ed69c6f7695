//! Types: as Arrow's, and back.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Fields, IntervalUnit, TimeUnit};
use datafusion_expr::planner::TypePlanner;
use datafusion_sql::sqlparser::ast::{Expr, SelectItem, SetExpr};
use proptest::prelude::*;
use updraft_sql::parse::{FlinkType, FlinkTypes, SqlType, Statement};

fn list(item: DataType, nullable: bool) -> DataType {
    DataType::List(Arc::new(Field::new_list_field(item, nullable)))
}

fn map(key: DataType, value: DataType, nullable: bool) -> DataType {
    let fields = vec![Field::new("key", key, false), Field::new("value", value, nullable)];
    DataType::Map(Arc::new(Field::new("entries", DataType::Struct(Fields::from(fields)), false)), false)
}

fn row(fields: &[(&str, DataType, bool)]) -> DataType {
    let field = |(name, of, nullable): &(&str, DataType, bool)| Field::new(*name, of.clone(), *nullable);
    DataType::Struct(fields.iter().map(field).collect())
}

#[test]
fn types_are_those_of_arrow() {
    use DataType::{
        BinaryView, Boolean, Date32, Decimal128, Float32, Float64, Int8, Int16, Int32, Int64, Null, Utf8View,
    };
    use TimeUnit::{Microsecond, Millisecond, Nanosecond, Second};
    let local = |unit| DataType::Timestamp(unit, Some("UTC".into()));
    let plain = |unit| DataType::Timestamp(unit, None);
    let cases = [
        ("CHAR", Utf8View),
        ("CHAR(3)", Utf8View),
        ("CHARACTER VARYING(3)", Utf8View),
        ("VARCHAR(2147483647)", Utf8View),
        ("string", Utf8View),
        ("BOOLEAN", Boolean),
        ("BYTES", BinaryView),
        ("BINARY(4)", BinaryView),
        ("VARBINARY(4)", BinaryView),
        ("DECIMAL", Decimal128(10, 0)),
        ("DEC(5)", Decimal128(5, 0)),
        ("NUMERIC(38, 18)", Decimal128(38, 18)),
        ("TINYINT", Int8),
        ("SMALLINT", Int16),
        ("INT", Int32),
        ("INTEGER", Int32),
        ("BIGINT", Int64),
        ("FLOAT", Float32),
        ("DOUBLE", Float64),
        ("DOUBLE PRECISION", Float64),
        ("DATE", Date32),
        ("TIME", DataType::Time32(Millisecond)),
        ("TIME(3) WITHOUT TIME ZONE", DataType::Time32(Millisecond)),
        ("TIMESTAMP", plain(Microsecond)),
        ("TIMESTAMP(0)", plain(Second)),
        ("TIMESTAMP(2)", plain(Millisecond)),
        ("TIMESTAMP(3) WITHOUT TIME ZONE", plain(Millisecond)),
        ("TIMESTAMP(9)", plain(Nanosecond)),
        ("TIMESTAMP_LTZ", local(Microsecond)),
        ("TIMESTAMP_LTZ(3)", local(Millisecond)),
        ("TIMESTAMP(3) WITH LOCAL TIME ZONE", local(Millisecond)),
        ("INTERVAL YEAR", DataType::Interval(IntervalUnit::YearMonth)),
        ("INTERVAL YEAR(4) TO MONTH", DataType::Interval(IntervalUnit::YearMonth)),
        ("INTERVAL DAY(2) TO SECOND(3)", DataType::Interval(IntervalUnit::MonthDayNano)),
        ("INTERVAL MINUTE", DataType::Interval(IntervalUnit::MonthDayNano)),
        ("ARRAY<INT>", list(Int32, true)),
        ("INT ARRAY", list(Int32, true)),
        ("INT NOT NULL ARRAY", list(Int32, false)),
        ("ARRAY<ARRAY<INT NOT NULL>>", list(list(Int32, false), true)),
        ("MAP<STRING, ARRAY<INT>>", map(Utf8View, list(Int32, true), true)),
        ("MULTISET<STRING>", map(Utf8View, Int32, false)),
        ("STRING MULTISET", map(Utf8View, Int32, false)),
        ("ROW<>", row(&[])),
        ("ROW<a INT 'the first', `b c` STRING NOT NULL>", row(&[("a", Int32, true), ("b c", Utf8View, false)])),
        (
            "ROW(a ROW<b INT>, c MAP<INT, INT>)",
            row(&[("a", row(&[("b", Int32, true)]), true), ("c", map(Int32, Int32, true), true)]),
        ),
        ("NULL", Null),
    ];
    for (text, data_type) in cases {
        let parsed: SqlType = text.parse().unwrap_or_else(|error| panic!("{text}: {error}"));
        assert_eq!(parsed, SqlType { data_type, nullable: true }, "{text}");
        let strict: SqlType = format!("{text} NOT NULL").parse().unwrap();
        assert_eq!(strict, SqlType { nullable: false, ..parsed }, "{text}");
    }
}

#[test]
fn what_is_no_type_is_told() {
    let cases = [
        ("STRNG", "unknown type STRNG\ndid you mean STRING? at Line: 1, Column: 1"),
        (
            "DECIMAL(39, 0)",
            "DECIMAL(39, 0): of 1 to 38 digits, as many or fewer are after the point at Line: 1, Column: 1",
        ),
        (
            "DECIMAL(3, 4)",
            "DECIMAL(3, 4): of 1 to 38 digits, as many or fewer are after the point at Line: 1, Column: 1",
        ),
        ("TIMESTAMP(10)", "at most 9 digits of a second are kept at Line: 1, Column: 11"),
        (
            "TIMESTAMP WITH TIME ZONE",
            "TIMESTAMP WITH TIME ZONE is not supported\nuse TIMESTAMP_LTZ at Line: 1, Column: 1",
        ),
        ("ARRAY<RAW('a', 'b')>", "RAW types are not supported at Line: 1, Column: 7"),
        ("CHAR(0)", "a length is at least 1 at Line: 1, Column: 6"),
        ("ARRAY<INT", "Expected: >, found: EOF"),
        ("INT INT", "Expected: EOF, found: INT at Line: 1, Column: 5"),
        ("INTERVAL", "Expected: the interval's unit, as in INTERVAL DAY TO SECOND, found: EOF"),
        ("VARIANT", "VARIANT types are not supported at Line: 1, Column: 1"),
    ];
    for (text, said) in cases {
        let error = text.parse::<SqlType>().unwrap_err().to_string();
        assert_eq!(error, format!("sql parser error: {said}"), "{text}");
    }
}

#[test]
fn types_of_casts_are_planned() {
    let cases = [
        ("CAST(x AS ROW<a INT, b STRING>)", row(&[("a", DataType::Int32, true), ("b", DataType::Utf8View, true)])),
        ("TRY_CAST(x AS MAP<STRING, ARRAY<INT>>)", map(DataType::Utf8View, list(DataType::Int32, true), true)),
        ("CAST(x AS TIMESTAMP_LTZ(3))", DataType::Timestamp(TimeUnit::Millisecond, Some("UTC".into()))),
        ("CAST(x AS INT NOT NULL)", DataType::Int32),
        ("CAST(x AS BYTES)", DataType::BinaryView),
        ("DATE '2024-05-01'", DataType::Date32),
        ("TIME '12:00:00'", DataType::Time32(TimeUnit::Millisecond)),
        ("TIMESTAMP '2024-05-01 12:00:00'", DataType::Timestamp(TimeUnit::Second, None)),
        ("TIMESTAMP '2024-05-01 12:00:00.12'", DataType::Timestamp(TimeUnit::Millisecond, None)),
        ("TIMESTAMP_LTZ '2024-05-01 12:00:00.123456'", DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))),
    ];
    for (text, data_type) in cases {
        let sql_type = match projection(&format!("SELECT {text}")) {
            Expr::Cast { data_type, .. } => data_type,
            Expr::TypedString(typed) => typed.data_type,
            other => panic!("{text}: {other}"),
        };
        let field = FlinkTypes.plan_type_field(&sql_type).unwrap().unwrap();
        assert_eq!(field.data_type(), &data_type, "{text}");
    }
}

fn projection(text: &str) -> Expr {
    let Statement::Query(query) = crate::one(text).value else { panic!("{text} is no query") };
    let SetExpr::Select(select) = *query.body else { panic!("{text} is no SELECT") };
    match select.projection.into_iter().next() {
        Some(SelectItem::UnnamedExpr(expr)) => expr,
        other => panic!("{text}: {other:?}"),
    }
}

/// Types that Flink has words for.
fn flink_types() -> impl Strategy<Value = DataType> {
    use TimeUnit::{Microsecond, Millisecond, Nanosecond, Second};
    let unit = prop::sample::select(vec![Second, Millisecond, Microsecond, Nanosecond]);
    let simple = prop::sample::select(vec![
        DataType::Null,
        DataType::Boolean,
        DataType::Int8,
        DataType::Int16,
        DataType::Int32,
        DataType::Int64,
        DataType::Float32,
        DataType::Float64,
        DataType::Utf8View,
        DataType::BinaryView,
        DataType::Date32,
        DataType::Time32(Millisecond),
        DataType::Interval(IntervalUnit::YearMonth),
        DataType::Interval(IntervalUnit::MonthDayNano),
    ]);
    let decimal = (1..=38_u8)
        .prop_flat_map(|digits| (Just(digits), 0..=digits as i8))
        .prop_map(|(p, s)| DataType::Decimal128(p, s));
    let moment = (unit, any::<bool>()).prop_map(|(unit, local)| DataType::Timestamp(unit, local.then(|| "UTC".into())));
    prop_oneof![simple, decimal, moment].prop_recursive(4, 20, 4, |inner| {
        let nullable = || (inner.clone(), any::<bool>());
        prop_oneof![
            nullable().prop_map(|(item, nullable)| list(item, nullable)),
            (inner.clone(), nullable()).prop_map(|(key, (value, nullable))| map(key, value, nullable)),
            prop::collection::vec(("[a-z` ]{1,4}", nullable()), 0..4).prop_map(|fields| {
                let fields = fields.into_iter().map(|(name, (of, nullable))| Field::new(name, of, nullable));
                DataType::Struct(fields.collect())
            }),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn types_in_words_are_read_as_the_same(data_type in flink_types()) {
        let text = FlinkType(&data_type).to_string();
        let parsed: SqlType = text.parse().unwrap_or_else(|error| panic!("{text}: {error}"));
        prop_assert_eq!(parsed.data_type, data_type);
    }
}
