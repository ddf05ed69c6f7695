//! Messages of Protocol Buffers, against bytes that were put together by hand and messages of another library.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::path::Path;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{Int32Type, Int64Type, TimestampMillisecondType};
use arrow_array::{Array, ArrayRef, RecordBatch, StructArray};
use arrow_schema::{DataType, Field, Schema, SchemaRef, TimeUnit};
use prost_reflect::prost::Message as _;
use prost_reflect::{DynamicMessage, MapKey, ReflectMessage, Value};
use updraft_connectors::message::{Formats, Message};
use updraft_dataflow::connector::{Column, Scan};
use updraft_dataflow::{Batch, Rows};

mod support;
mod tables;

use tables::table;

const PROTO: &str = r#"
    syntax = "proto3";
    package shop;
    import "common.proto";
    import "google/protobuf/timestamp.proto";
    import "google/protobuf/wrappers.proto";
    message Order {
        int32 id = 1;
        optional string name = 2;
        Kind kind = 3;
        repeated int32 counts = 4;
        map<string, common.Money> prices = 5;
        google.protobuf.Timestamp at = 6;
        common.Money total = 7;
        google.protobuf.StringValue note = 8;
        uint64 large = 9;
        oneof which { int64 left = 10; string right = 11; }
        message Nested { bool x = 1; }
        repeated Nested nested = 12;
    }
    enum Kind { NONE = 0; GOOD = 1; BAD = 2; }
"#;

const COMMON: &str = r#"
    syntax = "proto2";
    package common;
    message Money { required int64 units = 1; optional string currency = 2 [default = "EUR"]; }
"#;

/// The schema's folder, its file and a file of its descriptors.
fn files() -> (tempfile::TempDir, String, String) {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("order.proto"), PROTO).unwrap();
    std::fs::write(folder.path().join("common.proto"), COMMON).unwrap();
    let proto = folder.path().join("order.proto");
    let set = protox::compile([&proto], [folder.path()]).unwrap();
    let descriptors = folder.path().join("order.bin");
    std::fs::write(&descriptors, set.encode_to_vec()).unwrap();
    let name = |path: &Path| path.to_str().unwrap().to_owned();
    let (proto, descriptors) = (name(&proto), name(&descriptors));
    (folder, proto, descriptors)
}

fn money() -> DataType {
    DataType::Struct(
        vec![Field::new("units", DataType::Int64, true), Field::new("currency", DataType::Utf8View, true)].into(),
    )
}

fn columns() -> SchemaRef {
    let pair = vec![Field::new("key", DataType::Utf8View, false), Field::new("value", money(), true)];
    let nested = DataType::Struct(vec![Field::new("x", DataType::Boolean, true)].into());
    Arc::new(Schema::new(vec![
        Field::new("id", DataType::Int32, true),
        Field::new("name", DataType::Utf8View, true),
        Field::new("kind", DataType::Utf8View, true),
        Field::new("counts", DataType::List(Arc::new(Field::new("item", DataType::Int32, true))), true),
        Field::new(
            "prices",
            DataType::Map(Arc::new(Field::new("entries", DataType::Struct(pair.into()), false)), false),
            true,
        ),
        Field::new("at", DataType::Timestamp(TimeUnit::Millisecond, None), true),
        Field::new("total", money(), true),
        Field::new("note", DataType::Utf8View, true),
        Field::new("large", DataType::Decimal128(20, 0), true),
        Field::new("left", DataType::Int64, true),
        Field::new("right", DataType::Utf8View, true),
        Field::new("nested", DataType::List(Arc::new(Field::new("item", nested, true))), true),
    ]))
}

fn formats(schema: &SchemaRef, path: &str, more: &[(&str, &str)]) -> Formats {
    let options = [("format", "protobuf"), ("protobuf.schema", path), ("protobuf.message", "shop.Order")];
    Formats::of(&table(schema.clone(), &[&options[..], more].concat())).unwrap()
}

fn now<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(work)
}

fn decode(formats: &Formats, schema: &SchemaRef, messages: &[Vec<u8>]) -> Batch<Rows> {
    let columns = (0..schema.fields().len()).map(Column::Physical).collect();
    let mut decoder = formats.decoder(&Scan { schema: schema.clone(), columns, batch: 100 }).unwrap();
    let origin = Arc::from("orders/3");
    for (offset, value) in (0..).zip(messages) {
        now(decoder.push(&Message { origin: &origin, offset, key: None, value: Some(value) })).unwrap();
    }
    decoder.take(|_| unreachable!()).unwrap().unwrap()
}

/// An order of another library's, all of whose fields are set.
fn order(path: &Path) -> DynamicMessage {
    let pool = protox::Compiler::new([path.parent().unwrap()])
        .unwrap()
        .include_imports(true)
        .open_file(path)
        .unwrap()
        .descriptor_pool();
    let object = |name: &str, fields: &[(&str, Value)]| {
        let mut object = DynamicMessage::new(pool.get_message_by_name(name).unwrap());
        fields.iter().for_each(|(name, value)| object.set_field_by_name(name, value.clone()));
        object
    };
    let money = |units: i64| {
        Value::Message(object(
            "common.Money",
            &[("units", Value::I64(units)), ("currency", Value::String("USD".into()))],
        ))
    };
    let prices = [("b", 2), ("a", 1)].map(|(name, units)| (MapKey::String(name.into()), money(units)));
    let time = object("google.protobuf.Timestamp", &[("seconds", Value::I64(-1)), ("nanos", Value::I32(5_000_000))]);
    object(
        "shop.Order",
        &[
            ("id", Value::I32(-7)),
            ("name", Value::String("ü".into())),
            ("kind", Value::EnumNumber(2)),
            ("counts", Value::List(vec![Value::I32(0), Value::I32(i32::MIN)])),
            ("prices", Value::Map(prices.into_iter().collect())),
            ("at", Value::Message(time)),
            ("total", money(3)),
            ("note", Value::Message(object("google.protobuf.StringValue", &[("value", Value::String("n".into()))]))),
            ("large", Value::U64(u64::MAX)),
            ("right", Value::String(String::new())),
            ("nested", Value::List(vec![Value::Message(object("shop.Order.Nested", &[("x", Value::Bool(true))]))])),
        ],
    )
}

#[test]
fn another_librarys_messages_are_read_and_written() {
    let (_folder, proto, descriptors) = files();
    let theirs = order(Path::new(&proto));
    for path in [&proto, &descriptors] {
        let formats = formats(&columns(), path, &[]);
        let got = decode(&formats, &columns(), &[theirs.encode_to_vec()]);
        assert_eq!(got.rejected, []);
        let batch = got.records.as_slice()[0].batch();
        assert_eq!(batch.column(0).as_primitive::<Int32Type>().value(0), -7);
        assert_eq!(batch.column(1).as_string_view().value(0), "ü");
        assert_eq!(batch.column(2).as_string_view().value(0), "BAD");
        assert_eq!(batch.column(3).as_list::<i32>().value(0).as_primitive::<Int32Type>().values(), &[0, i32::MIN]);
        let prices = batch.column(4).as_map().value(0);
        assert_eq!(prices.column(0).as_string_view().iter().collect::<Vec<_>>(), [Some("a"), Some("b")]);
        assert_eq!(prices.column(1).as_struct().column(0).as_primitive::<Int64Type>().values(), &[1, 2]);
        assert_eq!(batch.column(5).as_primitive::<TimestampMillisecondType>().value(0), -995);
        assert_eq!(batch.column(6).as_struct().column(1).as_string_view().value(0), "USD");
        assert_eq!(batch.column(7).as_string_view().value(0), "n");
        assert_eq!(batch.column(8).as_primitive::<arrow_array::types::Decimal128Type>().value(0), i128::from(u64::MAX));
        assert!(
            batch.column(9).is_null(0)
                && batch.column(10).as_string_view().value(0).is_empty()
                && batch.column(10).is_valid(0)
        );
        assert!(batch.column(11).as_list::<i32>().value(0).as_struct().column(0).as_boolean().value(0));
        let written = now(formats.encoder().unwrap().encode(&got.records.as_slice()[0])).unwrap();
        let ours = DynamicMessage::decode(theirs.descriptor(), written[0].value.clone().unwrap()).unwrap();
        assert_eq!(ours, theirs);
    }
}

#[test]
fn what_is_absent_is_null_or_a_default() {
    let (_folder, proto, _) = files();
    let nulls = |more: &[(&str, &str)]| {
        let got = decode(&formats(&columns(), &proto, more), &columns(), &[Vec::new()]);
        let batch = got.records.as_slice()[0].batch().clone();
        (batch.columns().iter().map(|column| column.is_null(0)).collect::<Vec<_>>(), batch)
    };
    // Scalars of proto3 that are not optional are never absent.
    let (absent, batch) = nulls(&[]);
    assert_eq!(absent, [false, true, false, true, true, true, true, true, false, true, true, true]);
    assert_eq!(
        (batch.column(0).as_primitive::<Int32Type>().value(0), batch.column(2).as_string_view().value(0)),
        (0, "NONE")
    );
    let (absent, batch) = nulls(&[("protobuf.read-default-values", "true")]);
    assert_eq!(absent, [false; 12]);
    assert_eq!(batch.column(6).as_struct().column(1).as_string_view().value(0), "EUR");
}

#[test]
fn bytes_by_hand_are_read_and_bad_ones_told() {
    let (_folder, proto, _) = files();
    let schema = Arc::new(columns().project(&[0, 2, 1]).unwrap());
    let messages: [&[u8]; 8] = [
        // 1: varint 150; 3: varint 1; 99: what is not known.
        &[0x08, 0x96, 0x01, 0x18, 0x01, 0x98, 0x06, 0x05],
        // Cut off.
        &[0x08, 0x96],
        // 2: not UTF-8.
        &[0x12, 0x01, 0xFF],
        // An enum that is not known.
        &[0x18, 0x09],
        // Another wire type.
        &[0x0A, 0x01, 0x00],
        // Field 0.
        &[0x00, 0x00],
        // A length that is not there.
        &[0x12, 0xFF, 0xFF, 0xFF, 0xFF, 0x0F],
        &[],
    ];
    let messages: Vec<Vec<u8>> = messages.iter().map(|message| message.to_vec()).collect();
    let got = decode(&formats(&schema, &proto, &[]), &schema, &messages);
    let batch = got.records.as_slice()[0].batch();
    assert_eq!(batch.column(0).as_primitive::<Int32Type>().values(), &[150, 0, 0]);
    assert_eq!(batch.column(1).as_string_view().iter().collect::<Vec<_>>(), [Some("GOOD"), Some("9"), Some("NONE")]);
    assert_eq!(got.rejected.iter().map(|letter| letter.line).collect::<Vec<_>>(), [1, 2, 4, 5, 6]);
    assert!(
        got.rejected.iter().all(|letter| letter.reason.starts_with("not a message shop.Order: ")),
        "{:?}",
        got.rejected
    );
    let ignoring = decode(&formats(&schema, &proto, &[("protobuf.ignore-parse-errors", "true")]), &schema, &messages);
    assert_eq!((ignoring.rejected.len(), ignoring.records.as_slice()[0].len()), (0, 3));
}

#[test]
fn what_cannot_be_written_is_told() {
    let (_folder, proto, _) = files();
    let write = |name: &str, array: ArrayRef| {
        let schema = Arc::new(Schema::new(vec![Field::new(name, array.data_type().clone(), true)]));
        let batch = RecordBatch::try_new(schema.clone(), vec![array]).unwrap();
        now(formats(&schema, &proto, &[("protobuf.write-null-string-literal", "-")])
            .encoder()
            .unwrap()
            .encode(&batch.into()))
    };
    let error = write("large", Arc::new(arrow_array::Int64Array::from(vec![-1]))).unwrap_err().to_string();
    assert!(error.starts_with("field `large`: "), "{error}");
    let error = write("kind", Arc::new(arrow_array::StringViewArray::from(vec!["WORSE"]))).unwrap_err().to_string();
    assert_eq!(error, "field `kind`: enum shop.Kind has no \"WORSE\"");
    let written = write("counts", {
        let mut list = arrow_array::builder::ListBuilder::new(arrow_array::builder::Int32Builder::new());
        list.append_value([Some(1), None]);
        Arc::new(list.finish())
    });
    assert_eq!(written.unwrap()[0].value.as_ref().unwrap(), &[0x22, 0x02, 0x01, 0x00][..]);
}

#[test]
fn what_does_not_fit_is_told() {
    let (folder, proto, descriptors) = files();
    let error = |fields: Vec<Field>, options: &[(&str, &str)]| {
        let schema = Arc::new(Schema::new(fields));
        let error = Formats::of(&table(schema.clone(), &[&[("format", "protobuf")], options].concat()))
            .unwrap_err()
            .to_string();
        error.replace(folder.path().to_str().unwrap(), "…")
    };
    let id = || vec![Field::new("id", DataType::Int32, true)];
    assert!(error(id(), &[]).contains("option 'protobuf.schema' is missing"));
    assert_eq!(
        error(id(), &[("protobuf.schema", &proto), ("protobuf.message", "Order")]),
        "table `t`: 'protobuf.message' = 'Order': '…/order.proto' has common.Money, shop.Order, shop.Order.Nested"
    );
    assert!(error(id(), &[("protobuf.schema", &descriptors)]).contains("option 'protobuf.message' is missing"));
    assert!(
        error(id(), &[("protobuf.schema", "/nowhere.proto")])
            .starts_with("table `t`: 'protobuf.schema' = '/nowhere.proto': ")
    );
    std::fs::write(folder.path().join("broken.proto"), "syntax = \"proto3\"; message {").unwrap();
    let broken = folder.path().join("broken.proto");
    assert!(error(id(), &[("protobuf.schema", broken.to_str().unwrap())]).contains("'…/broken.proto': "));
    std::fs::write(folder.path().join("broken.bin"), "nonsense").unwrap();
    let broken = folder.path().join("broken.bin");
    assert!(error(id(), &[("protobuf.schema", broken.to_str().unwrap())]).contains("give a file of descriptors"));
    let order = [("protobuf.schema", proto.as_str()), ("protobuf.message", "shop.Order")];
    let of = |name: &str, data_type: DataType| error(vec![Field::new(name, data_type, true)], &order);
    assert!(
        of("price", DataType::Int32)
            .starts_with("table `t`: column `price`: message shop.Order has no such field; it has id, name,")
    );
    assert_eq!(of("id", DataType::Utf8View), "table `t`: column `id`: a field of int32 cannot be STRING");
    assert_eq!(of("counts", DataType::Int32), "table `t`: column `counts`: the field is repeated, and the column INT");
    assert_eq!(
        of("at", DataType::Int64),
        "table `t`: column `at`: a field of google.protobuf.Timestamp cannot be BIGINT"
    );
}

/// A row of seconds and nanoseconds is what a time is in Flink.
#[test]
fn a_time_may_be_a_row() {
    let (_folder, proto, _) = files();
    let row = DataType::Struct(
        vec![Field::new("seconds", DataType::Int64, true), Field::new("nanos", DataType::Int32, true)].into(),
    );
    let schema = Arc::new(Schema::new(vec![Field::new("at", row, true)]));
    let formats = formats(&schema, &proto, &[]);
    let got = decode(&formats, &schema, &[order(Path::new(&proto)).encode_to_vec()]);
    let time: &StructArray = got.records.as_slice()[0].batch().column(0).as_struct();
    assert_eq!(time.column(0).as_primitive::<Int64Type>().value(0), -1);
    // The library's own years end somewhere.
    let large = [0x32, 0x0A, 0x08, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x7F].to_vec();
    let at = Arc::new(columns().project(&[5]).unwrap());
    let got = decode(&self::formats(&at, &proto, &[]), &at, &[large]);
    assert!(got.rejected[0].reason.starts_with("field `at`: "), "{}", got.rejected[0].reason);
}
