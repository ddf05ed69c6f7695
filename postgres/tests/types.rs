//! Values of all types, written and read again; and what is wrong with those that cannot be.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod support;

#[path = "../../connectors/tests/support/batches.rs"]
mod batches;

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::TimestampNanosecondType;
use arrow_array::{ArrayRef, Int64Array, PrimitiveArray, RecordBatch, StringViewArray};
use arrow_schema::{DataType, Field, Schema, TimeUnit};
use batches::Random;
use support::{lines, read, read_all, schema, table, write};
use updraft_dataflow::Rows;
use updraft_dataflow::connector::Connector;
use updraft_postgres::table::Jdbc;
use updraft_postgres::testing::Cluster;
use updraft_postgres::{TableName, TableSink, TableSource};

fn name(text: &str) -> TableName {
    TableName::parse(text).unwrap()
}

/// The type that a column of the database has.
fn declared(data_type: &DataType) -> String {
    match data_type {
        DataType::Boolean => "boolean".into(),
        DataType::Int8 | DataType::Int16 => "smallint".into(),
        DataType::Int32 => "integer".into(),
        DataType::Int64 => "bigint".into(),
        DataType::Float32 => "real".into(),
        DataType::Float64 => "double precision".into(),
        DataType::Decimal128(precision, scale) => format!("numeric({precision}, {scale})"),
        DataType::Utf8View => "text".into(),
        DataType::BinaryView => "bytea".into(),
        DataType::Date32 => "date".into(),
        DataType::Time32(_) => "time".into(),
        DataType::Timestamp(_, None) => "timestamp".into(),
        DataType::Timestamp(_, Some(_)) => "timestamptz".into(),
        DataType::Interval(_) => "interval".into(),
        DataType::List(item) if !item.data_type().is_nested() => format!("{}[]", declared(item.data_type())),
        _ => "jsonb".into(),
    }
}

/// What the server keeps of a batch: microseconds.
fn kept(batch: &RecordBatch) -> RecordBatch {
    let column = |column: &ArrayRef| match column.data_type() {
        DataType::Timestamp(TimeUnit::Nanosecond, _) => {
            let cut = column.as_primitive::<TimestampNanosecondType>();
            let cut: PrimitiveArray<TimestampNanosecondType> = cut.unary(|nanos| nanos.div_euclid(1_000) * 1_000);
            Arc::new(cut.with_data_type(column.data_type().clone()))
        }
        _ => column.clone(),
    };
    RecordBatch::try_new(batch.schema(), batch.columns().iter().map(column).collect()).unwrap()
}

#[test]
fn values_of_all_types_come_back() {
    let cluster = Cluster::start();
    let keeps = |data_type: &DataType| !matches!(data_type, DataType::Timestamp(TimeUnit::Nanosecond, _));
    let lists = batches::scalars().into_iter().filter(keeps).map(batches::list);
    let types: Vec<_> =
        batches::scalars().into_iter().chain(lists).chain(batches::nested()).chain(batches::intervals()).collect();
    for seed in 0..40 {
        let mut random = Random::new(seed);
        // Some of them, with a number before.
        let some: Vec<_> = types.iter().filter(|_| random.below(4) == 0).cloned().collect();
        let values = batches::batch(&batches::schema(some), 1 + random.below(40) as usize, &mut random);
        let ids: ArrayRef = Arc::new(Int64Array::from_iter_values(0..values.num_rows() as i64));
        let fields = values.schema().fields().to_vec();
        let id = Arc::new(Field::new("id", DataType::Int64, false));
        let with_id = Arc::new(Schema::new([vec![id], fields].concat()));
        let columns = [vec![ids], values.columns().to_vec()].concat();
        let batch = RecordBatch::try_new(with_id.clone(), columns).unwrap();
        let mut create = "DROP TABLE IF EXISTS t; CREATE TABLE t (id bigint PRIMARY KEY".to_owned();
        for field in with_id.fields().iter().skip(1) {
            let not_null = if field.is_nullable() { "" } else { " NOT NULL" };
            create.push_str(&format!(", {} {}{not_null}", field.name(), declared(field.data_type())));
        }
        cluster.sql(&(create + ")"));
        let sink = TableSink::new(cluster.server(), name("t"), with_id.clone()).rows(1 + random.below(30) as usize);
        let sink = if random.below(2) == 0 { sink } else { sink.primary_key(vec![0]) };
        let cut = random.below(batch.num_rows() as u64) as usize;
        let parts = [batch.slice(0, cut), batch.slice(cut, batch.num_rows() - cut)];
        write(sink, parts.into_iter().map(Rows::from).collect()).unwrap();
        let back = read_all(TableSource::new(cluster.server(), name("public.t"), with_id.clone()), &with_id);
        let expected = kept(&batch);
        for (column, (back, expected)) in back.columns().iter().zip(expected.columns()).enumerate() {
            assert_eq!(back, expected, "seed {seed}, {}", with_id.field(column));
        }
    }
}

#[test]
fn what_else_the_database_has_is_text() {
    let cluster = Cluster::start();
    cluster.sql(
        "CREATE TYPE mood AS ENUM ('glad', 'sad'); CREATE DOMAIN word AS text CHECK (length(value) < 9);
         CREATE TABLE t (id int PRIMARY KEY, u uuid, j json, b jsonb, m mood, ms mood[], i inet, w word, v varchar(5), c char(5), n numeric, us uuid[])",
    );
    let columns = ["u", "j", "b", "m", "i", "w", "v", "c"].map(|name| (name, DataType::Utf8View));
    let lists = [("ms", batches::list(DataType::Utf8View)), ("us", batches::list(DataType::Utf8View))];
    let numbers = [("id!", DataType::Int32), ("n", DataType::Decimal128(38, 18))];
    let schema = schema(&[&numbers[..], &columns, &lists].concat());
    // The columns that the database says are the same, in its order.
    let inferred = Jdbc.infer(&table(schema.clone(), &[("url", &cluster.url()), ("table-name", "t")])).unwrap();
    assert_eq!(inferred.fields().len(), 12);
    for field in schema.fields() {
        assert_eq!(inferred.field_with_name(field.name()).unwrap(), &**field);
    }
    cluster.sql(
        "INSERT INTO t VALUES (1, '00000000-0000-0000-0000-00000000000a', '{\"a\" : 1}', '{\"a\" : 1}', 'sad', '{glad,NULL}', '10.0.0.1', 'w', 'v', 'c', 1.5, '{}'); INSERT INTO t (id) VALUES (2)",
    );
    let read_back = || read_all(TableSource::new(cluster.server(), name("t"), schema.clone()), &schema);
    let batch = read_back();
    let u = "00000000-0000-0000-0000-00000000000a";
    let first = format!("1|1.500000000000000000|{u}|{{\"a\" : 1}}|{{\"a\": 1}}|sad|10.0.0.1|w|v|c    |[glad, NULL]|[]");
    assert_eq!(lines(&batch), [first, "2|NULL|NULL|NULL|NULL|NULL|NULL|NULL|NULL|NULL|NULL|NULL".into()]);
    cluster.sql("TRUNCATE t");
    write(TableSink::new(cluster.server(), name("t"), schema.clone()), vec![batch.clone().into()]).unwrap();
    assert_eq!(read_back(), batch);
}

#[test]
fn a_row_that_is_refused_is_told_with_its_column() {
    let cluster = Cluster::start();
    cluster.sql(
        "CREATE TABLE t (id bigint PRIMARY KEY, small smallint, name varchar(5), must text NOT NULL, u uuid, CHECK (small <> 13))",
    );
    let schema = schema(&[
        ("id!", DataType::Int64),
        ("small", DataType::Int64),
        ("name", DataType::Utf8View),
        ("must", DataType::Utf8View),
        ("u", DataType::Utf8View),
    ]);
    let text = |text: Option<&str>| -> ArrayRef { Arc::new(StringViewArray::from_iter([Some("a"), text, Some("b")])) };
    let fine = "00000000-0000-0000-0000-000000000000";
    let wrong = |id: i64, small: i64, name: &str, must: Option<&str>, uuid: &str| {
        let ids: ArrayRef = Arc::new(Int64Array::from_iter_values([1, id, 3]));
        let smalls: ArrayRef = Arc::new(Int64Array::from_iter_values([1, small, 1]));
        let uuids: ArrayRef = Arc::new(StringViewArray::from_iter_values([fine, uuid, fine]));
        let columns = vec![ids, smalls, text(Some(name)), text(must), uuids];
        let batch = RecordBatch::try_new(schema.clone(), columns).unwrap();
        let sink = TableSink::new(cluster.server(), name_of(), schema.clone());
        let error = write(sink, vec![batch.into()]).unwrap_err().to_string();
        assert_eq!(cluster.sql("SELECT count(*) FROM t"), "0", "{error}");
        error
    };
    fn name_of() -> TableName {
        TableName::parse("t").unwrap()
    }
    for (error, parts) in [
        (wrong(2, 99_999, "b", Some("b"), fine), ["row 2 ", "column `small`", "out of range", "small = 99999"]),
        (wrong(2, 1, "longer", Some("b"), fine), ["row 2 ", "column `name`", "too long", "name = longer"]),
        (wrong(2, 1, "b", None, fine), ["row 2 ", "column `must`", "null value", "id = 2"]),
        (wrong(2, 1, "b", Some("b"), "nonsense"), ["row 2 ", "column `u`", "uuid", "u = nonsense"]),
        (wrong(1, 1, "b", Some("b"), fine), ["row 2 ", "duplicate key", "t_pkey", "id = 1"]),
        (wrong(2, 13, "b", Some("b"), fine), ["row 2 ", "check constraint", "small = 13", "23514"]),
        (wrong(2, 1, "b\0", Some("b"), fine), ["row 2 ", "column `name`", "zero byte", "table \"public\".\"t\""]),
    ] {
        for part in parts {
            assert!(error.contains(part), "{error}");
        }
    }
}

#[test]
fn tables_that_are_not_as_declared_are_told_before_a_row_is_written() {
    let cluster = Cluster::start();
    cluster
        .sql("CREATE TABLE t (id bigint, twice bigint GENERATED ALWAYS AS (id * 2) STORED, must int NOT NULL, x int)");
    let int = DataType::Int64;
    let error = |columns: &[(&str, DataType)], key: Vec<usize>, at: &str| {
        let batch = RecordBatch::new_empty(schema(columns));
        let one = arrow_select::concat::concat_batches(
            &batch.schema(),
            &[RecordBatch::try_new(
                Arc::new(Schema::new(
                    batch.schema().fields().iter().map(|f| f.as_ref().clone().with_nullable(true)).collect::<Vec<_>>(),
                )),
                batch.columns().iter().map(|c| arrow_array::new_null_array(c.data_type(), 1)).collect(),
            )
            .unwrap()],
        );
        let sink = TableSink::new(cluster.server(), name(at), schema(columns)).primary_key(key);
        write(sink, vec![one.unwrap().into()]).unwrap_err().to_string()
    };
    assert!(error(&[("id", int.clone())], vec![], "nowhere").contains("no table \"nowhere\" in the database"));
    let told = error(&[("idd", int.clone()), ("must", int.clone())], vec![], "t");
    assert!(told.contains("no column `idd`: did you mean `id`?"), "{told}");
    let told = error(&[("id", int.clone())], vec![], "t");
    assert!(told.contains("`must` is NOT NULL, has no default"), "{told}");
    let told = error(&[("twice", int.clone()), ("must", int.clone())], vec![], "t");
    assert!(told.contains("`twice` is generated"), "{told}");
    let told = error(&[("id", int.clone()), ("must", int)], vec![0], "t");
    assert!(
        told.contains("no primary key or unique index of just \"id\"") && told.contains("ADD PRIMARY KEY"),
        "{told}"
    );
    // And what cannot be read.
    cluster.sql("INSERT INTO t (id, must, x) VALUES (1, 2, NULL); ALTER TABLE t ADD big numeric DEFAULT 'NaN'");
    let read_as = |column: &str, data_type: DataType| {
        let source = TableSource::new(cluster.server(), name("t"), schema(&[(column, data_type)]));
        read(source).unwrap_err().to_string()
    };
    assert!(read_as("y", DataType::Int32).contains("no column `y`"));
    let told = read_as("big", DataType::Decimal128(10, 2));
    assert!(told.contains("row 1, column `big`: 'NaN' is no Decimal128(10, 2)"), "{told}");
}
