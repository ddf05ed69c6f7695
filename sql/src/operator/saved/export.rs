//! [`Export`]: the state of an operator as a table, read from the records of a checkpoint without the operator.

use std::collections::{HashMap, HashSet};
use std::ops::RangeInclusive;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, RecordBatch, StringArray, TimestampMicrosecondArray, UInt32Array,
    new_null_array,
};
use arrow::compute::{concat, concat_batches, filter_record_batch, take};
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef, UInt64Type};
use datafusion_common::{Result, internal_datafusion_err};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use updraft_dataflow::checkpoint::Layout;
use updraft_dataflow::window::SavedSlice;
use updraft_dataflow::{Error, KeyGroup, Saved};

use super::super::codec::Codec;
use super::super::times::micros;
use super::{Packed, Record};
use crate::ipc;

/// See the module's page. Records are to be added in the order in which they are stored.
pub struct Export {
    layout: Layout,
    parts: Vec<Part>,
    /// Rows that wait for the watermark have gone on if they are before it.
    watermark: i64,
}

/// Rows of one kind.
struct Part {
    name: &'static str,
    /// The columns' names.
    names: Vec<String>,
    batches: Vec<Rows>,
    /// Of what is kept by key: the batch that has the newest of it, and the hash of the key.
    newest: HashMap<Box<[u8]>, (usize, u64)>,
}

struct Rows {
    columns: Vec<ArrayRef>,
    len: usize,
    /// Of each row, if it is kept by key.
    keys: Option<Vec<Box<[u8]>>>,
}

/// A record of [held](super::super::held) rows.
#[derive(Serialize, Deserialize)]
enum HeldRecord {
    Rows(Packed),
    Watermark(i64),
}

/// What is kept of groups: counts, what they are made of, and what was told of them.
type GroupContent = (Packed, (Vec<Packed>, Packed, Vec<Packed>), Vec<Packed>, Packed);

impl Export {
    /// Of an operator of this layout; none if it is none of SQL's.
    pub fn of(layout: &Layout) -> Option<Self> {
        let names = |tables: &[&str]| -> Vec<String> {
            let tables = tables.iter().filter_map(|name| layout.tables.iter().find(|table| table.name == *name));
            tables.flat_map(|table| &table.columns).map(|column| column.name.clone()).collect()
        };
        let prefixed = |prefix: &str, first: &[&str], tables: &[&str]| -> Vec<String> {
            let names = first.iter().map(|name| (*name).to_owned()).chain(names(tables));
            names.map(|name| format!("{prefix}.{name}")).collect()
        };
        let part = |name: &'static str, names: Vec<String>| Part {
            name,
            names: distinct(names),
            batches: Vec::new(),
            newest: HashMap::new(),
        };
        let parts = match &*layout.kind {
            "group" | "group of changes" => vec![part("groups", names(&["keys", "values"]))],
            "rank" | "deduplicate" | "normalize" | "rows" | "held rows" => vec![part("rows", names(&["rows"]))],
            "session" if layout.tables.iter().any(|table| table.name == "rows") => vec![part("rows", names(&["rows"]))],
            "session" => {
                let edges = ["session_first", "session_last"].map(str::to_owned);
                vec![part("sessions", names(&["keys"]).into_iter().chain(edges).collect())]
            }
            "over" => {
                let partitions = prefixed("partition", &[], &["keys"]).into_iter().chain(["partition.rows".to_owned()]);
                vec![part("partitions", partitions.collect()), part("waiting", prefixed("waiting", &[], &["rows"]))]
            }
            "window" if layout.tables.iter().any(|table| table.name == "states") => {
                let edges = ["slice_start", "slice_end", "slice_kind"].map(str::to_owned);
                vec![part("slices", edges.into_iter().chain(names(&["keys", "states"])).collect())]
            }
            kind if kind.contains(" join (") => {
                vec![part("left", prefixed("left", &[], &["left"])), part("right", prefixed("right", &[], &["right"]))]
            }
            _ => return None,
        };
        Some(Self { layout: layout.clone(), parts, watermark: i64::MIN })
    }

    /// Takes a record in.
    ///
    /// # Errors
    /// When it is not what the layout says.
    pub fn add(&mut self, mut saved: Saved) -> std::result::Result<(), Error> {
        if self.layout.kind == "window" {
            return self.slice(&saved);
        }
        // The last byte says whose it is: timers are nobody's.
        if saved.bytes.pop() != Some(0) {
            return Ok(());
        }
        let part = saved.read::<u8>()?;
        match (&*self.layout.kind, part) {
            ("group" | "group of changes", _) => {
                self.keyed(0, &saved, |_, (_, _, _, shown): GroupContent| of_several(&shown, 1))
            }
            ("rank", _) => self.keyed(0, &saved, |_, rows: Packed| of_several(&rows, 2)),
            ("normalize", _) => self.keyed(0, &saved, |_, rows: Packed| of_several(&rows, 1)),
            ("deduplicate", _) => {
                self.keyed(0, &saved, |_, (_, new, told): (Packed, Packed, Packed)| newer(&new, &told))
            }
            ("session", _) if self.parts[0].name == "rows" => {
                self.keyed(0, &saved, |_, (sessions, (_, rows)): (Packed, (u32, Packed))| {
                    let keys = of_several(&sessions, 1)?.0;
                    let (sessions, columns) = of_several(&rows, 2)?;
                    Ok((sessions.into_iter().map(|session| keys[session]).collect(), columns))
                })
            }
            ("session", _) => self.keyed(0, &saved, |keys, sessions: Packed| {
                let (of, edges) = of_several(&sessions, 1)?;
                let own = UInt32Array::from_iter_values(of.iter().map(|of| *of as u32));
                let mut columns =
                    keys.columns(1).iter().map(|key| Ok(take(key, &own, None)?)).collect::<Result<Vec<_>>>()?;
                columns.extend(edges.iter().map(|edge| times(edge)));
                Ok((of, columns))
            }),
            ("over", 0) => self.keyed(0, &saved, |keys, numbers: Packed| {
                let mut columns = keys.columns(1).to_vec();
                columns.push(numbers.columns(0)[0].clone());
                Ok(((0..keys.len()).collect(), columns))
            }),
            ("over", _) => self.held(1, &saved),
            ("held rows", _) => self.held(0, &saved),
            ("rows", _) => self.waiting(0, &saved),
            (kind, part) => {
                let (name, is_left) = (kind.split(" join").next().unwrap_or_default(), kind.starts_with("left"));
                match (name, part) {
                    ("regular" | "interval", 0 | 1) => self.stored(usize::from(part), &saved),
                    ("window", 0 | 1) => self.waiting(usize::from(part), &saved),
                    ("temporal", 0) | ("lookup", 1) => self.waiting(0, &saved),
                    ("temporal", 1) | ("lookup", 0) => self.stored(1, &saved),
                    ("left hash" | "right hash", 0) => self.waiting(usize::from(!is_left), &saved),
                    ("left hash" | "right hash", 1) => self.waiting(usize::from(is_left), &saved),
                    ("left hash" | "right hash", 2) => self.stored(usize::from(!is_left), &saved),
                    // Where the operator stood.
                    _ => Ok(()),
                }
            }
        }
    }

    /// All that is kept, in one batch; of joins, with a column that says of which side.
    ///
    /// # Errors
    /// When records do not fit each other.
    pub fn finish(self) -> std::result::Result<RecordBatch, Error> {
        let time = self.layout.tables.iter().find(|table| table.name == "time").and_then(|table| table.columns.first());
        let several = self.parts.len() > 1;
        let mut done = Vec::new();
        for part in self.parts {
            let waits = matches!((&*self.layout.kind, part.name), ("held rows", _) | ("over", "waiting"));
            let of_time = time.filter(|_| waits).and_then(|time| {
                part.names.iter().position(|name| *name == time.name || name.ends_with(&format!(".{}", time.name)))
            });
            let name = part.name;
            let batch = part.finish(|rows| match of_time {
                Some(at) => Ok(micros(&rows.columns[at])?.into_iter().map(|time| time >= self.watermark).collect()),
                None => Ok(vec![true; rows.len]),
            })?;
            done.push((name, batch));
        }
        if !several {
            return done.pop().map(|(_, batch)| batch).ok_or_else(|| "there is nothing".into());
        }
        let fields: Vec<_> = done.iter().flat_map(|(_, batch)| batch.schema().fields().to_vec()).collect();
        let part = Arc::new(Field::new("part", DataType::Utf8, false));
        let schema: SchemaRef = Arc::new(Schema::new([vec![part], fields].concat()));
        let widths: Vec<_> = done.iter().map(|(_, batch)| batch.num_columns()).collect();
        let mut all = Vec::new();
        for (at, (name, batch)) in done.iter().enumerate() {
            let before = 1 + widths[..at].iter().sum::<usize>();
            let mut columns: Vec<ArrayRef> = vec![Arc::new(StringArray::from(vec![*name; batch.num_rows()]))];
            for (column, field) in schema.fields().iter().enumerate().skip(1) {
                let own = column.checked_sub(before).filter(|own| *own < widths[at]);
                columns.push(own.map_or_else(
                    || new_null_array(field.data_type(), batch.num_rows()),
                    |own| batch.column(own).clone(),
                ));
            }
            all.push(RecordBatch::try_new(schema.clone(), columns)?);
        }
        Ok(concat_batches(&schema, &all)?)
    }

    /// Entries by key: `rows` tells which of the keys each row is of, and the columns.
    fn keyed<C: DeserializeOwned>(
        &mut self,
        part: usize,
        saved: &Saved,
        rows: impl FnOnce(&Packed, C) -> Result<(Vec<usize>, Vec<ArrayRef>)>,
    ) -> std::result::Result<(), Error> {
        let part = &mut self.parts[part];
        match saved.read::<(u8, Record<(Packed, C)>)>()?.1 {
            Record::Base => part.clear(&saved.groups),
            Record::Gone(gone) => {
                for key in keys_of(&gone)? {
                    part.newest.remove(&key);
                }
            }
            Record::Some((keys, content)) => {
                let (bytes, hashes) = (keys_of(&keys)?, keys.hashes()?);
                let (of, columns) = rows(&keys, content)?;
                let at = part.batches.len();
                for (key, hash) in bytes.iter().zip(hashes) {
                    part.newest.insert(key.clone(), (at, hash));
                }
                let own = of.iter().map(|of| bytes[*of].clone());
                part.batches.push(Rows { len: of.len(), keys: Some(own.collect()), columns });
            }
        }
        Ok(())
    }

    /// Rows that a join has stored, by their serial numbers.
    fn stored(&mut self, part: usize, saved: &Saved) -> std::result::Result<(), Error> {
        let part = &mut self.parts[part];
        let serials = |packed: &Packed, column: usize| -> Result<Vec<Box<[u8]>>> {
            let serials = packed.columns(column).first().and_then(|serials| serials.as_primitive_opt::<UInt64Type>());
            let serials = serials.ok_or_else(|| internal_datafusion_err!("what was saved has no serial numbers"))?;
            Ok(serials.values().iter().map(|serial| serial.to_le_bytes().into()).collect())
        };
        match saved.read::<(u8, Record<Packed>)>()?.1 {
            Record::Base => part.clear(&saved.groups),
            Record::Gone(gone) => {
                for serial in serials(&gone, 0)? {
                    part.newest.remove(&serial);
                }
            }
            Record::Some(rows) => {
                let (keys, at) = (serials(&rows, 1)?, part.batches.len());
                for (key, hash) in keys.iter().zip(rows.hashes()?) {
                    part.newest.insert(key.clone(), (at, hash));
                }
                part.batches.push(Rows { len: rows.len(), keys: Some(keys), columns: rows.columns(4).to_vec() });
            }
        }
        Ok(())
    }

    /// Rows that wait, with their hashes and kinds.
    fn waiting(&mut self, part: usize, saved: &Saved) -> std::result::Result<(), Error> {
        let rows = saved.read::<(u8, Packed)>()?.1;
        self.parts[part].batches.push(Rows { len: rows.len(), keys: None, columns: rows.columns(2).to_vec() });
        Ok(())
    }

    /// Rows that wait for the watermark, with their hashes.
    fn held(&mut self, part: usize, saved: &Saved) -> std::result::Result<(), Error> {
        match saved.read::<(u8, HeldRecord)>()?.1 {
            HeldRecord::Watermark(watermark) => self.watermark = watermark,
            HeldRecord::Rows(rows) => {
                self.parts[part].batches.push(Rows { len: rows.len(), keys: None, columns: rows.columns(1).to_vec() });
            }
        }
        Ok(())
    }

    /// Some groups of a slice.
    fn slice(&mut self, saved: &Saved) -> std::result::Result<(), Error> {
        let Some(slice) = SavedSlice::read(saved, &self.layout)? else { return Ok(()) };
        for batch in ipc::read_all(&slice.bytes)? {
            let len = batch.num_rows();
            let edge = |time: Option<i64>| -> ArrayRef { Arc::new(TimestampMicrosecondArray::from(vec![time; len])) };
            let kind: ArrayRef = Arc::new(StringArray::from(vec![slice.kind; len]));
            let mut columns = vec![edge(slice.start.map(|time| time.0)), edge(slice.end.map(|time| time.0)), kind];
            columns.extend(batch.columns().iter().cloned());
            self.parts[0].batches.push(Rows { len, keys: None, columns });
        }
        Ok(())
    }
}

/// Whose each row is, which the first column says, and the columns from one on.
fn of_several(packed: &Packed, from: usize) -> Result<(Vec<usize>, Vec<ArrayRef>)> {
    let of = packed.numbers(0)?.values().iter().map(|of| *of as usize).collect();
    Ok((of, packed.columns(from).to_vec()))
}

/// Rows that were chosen since the last ones were told, and those that were told of other keys.
fn newer(new: &Packed, told: &Packed) -> Result<(Vec<usize>, Vec<ArrayRef>)> {
    let ((mut of, new), (older, told)) = (of_several(new, 1)?, of_several(told, 1)?);
    let known: HashSet<_> = of.iter().copied().collect();
    let others: Vec<_> = (0..older.len()).filter(|row| !known.contains(&older[*row])).collect();
    let rows = UInt32Array::from_iter_values(others.iter().map(|row| *row as u32));
    of.extend(others.into_iter().map(|row| older[row]));
    let both = |(new, told): (&ArrayRef, &ArrayRef)| Ok(concat(&[&**new, &*take(told, &rows, None)?])?);
    Ok((of, new.iter().zip(&told).map(both).collect::<Result<_>>()?))
}

/// Keys as bytes.
fn keys_of(keys: &Packed) -> Result<Vec<Box<[u8]>>> {
    let codec = Codec::new(keys.columns(1).iter().map(|column| column.data_type().clone()))?;
    let rows = keys.encode(1, &codec)?;
    Ok((0..keys.len()).map(|row| rows.row(row).into()).collect())
}

/// Microseconds as times.
fn times(column: &ArrayRef) -> ArrayRef {
    let micros = column.as_primitive_opt::<Int64Type>().map(|column| column.values().to_vec()).unwrap_or_default();
    Arc::new(TimestampMicrosecondArray::from(micros))
}

/// The names, each once.
fn distinct(names: Vec<String>) -> Vec<String> {
    let mut distinct = Vec::<String>::with_capacity(names.len());
    for name in names {
        let tries = (1..).map(|n| if n == 1 { name.clone() } else { format!("{name}_{n}") });
        let free = tries.into_iter().find(|name| !distinct.contains(name)).unwrap_or_default();
        distinct.push(free);
    }
    distinct
}

impl Part {
    /// All keys of some groups are told anew.
    fn clear(&mut self, groups: &RangeInclusive<KeyGroup>) {
        self.newest.retain(|_, (_, hash)| !groups.contains(&KeyGroup::of(*hash)));
    }

    /// The rows that count, of those that `keep` says.
    fn finish(self, keep: impl Fn(&Rows) -> Result<Vec<bool>>) -> Result<RecordBatch> {
        let mut batches = Vec::new();
        let mut schema: SchemaRef = Arc::new(Schema::new(
            self.names.iter().map(|name| Field::new(name, DataType::Null, true)).collect::<Vec<_>>(),
        ));
        for (at, rows) in self.batches.iter().enumerate() {
            let mut kept = keep(rows)?;
            if let Some(keys) = &rows.keys {
                let is_newest = |key: &[u8]| self.newest.get(key).is_some_and(|(newest, _)| *newest == at);
                kept.iter_mut().zip(keys).for_each(|(kept, key)| *kept &= is_newest(key));
            }
            if rows.columns.len() != self.names.len() {
                return Err(internal_datafusion_err!(
                    "{} columns of {} were saved",
                    rows.columns.len(),
                    self.names.len()
                ));
            }
            // What was written before a type became wider is brought in line with what came after, from the end.
            let fields = self.names.iter().zip(&rows.columns);
            let fields = fields.map(|(name, column)| Field::new(name, column.data_type().clone(), true));
            schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
            let batch = RecordBatch::try_new(schema.clone(), rows.columns.clone())?;
            batches.push(filter_record_batch(&batch, &BooleanArray::from(kept))?);
        }
        let cast = |batch: &RecordBatch| -> Result<RecordBatch> {
            let columns = batch.columns().iter().zip(schema.fields());
            let columns = columns.map(|(column, field)| arrow::compute::cast(column, field.data_type()));
            Ok(RecordBatch::try_new(schema.clone(), columns.collect::<std::result::Result<_, _>>()?)?)
        };
        let batches = batches.iter().map(cast).collect::<Result<Vec<_>>>()?;
        Ok(concat_batches(&schema, &batches)?)
    }
}
