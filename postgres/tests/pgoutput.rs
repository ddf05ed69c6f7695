//! Messages of replication, made up, cut off and damaged: they are read as what they are, or refused.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use proptest::prelude::*;
use updraft_postgres::pgoutput::{Column, Message, Old, Relation, Value, parse};

/// A value, on its own.
#[derive(Clone, Debug)]
enum Cell {
    Null,
    Unchanged,
    Text(String),
}

fn row(cells: &[Cell], out: &mut Vec<u8>) {
    out.extend((cells.len() as u16).to_be_bytes());
    for cell in cells {
        match cell {
            Cell::Null => out.push(b'n'),
            Cell::Unchanged => out.push(b'u'),
            Cell::Text(text) => {
                out.push(b't');
                out.extend((text.len() as u32).to_be_bytes());
                out.extend(text.as_bytes());
            }
        }
    }
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
        let mut bytes = vec![b'U'];
        bytes.extend(relation.to_be_bytes());
        if let Some((is_key, old)) = &old {
            bytes.push(if *is_key { b'K' } else { b'O' });
            row(old, &mut bytes);
        }
        bytes.push(b'N');
        row(&new, &mut bytes);
        let told = old.as_ref().map(|(is_key, old)| if *is_key { Old::Key(values(old)) } else { Old::Row(values(old)) });
        prop_assert_eq!(parse(&bytes).unwrap(), Message::Update { relation, old: told, new: values(&new) });
        prop_assert!(parse(&bytes[..cut.index(bytes.len())]).is_err());
        bytes.push(0);
        prop_assert!(parse(&bytes).is_err());
    }

    #[test]
    fn tables_are_read(id: u32, names in prop::collection::vec(("[a-zA-Z \"]{0,6}", any::<bool>(), any::<u32>(), any::<i32>()), 0..5)) {
        let mut bytes = vec![b'R'];
        bytes.extend(id.to_be_bytes());
        bytes.extend(b"public\0t\0f");
        bytes.extend((names.len() as u16).to_be_bytes());
        for (name, is_key, data_type, modifier) in &names {
            bytes.push(u8::from(*is_key));
            bytes.extend(name.as_bytes());
            bytes.push(0);
            bytes.extend(data_type.to_be_bytes());
            bytes.extend(modifier.to_be_bytes());
        }
        let column = |(name, is_key, data_type, modifier): &'_ (String, bool, u32, i32)| {
            (name.clone(), *is_key, *data_type, *modifier)
        };
        let Message::Relation(Relation { columns, schema, name, identity, .. }) = parse(&bytes).unwrap() else { panic!() };
        let found: Vec<_> =
            columns.iter().map(|Column { name, is_key, data_type, modifier }| (name.to_string(), *is_key, *data_type, *modifier)).collect();
        prop_assert_eq!((schema, name, identity), ("public", "t", b'f'));
        prop_assert_eq!(found, names.iter().map(column).collect::<Vec<_>>());
    }

    #[test]
    fn whatever_comes_is_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..60), kind in prop::sample::select(b"BCRIUDTYOM".to_vec())) {
        let _ = parse(&bytes);
        let _ = parse(&[&[kind], &bytes[..]].concat());
    }
}
