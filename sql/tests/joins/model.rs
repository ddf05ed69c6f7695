//! Rows as tests see them, and joins by their definition.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringViewArray, TimestampMillisecondArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use arrow::util::display::array_value_to_string;
use datafusion_common::hash_utils::{RandomState, create_hashes};
use datafusion_common::{JoinType, NullEquality};
use datafusion_expr::Operator;
use datafusion_physical_expr::PhysicalExpr;
use datafusion_physical_expr::expressions::{BinaryExpr, Column};
use proptest::prelude::*;
use updraft_dataflow::{Hashed, RowKind, Rows};
use updraft_sql::operator::join::Joined;

/// A row of either input: `k`, `name`, `v`, `ts` (milliseconds).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Row {
    pub(crate) k: Option<i64>,
    pub(crate) name: Option<&'static str>,
    pub(crate) v: Option<i64>,
    pub(crate) ts: i64,
}

/// Some of them are too long for a view to hold.
const NAMES: [Option<&str>; 4] =
    [None, Some("a"), Some("a name that is too long for a view"), Some("another that is too long")];

/// Columns of an input.
const WIDTH: usize = 4;
pub(crate) const TS: usize = 3;

pub(crate) fn rows() -> impl Strategy<Value = Row> {
    let k = prop_oneof![1 => Just(None), 6 => (0i64..4).prop_map(Some)];
    let v = prop_oneof![1 => Just(None), 5 => (0i64..4).prop_map(Some)];
    (k, proptest::sample::select(&NAMES[..]), v, 0i64..30).prop_map(|(k, name, v, ts)| Row { k, name, v, ts })
}

pub(crate) fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("k", DataType::Int64, true),
        Field::new("name", DataType::Utf8View, true),
        Field::new("v", DataType::Int64, true),
        Field::new("ts", DataType::Timestamp(TimeUnit::Millisecond, None), true),
    ]))
}

pub(crate) fn batch(rows: &[Row]) -> RecordBatch {
    let columns: Vec<ArrayRef> = vec![
        Arc::new(rows.iter().map(|row| row.k).collect::<Int64Array>()),
        Arc::new(rows.iter().map(|row| row.name).collect::<StringViewArray>()),
        Arc::new(rows.iter().map(|row| row.v).collect::<Int64Array>()),
        Arc::new(rows.iter().map(|row| Some(row.ts)).collect::<TimestampMillisecondArray>()),
    ];
    RecordBatch::try_new(schema(), columns).unwrap()
}

/// A row and what it does.
pub(crate) type Change = (RowKind, Row);

/// What is joined, and how.
#[derive(Clone, Debug)]
pub(crate) struct Case {
    pub(crate) kind: JoinType,
    /// Columns that must be equal, the same of both inputs.
    pub(crate) keys: Vec<usize>,
    pub(crate) nulls_equal: bool,
    /// Whether `left.v < right.v` must hold, too.
    pub(crate) filtered: bool,
    /// Whether all hashes of some keys are the same.
    pub(crate) collide: bool,
}

pub(crate) const KINDS: [JoinType; 8] = [
    JoinType::Inner,
    JoinType::Left,
    JoinType::Right,
    JoinType::Full,
    JoinType::LeftSemi,
    JoinType::LeftAnti,
    JoinType::RightSemi,
    JoinType::RightAnti,
];

pub(crate) fn cases(kinds: &'static [JoinType]) -> impl Strategy<Value = Case> {
    let keys = prop_oneof![
        4 => Just(vec![0]),
        3 => Just(vec![1, 0]),
        1 => Just(vec![1]),
        1 => Just(vec![]),
    ];
    (proptest::sample::select(kinds), keys, any::<bool>(), any::<bool>(), any::<bool>())
        .prop_map(|(kind, keys, nulls_equal, filtered, collide)| Case { kind, keys, nulls_equal, filtered, collide })
}

impl Case {
    pub(crate) fn joined(&self) -> Joined {
        let (left, right) = match self.kind {
            JoinType::LeftSemi | JoinType::LeftAnti => (true, false),
            JoinType::RightSemi | JoinType::RightAnti => (false, true),
            _ => (true, true),
        };
        let fields = |name: &str| -> Vec<_> {
            schema()
                .fields()
                .iter()
                .map(|field| field.as_ref().clone().with_name(format!("{name}_{}", field.name())))
                .collect()
        };
        let fields = [(left, "l"), (right, "r")].map(|(comes, name)| if comes { fields(name) } else { Vec::new() });
        Joined {
            left: schema(),
            right: schema(),
            keys: self.keys.iter().map(|key| (*key, *key)).collect(),
            kind: self.kind,
            nulls: if self.nulls_equal { NullEquality::NullEqualsNull } else { NullEquality::NullEqualsNothing },
            filter: self.filtered.then(|| {
                let (left, right) = (Column::new("v", 2), Column::new("v", WIDTH + 2));
                Arc::new(BinaryExpr::new(Arc::new(left), Operator::Lt, Arc::new(right))) as Arc<dyn PhysicalExpr>
            }),
            schema: Arc::new(Schema::new(fields.concat())),
        }
    }

    /// The rows of an input, with the hashes of their keys.
    pub(crate) fn hashed(&self, changes: &[Change]) -> Hashed {
        let (kinds, rows): (Vec<RowKind>, Vec<Row>) = changes.iter().cloned().unzip();
        let batch = batch(&rows);
        let mut hashes = vec![7; rows.len()];
        if !self.keys.is_empty() {
            let keys: Vec<ArrayRef> = self.keys.iter().map(|key| batch.column(*key).clone()).collect();
            create_hashes(&keys, &RandomState::with_seed(3), &mut hashes).unwrap();
        }
        if self.collide {
            hashes.iter_mut().for_each(|hash| *hash = *hash % 2 * (u64::MAX / 2));
        }
        Hashed { hashes: hashes.into(), rows: Rows::changes(batch, kinds) }
    }

    /// Whether two rows belong together.
    pub(crate) fn belong(&self, left: &Row, right: &Row) -> bool {
        self.equal_keys(left, right) && (!self.filtered || matches!((left.v, right.v), (Some(l), Some(r)) if l < r))
    }

    pub(crate) fn equal_keys(&self, left: &Row, right: &Row) -> bool {
        self.keys.iter().all(|key| match key {
            0 => left.k == right.k && (self.nulls_equal || left.k.is_some()),
            _ => left.name == right.name && (self.nulls_equal || left.name.is_some()),
        })
    }

    /// By nested loops: the rows that come out, in any order.
    pub(crate) fn expected(&self, left: &[Row], right: &[Row], near: impl Fn(&Row, &Row) -> bool) -> Vec<String> {
        let together = |l: &Row, r: &Row| self.belong(l, r) && near(l, r);
        let mut out = Vec::new();
        for l in left {
            let partners: Vec<&Row> = right.iter().filter(|r| together(l, r)).collect();
            match self.kind {
                JoinType::LeftSemi if !partners.is_empty() => out.push(text(l)),
                JoinType::LeftAnti if partners.is_empty() => out.push(text(l)),
                JoinType::Left | JoinType::Full if partners.is_empty() => out.push(format!("{},{}", text(l), nulls())),
                JoinType::Inner | JoinType::Left | JoinType::Right | JoinType::Full => {
                    out.extend(partners.iter().map(|r| format!("{},{}", text(l), text(r))));
                }
                _ => {}
            }
        }
        for r in right {
            let has_partner = left.iter().any(|l| together(l, r));
            match self.kind {
                JoinType::RightSemi if has_partner => out.push(text(r)),
                JoinType::RightAnti if !has_partner => out.push(text(r)),
                JoinType::Right | JoinType::Full if !has_partner => out.push(format!("{},{}", nulls(), text(r))),
                _ => {}
            }
        }
        out.sort();
        out
    }
}

pub(crate) fn nulls() -> String {
    [""; WIDTH].join(",")
}

/// As [`shown`] shows it.
pub(crate) fn text(row: &Row) -> String {
    shown(&batch(std::slice::from_ref(row)), 0)
}

fn shown(batch: &RecordBatch, row: usize) -> String {
    let values: Vec<_> = batch.columns().iter().map(|column| array_value_to_string(column, row).unwrap()).collect();
    values.join(",")
}

/// The rows that came out, and what they do.
pub(crate) fn told(rows: &[Rows]) -> Vec<(RowKind, String)> {
    let of = |rows: &Rows| (0..rows.len()).map(|row| (rows.kind(row), shown(rows.batch(), row))).collect::<Vec<_>>();
    rows.iter().flat_map(of).collect()
}

/// The rows that came out, all of which are inserted, in any order.
pub(crate) fn inserted(rows: &[Rows]) -> Vec<String> {
    let mut all: Vec<String> = told(rows)
        .into_iter()
        .map(|(kind, row)| {
            assert_eq!(kind, RowKind::Insert);
            row
        })
        .collect();
    all.sort();
    all
}

pub(crate) fn plain(rows: &[Row]) -> Vec<Change> {
    rows.iter().map(|row| (RowKind::Insert, row.clone())).collect()
}
