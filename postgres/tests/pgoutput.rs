//! Messages of replication, made up, cut off and damaged: they are read as what they are, or refused.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[allow(dead_code, unreachable_pub, reason = "shared with the fuzz targets")]
mod checks;

use checks::write;
use proptest::prelude::*;
use updraft_postgres::pgoutput::{Column, Message, Old, Relation, Value, parse};

/// A value, on its own.
#[derive(Clone, Debug)]
enum Cell {
    Null,
    Unchanged,
    Text(String),
}

fn values(cells: &[Cell]) -> Vec<Value<'_>> {
    let value = |cell| match cell {
        &Cell::Null => Value::Null,
        Cell::Unchanged => Value::Unchanged,
        Cell::Text(text) => Value::Text(text),
    };
    cells.iter().map(value).collect()
}

fn cells() -> impl Strategy<Value = Vec<Cell>> {
    let cell = prop_oneof![Just(Cell::Null), Just(Cell::Unchanged), "\\PC{0,9}".prop_map(Cell::Text)];
    prop::collection::vec(cell, 0..6)
}

proptest! {
    #[test]
    fn rows_are_read(relation: u32, old in prop::option::of((any::<bool>(), cells())), new in cells(), cut: prop::sample::Index) {
        let old = old.as_ref().map(|(is_key, old)| if *is_key { Old::Key(values(old)) } else { Old::Row(values(old)) });
        let message = Message::Update { relation, old, new: values(&new) };
        let mut bytes = write(&message);
        prop_assert_eq!(parse(&bytes), Ok(message));
        prop_assert!(parse(&bytes[..cut.index(bytes.len())]).is_err());
        bytes.push(0);
        prop_assert!(parse(&bytes).is_err());
    }

    #[test]
    fn tables_are_read(id: u32, names in prop::collection::vec(("[a-zA-Z \"]{0,6}", any::<bool>(), any::<u32>(), any::<i32>()), 0..5)) {
        let columns = names.iter().map(|(name, is_key, data_type, modifier)| {
            Column { name, is_key: *is_key, data_type: *data_type, modifier: *modifier }
        });
        let message = Message::Relation(Relation { id, schema: "public", name: "t", identity: b'f', columns: columns.collect() });
        let bytes = write(&message);
        prop_assert_eq!(parse(&bytes), Ok(message));
    }

    #[test]
    fn whatever_comes_is_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..60), kind in prop::sample::select(b"BCRIUDTYOM".to_vec())) {
        let _ = parse(&bytes);
        let _ = parse(&[&[kind], &bytes[..]].concat());
    }
}
