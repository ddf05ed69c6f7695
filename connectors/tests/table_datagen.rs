//! Tables that are made up: bounds, shares, sequences, and that runs are equal.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod support;
mod tables;

use std::collections::HashSet;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::*;
use arrow_array::{Array, RecordBatch};
use arrow_schema::{DataType, Field, Fields, IntervalUnit, Schema, SchemaRef, TimeUnit};
use proptest::prelude::*;
use tables::{all, batches, error, make, scan, table};
use updraft_connectors::table::Datagen;
use updraft_dataflow::Job;
use updraft_dataflow::connector::{Column, Connector, Scan};

fn schema(fields: &[(&str, DataType)]) -> SchemaRef {
    Arc::new(Schema::new(fields.iter().map(|(name, kind)| Field::new(*name, kind.clone(), true)).collect::<Vec<_>>()))
}

fn of(data_type: DataType, options: &[(&str, &str)]) -> RecordBatch {
    let mut given = vec![("number-of-rows", "2000"), ("rows-per-second", "1000000000")];
    given.extend_from_slice(options);
    all(&Datagen, &table(schema(&[("f", data_type)]), &given))
}

fn list(element: DataType) -> DataType {
    DataType::List(Arc::new(Field::new("element", element, true)))
}

fn map(key: DataType, value: DataType) -> DataType {
    let fields = Fields::from(vec![Field::new("key", key, false), Field::new("value", value, true)]);
    DataType::Map(Arc::new(Field::new("entries", DataType::Struct(fields), false)), false)
}

#[test]
fn every_type_can_be_made() {
    let span = IntervalUnit::MonthDayNano;
    let row = DataType::Struct(
        vec![Field::new("a", DataType::Int32, true), Field::new("b", list(DataType::Utf8View), true)].into(),
    );
    let types = [
        DataType::Boolean,
        DataType::Int8,
        DataType::Int16,
        DataType::Int32,
        DataType::Int64,
        DataType::Float32,
        DataType::Float64,
        DataType::Decimal128(38, 0),
        DataType::Decimal128(32, 2),
        DataType::Decimal128(5, 5),
        DataType::Utf8,
        DataType::LargeUtf8,
        DataType::Utf8View,
        DataType::Binary,
        DataType::LargeBinary,
        DataType::BinaryView,
        DataType::FixedSizeBinary(7),
        DataType::Date32,
        DataType::Time32(TimeUnit::Second),
        DataType::Time32(TimeUnit::Millisecond),
        DataType::Time64(TimeUnit::Microsecond),
        DataType::Time64(TimeUnit::Nanosecond),
        DataType::Timestamp(TimeUnit::Second, None),
        DataType::Timestamp(TimeUnit::Millisecond, Some("UTC".into())),
        DataType::Timestamp(TimeUnit::Microsecond, None),
        DataType::Timestamp(TimeUnit::Nanosecond, None),
        DataType::Interval(IntervalUnit::YearMonth),
        DataType::Interval(span),
        list(DataType::Int64),
        list(list(DataType::Boolean)),
        map(DataType::Int8, list(DataType::Float64)),
        map(DataType::Utf8View, DataType::Utf8View),
        row,
    ];
    for kind in types {
        let batch = of(kind.clone(), &[("fields.f.null-rate", "0.25")]);
        let column = batch.column(0);
        assert_eq!((batch.num_rows(), column.data_type()), (2_000, &kind));
        assert!((400..600).contains(&column.null_count()), "{kind}: {} nulls", column.null_count());
    }
}

#[test]
fn a_bad_type_is_told_with_its_field() {
    let table = table(schema(&[("f", DataType::Duration(TimeUnit::Second))]), &[("number-of-rows", "1")]);
    assert_eq!(error(&Datagen, &table), "field `f`: 'datagen' makes no Duration(s)");
}

proptest! {
    #[test]
    fn whole_numbers_keep_to_their_bounds(a in any::<i64>(), b in any::<i64>(), seed in any::<u64>()) {
        let (min, max) = (a.min(b), a.max(b));
        let (low, high, seed) = (min.to_string(), max.to_string(), seed.to_string());
        let batch = of(DataType::Int64, &[("fields.f.min", &low), ("fields.f.max", &high), ("seed", &seed)]);
        let values = batch.column(0).as_primitive::<Int64Type>().values();
        prop_assert!(values.iter().all(|value| (min..=max).contains(value)));
        // Halves are about even, unless there is hardly anything to halve.
        if max.abs_diff(min) > 1_000 {
            let middle = ((i128::from(min) + i128::from(max)) / 2) as i64;
            let low = values.iter().filter(|value| **value <= middle).count();
            prop_assert!((850..1_150).contains(&low), "{low} of 2000 in the lower half");
        }
    }

    #[test]
    fn floats_keep_to_their_bounds(a in -1e300..1e300, b in -1e300..1e300) {
        let (min, max) = (f64::min(a, b), f64::max(a, b));
        let batch = of(DataType::Float64, &[("fields.f.min", &min.to_string()), ("fields.f.max", &max.to_string())]);
        let values = batch.column(0).as_primitive::<Float64Type>().values();
        prop_assert!(values.iter().all(|value| (min..=max).contains(value)));
        let low = values.iter().filter(|value| **value <= min / 2.0 + max / 2.0).count();
        prop_assert!((850..1_150).contains(&low), "{low} of 2000 in the lower half");
    }

    #[test]
    fn text_has_its_length(length in 0..300_usize, varies: bool) {
        let (most, varies_text) = (length.to_string(), varies.to_string());
        let batch = of(DataType::Utf8View, &[("fields.f.length", &most), ("fields.f.var-len", &varies_text)]);
        let lengths: HashSet<_> = batch.column(0).as_string_view().iter().map(|text| text.unwrap().len()).collect();
        if varies && length > 0 {
            prop_assert!(lengths.iter().all(|len| (1..=length).contains(len)));
            prop_assert!(lengths.len() > length.min(300) / 2, "{} lengths", lengths.len());
        } else {
            prop_assert_eq!(lengths, HashSet::from([length]));
        }
    }

    #[test]
    fn nulls_have_their_share(rate in 0.0..=1.0_f64) {
        let batch = of(DataType::Int32, &[("fields.f.null-rate", &rate.to_string())]);
        let share = batch.column(0).null_count() as f64 / 2_000.0;
        prop_assert!((share - rate).abs() < 0.06, "{share} of {rate}");
    }

    #[test]
    fn rows_do_not_depend_on_batches_or_partitions(batch in 1..3_000_usize, partitions in 1..5_u64) {
        let kinds = schema(&[("a", DataType::Int64), ("b", list(map(DataType::Int8, DataType::Utf8View)))]);
        let rows = [("number-of-rows", "3000"), ("rows-per-second", "1000000000")];
        let base = all(&Datagen, &table(kinds.clone(), &rows));
        let split = partitions.to_string();
        let dealt = table(kinds, &[rows[0], rows[1], ("scan.parallelism", &split)]);
        let scan = Scan { batch, ..scan(&dealt) };
        let parts = support::read_parts(Datagen.source(&dealt, &scan).unwrap(), 10).unwrap();
        prop_assert_eq!(parts.len() as u64, partitions);
        let mut found: Vec<_> = parts.iter().flat_map(|part| &part.records).flat_map(|rows| tables::lines(rows.batch())).collect();
        let mut want = tables::lines(&base);
        found.sort();
        want.sort();
        prop_assert_eq!(found, want);
    }
}

#[test]
fn seeds_and_names_tell_columns_apart() {
    let numbers = |name: &str, seed: &str| {
        let table = table(schema(&[(name, DataType::Int64)]), &[("number-of-rows", "100"), ("seed", seed)]);
        all(&Datagen, &table).column(0).as_primitive::<Int64Type>().values().to_vec()
    };
    assert_eq!(numbers("a", "1"), numbers("a", "1"));
    assert_ne!(numbers("a", "1"), numbers("a", "2"));
    assert_ne!(numbers("a", "1"), numbers("b", "1"));
}

#[test]
fn sequences_end_the_table() {
    let fields =
        [("n", DataType::Int32), ("t", DataType::Utf8View), ("d", DataType::Decimal128(5, 2)), ("r", DataType::Int8)];
    let mut options = vec![("rows-per-second", "1000000")];
    for (name, end) in [("n", "9"), ("t", "107"), ("d", "500")] {
        let start = if name == "t" { "100" } else { "1" };
        options.extend(
            [
                (format!("fields.{name}.kind"), "sequence"),
                (format!("fields.{name}.start"), start),
                (format!("fields.{name}.end"), end),
            ]
            .map(|(k, v)| (&*k.leak(), v)),
        );
    }
    let table = table(schema(&fields), &options);
    assert!(Datagen.is_bounded(&table));
    let batch = all(&Datagen, &table);
    assert_eq!(batch.column(0).as_primitive::<Int32Type>().values(), &[1, 2, 3, 4, 5, 6, 7, 8]);
    assert_eq!(batch.column(1).as_string_view().value(7), "107");
    assert_eq!(batch.column(2).as_primitive::<Decimal128Type>().values()[..2], [100, 200]);
}

#[test]
fn decimals_arrays_and_maps_keep_to_their_options() {
    let batch = of(DataType::Decimal128(10, 2), &[("fields.f.min", "-1.5"), ("fields.f.max", "2.25")]);
    let values = batch.column(0).as_primitive::<Decimal128Type>().values();
    assert!(values.iter().all(|value| (-150..=225).contains(value)));
    let options = [("fields.f.length", "5"), ("fields.f.element.min", "1"), ("fields.f.element.max", "3")];
    let batch = of(list(DataType::Int16), &options);
    let lists = batch.column(0).as_list::<i32>();
    assert!(lists.iter().all(|list| list.unwrap().len() == 5));
    let values: HashSet<_> = lists.values().as_primitive::<Int16Type>().values().iter().copied().collect();
    assert_eq!(values, HashSet::from([1, 2, 3]));
    let options = [
        ("fields.f.length", "10"),
        ("fields.f.key.min", "1"),
        ("fields.f.key.max", "4"),
        ("fields.f.value.length", "2"),
    ];
    let batch = of(map(DataType::Int32, DataType::Utf8View), &options);
    for entries in batch.column(0).as_map().iter() {
        let entries = entries.unwrap();
        let keys: Vec<_> = entries.column(0).as_primitive::<Int32Type>().values().to_vec();
        assert_eq!(keys.iter().collect::<HashSet<_>>().len(), keys.len(), "{keys:?}");
        assert!(keys.iter().all(|key| (1..=4).contains(key)));
        assert!(entries.column(1).as_string_view().iter().all(|text| text.unwrap().len() == 2));
    }
}

#[test]
fn times_follow_the_start_time() {
    let second = 1_577_836_800_000;
    let kind = DataType::Timestamp(TimeUnit::Millisecond, None);
    let options = [("number-of-rows", "100"), ("rows-per-second", "10000"), ("start-time", "2020-01-01 00:00:00")];
    let batch = all(&Datagen, &table(schema(&[("f", kind.clone()), ("d", DataType::Date32)]), &options));
    let want: Vec<i64> = (0..100).map(|row| second + row / 10).collect();
    assert_eq!(batch.column(0).as_primitive::<TimestampMillisecondType>().values(), &want[..]);
    assert!(batch.column(1).as_primitive::<Date32Type>().values().iter().all(|day| *day == 18_262));
    let past = [options[0], options[1], options[2], ("fields.f.max-past", "1 min")];
    let batch = all(&Datagen, &table(schema(&[("f", kind)]), &past));
    let values = batch.column(0).as_primitive::<TimestampMillisecondType>().values();
    assert!(values.iter().all(|t| (second - 60_000..=second + 10).contains(t)));
    assert!(values.iter().any(|t| *t < second - 20_000));
}

#[test]
fn only_what_is_asked_for_is_made() {
    let table = table(schema(&[("a", DataType::Int32), ("b", DataType::Utf8View)]), &[("number-of-rows", "10")]);
    let wanted = schema(&[("b", DataType::Utf8View)]);
    let scan = Scan { schema: wanted.clone(), columns: vec![Column::Physical(1)], batch: 4 };
    let made = batches(Datagen.source(&table, &scan).unwrap());
    assert!(made.iter().all(|batch| batch.schema() == wanted));
    let both = all(&Datagen, &table);
    assert_eq!(made.iter().map(RecordBatch::num_rows).sum::<usize>(), 10);
    assert_eq!(made[0].column(0).as_ref(), both.column(1).slice(0, made[0].num_rows()).as_ref());
    let none = Scan { schema: Arc::new(Schema::empty()), columns: Vec::new(), batch: 100 };
    assert_eq!(batches(Datagen.source(&table, &none).unwrap()).iter().map(RecordBatch::num_rows).sum::<usize>(), 10);
}

#[test]
fn wrong_options_are_told_with_their_remedy() {
    let of = |kind: DataType, options: &[(&str, &str)]| {
        let mut given = vec![("number-of-rows", "10")];
        given.extend_from_slice(options);
        error(&Datagen, &table(schema(&[("f", kind)]), &given))
    };
    assert_eq!(
        of(DataType::Int32, &[("fields.f.mim", "1")]),
        "table `t`: no option 'fields.f.mim': did you mean 'fields.f.min'?"
    );
    assert_eq!(
        of(DataType::Int32, &[("fields.zebra.null-rate", "1")]),
        "table `t`: no option 'fields.zebra.null-rate': the table has no such field"
    );
    assert_eq!(
        of(DataType::Int8, &[("fields.f.max", "300")]),
        "option 'fields.f.max' = '300': not a whole number of the field's type"
    );
    assert_eq!(
        of(DataType::Int8, &[("fields.f.min", "3"), ("fields.f.max", "2")]),
        "field `f`: 'min' is more than 'max'"
    );
    assert_eq!(
        of(DataType::Int8, &[("fields.f.kind", "odd")]),
        "option 'fields.f.kind' = 'odd': neither 'random' nor 'sequence'"
    );
    assert!(
        of(DataType::Int8, &[("fields.f.kind", "sequence"), ("fields.f.start", "1")])
            .contains("'fields.f.end' is missing")
    );
    let sequence = [("fields.f.kind", "sequence"), ("fields.f.start", "1"), ("fields.f.end", "200")];
    assert_eq!(of(DataType::Int8, &sequence), "field `f`: 'start' and 'end' must be from -128 to 127");
    assert_eq!(
        of(list(DataType::Utf8View), &[("fields.f.length", "1000")]),
        "field `f.element`: more than 65536 in a row: give it a smaller 'length'"
    );
    assert!(of(DataType::Int8, &[("rows-per-second", "0")]).contains("more than 0"));
    let endless = tables::bounded(table(schema(&[("f", DataType::Int32)]), &[]));
    assert!(error(&Datagen, &endless).contains("give its 'number-of-rows'"));
    let strict = Arc::new(Schema::new(vec![Field::new("f", DataType::Int32, false)]));
    assert!(error(&Datagen, &table(strict, &[("fields.f.null-rate", "0.5")])).contains("NOT NULL"));
}

#[test]
fn a_job_reads_all_partitions() {
    let table = table(
        schema(&[("f", DataType::Int64)]),
        &[("number-of-rows", "50000"), ("rows-per-second", "100000000"), ("scan.parallelism", "3")],
    );
    let source = make(&Datagen, &table);
    let (sink, collected) = updraft_connectors::Collect::new();
    let job = Job::new("made up");
    job.source("rows", source).stream().sink("all", sink);
    job.run().unwrap();
    assert_eq!(collected.take().iter().map(updraft_dataflow::Rows::len).sum::<usize>(), 50_000);
}
