//! What is printed, to the letter.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::sync::Arc;

use arrow_array::{
    ArrayRef, BooleanArray, Float64Array, Int64Array, ListArray, RecordBatch, StringArray, types::Int32Type,
};
use updraft_dataflow::{RowKind, Rows};

use super::{ConsoleLayout, Encoder};

fn batch() -> RecordBatch {
    let lists = ListArray::from_iter_primitive::<Int32Type, _, _>([Some(vec![Some(1), None]), None, Some(vec![])]);
    let columns: [(&str, ArrayRef); 5] = [
        ("ok", Arc::new(BooleanArray::from(vec![Some(true), None, Some(false)]))),
        ("n", Arc::new(Int64Array::from(vec![1, -20, 300]))),
        ("mean", Arc::new(Float64Array::from(vec![1.5, 10.0, 1e12]))),
        ("name", Arc::new(StringArray::from(vec![Some("日本"), Some("a,\"b\"\n"), None]))),
        ("list", Arc::new(lists)),
    ];
    RecordBatch::try_from_iter(columns).unwrap()
}

fn text(layout: ConsoleLayout, changes: bool, rows: &[Rows]) -> String {
    let mut out = String::new();
    let mut encoder = Encoder::new(batch().schema(), layout, changes);
    rows.iter().for_each(|rows| encoder.encode(rows, &mut out).unwrap());
    encoder.finish(&mut out);
    out
}

fn changes() -> Rows {
    Rows::changes(batch(), [RowKind::UpdateBefore, RowKind::UpdateAfter, RowKind::Delete])
}

#[test]
fn a_table_lines_up() {
    let want = "\
+--------+---------------+----------+---------+-----------+
| ok     |             n |     mean | name    | list      |
+--------+---------------+----------+---------+-----------+
| TRUE   |             1 |      1.5 | 日本    | [1, NULL] |
| <NULL> |           -20 |     10.0 | a,\"b\"\\n | <NULL>    |
| FALSE  |           300 |   1.0E12 | <NULL>  | []        |
+--------+---------------+----------+---------+-----------+
3 rows in set
";
    assert_eq!(text(ConsoleLayout::Table, false, &[batch().into()]), want);
    assert_eq!(
        text(ConsoleLayout::Table, false, &[batch().slice(0, 1).into(), batch().slice(1, 2).into()]).lines().count(),
        8
    );
}

#[test]
fn a_table_of_changes_says_what_rows_do() {
    let text = text(ConsoleLayout::Table, true, &[changes()]);
    let lines: Vec<_> = text.lines().map(|line| &line[..8]).collect();
    assert_eq!(lines[..2], ["+----+--", "| op | o"]);
    assert_eq!(lines[3..6], ["| -U | T", "| +U | <", "| -D | F"]);
    assert!(text.ends_with("+\n3 changes\n"), "{text}");
}

#[test]
fn rows_appear_as_they_come_and_wider_ones_widen() {
    let mut encoder = Encoder::new(batch().schema(), ConsoleLayout::Table, false);
    let mut out = String::new();
    encoder.encode(&batch().slice(0, 1).into(), &mut out).unwrap();
    assert!(out.ends_with("| TRUE  |             1 |      1.5 | 日本 | [1, NULL] |\n"), "{out}");
    out.clear();
    encoder.encode(&batch().slice(1, 1).into(), &mut out).unwrap();
    assert_eq!(out, "| <NULL> |           -20 |     10.0 | a,\"b\"\\n | <NULL>    |\n");
}

#[test]
fn csv_and_json_are_for_programs() {
    let csv = "ok,n,mean,name,list\ntrue,1,1.5,日本,\"[1,null]\"\n,-20,10.0,\"a,\"\"b\"\"\n\",\nfalse,300,1.0E12,,[]\n";
    assert_eq!(text(ConsoleLayout::Csv, false, &[batch().into()]), csv);
    let csv = text(ConsoleLayout::Csv, true, &[changes()]);
    assert!(csv.starts_with("op,ok,n,mean,name,list\n-U,true,1,"), "{csv}");
    let json = text(ConsoleLayout::Json, true, &[changes()]);
    let values: Vec<serde_json::Value> = json.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let want = serde_json::json!([
        {"op": "-U", "ok": true, "n": 1, "mean": 1.5, "name": "日本", "list": [1, null]},
        {"op": "+U", "ok": null, "n": -20, "mean": 10.0, "name": "a,\"b\"\n", "list": null},
        {"op": "-D", "ok": false, "n": 300, "mean": 1e12, "name": null, "list": []},
    ]);
    assert_eq!(serde_json::Value::from(values), want);
}

#[test]
fn nothing_is_said_to_be_nothing() {
    assert_eq!(text(ConsoleLayout::Table, false, &[batch().slice(0, 0).into()]), "Empty set\n");
    assert_eq!(text(ConsoleLayout::Csv, false, &[]), "ok,n,mean,name,list\n");
    assert_eq!(text(ConsoleLayout::Json, true, &[]), "");
}
