//! [`Keys`]: a number for each key that is known. Numbers are small, so that what is kept by key can be in vectors; that
//! of a key that was removed is given to another.

use std::hash::Hasher;

use arrow::array::ArrayRef;
use arrow::datatypes::Schema;
use datafusion_common::Result;
use hashbrown::HashTable;
use hashbrown::hash_table::Entry;

use super::codec::{Codec, Encoded};

/// The number of a key.
pub(crate) type Id = u32;

/// Keys and their numbers.
pub(crate) struct Keys {
    codec: Codec,
    table: HashTable<Id>,
    /// By number; `None` where it is free.
    keys: Vec<Option<Known>>,
    free: Vec<Id>,
    bytes: usize,
}

struct Known {
    hash: u64,
    key: Key,
}

/// The bytes of a key: here, where they are few.
enum Key {
    Short { len: u8, bytes: [u8; SHORT] },
    Long(Box<[u8]>),
}

/// As many as go without a look elsewhere.
const SHORT: usize = 30;

impl Key {
    fn new(key: &[u8]) -> Self {
        if key.len() > SHORT {
            return Self::Long(key.into());
        }
        let mut bytes = [0; SHORT];
        bytes[..key.len()].copy_from_slice(key);
        Self::Short { len: key.len() as u8, bytes }
    }

    fn get(&self) -> &[u8] {
        match self {
            Self::Short { len, bytes } => &bytes[..usize::from(*len)],
            Self::Long(key) => key,
        }
    }
}

impl Keys {
    /// No keys yet, of some columns of a table.
    pub(crate) fn of(schema: &Schema, columns: &[usize]) -> Result<Self> {
        Ok(Self::new(Codec::of(schema, columns)?))
    }

    /// No keys yet.
    pub(crate) fn new(codec: Codec) -> Self {
        Self { codec, table: HashTable::new(), keys: Vec::new(), free: Vec::new(), bytes: 0 }
    }

    /// The numbers of some rows' keys, new ones where they are not known; `hashes` are those of the keys.
    pub(crate) fn intern(&mut self, columns: &[ArrayRef], hashes: &[u64]) -> Result<Vec<Id>> {
        let rows = self.codec.encode(columns)?;
        Ok(hashes.iter().enumerate().map(|(row, hash)| self.id(rows.row(row), mixed(*hash))).collect())
    }

    /// Like [`intern`](Self::intern), of keys that nobody has hashed: `prefix` is part of each.
    pub(crate) fn intern_with(&mut self, prefix: &[Id], rows: &Encoded) -> Vec<Id> {
        let mut key = Vec::new();
        let each = prefix.iter().enumerate();
        each.map(|(row, prefix)| {
            key.clear();
            key.extend_from_slice(&prefix.to_le_bytes());
            key.extend_from_slice(rows.row(row));
            self.id(&key, hash_of(&key))
        })
        .collect()
    }

    /// The number of a key.
    fn id(&mut self, key: &[u8], hash: u64) -> Id {
        let keys = &mut self.keys;
        let known = |keys: &[Option<Known>], id: Id| keys[id as usize].as_ref().map(|known| known.hash);
        let same = |id: &Id| {
            keys[*id as usize].as_ref().is_some_and(|known| known.hash == hash && equal(known.key.get(), key))
        };
        match self.table.entry(hash, same, |id| known(keys, *id).unwrap_or_default()) {
            Entry::Occupied(entry) => *entry.get(),
            Entry::Vacant(entry) => {
                let id = self.free.pop().unwrap_or(keys.len() as Id);
                entry.insert(id);
                if id as usize == keys.len() {
                    keys.push(None);
                }
                self.bytes += bytes_of(key);
                keys[id as usize] = Some(Known { hash, key: Key::new(key) });
                id
            }
        }
    }

    /// Forgets a key.
    pub(crate) fn remove(&mut self, id: Id) {
        let Some(known) = self.keys[id as usize].take() else { return };
        if let Ok(entry) = self.table.find_entry(known.hash, |other| *other == id) {
            entry.remove();
        }
        self.bytes -= bytes_of(known.key.get());
        self.free.push(id);
    }

    /// The columns of some keys.
    pub(crate) fn columns(&self, ids: &[Id]) -> Result<Vec<ArrayRef>> {
        self.codec.decode(ids.iter().map(|id| self.key(*id)))
    }

    fn key(&self, id: Id) -> &[u8] {
        self.keys[id as usize].as_ref().map_or(&[], |known| known.key.get())
    }

    /// All numbers that are in use, in order.
    pub(crate) fn ids(&self) -> impl Iterator<Item = Id> {
        self.keys.iter().enumerate().filter(|(_, key)| key.is_some()).map(|(id, _)| id as Id)
    }

    /// More than any number in use.
    pub(crate) fn bound(&self) -> usize {
        self.keys.len()
    }

    /// Bytes of memory.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }
}

/// What a key takes: itself, its entry and its place in the table.
fn bytes_of(key: &[u8]) -> usize {
    let elsewhere = if key.len() > SHORT { key.len() } else { 0 };
    elsewhere + size_of::<Option<Known>>() + 2 * size_of::<Id>()
}

/// Whether two keys are the same: of one number, without a call.
#[inline]
fn equal(one: &[u8], other: &[u8]) -> bool {
    if one.len() != other.len() {
        return false;
    }
    match (one.first_chunk::<8>(), other.first_chunk::<8>(), one.last_chunk::<8>(), other.last_chunk::<8>()) {
        (Some(a), Some(b), Some(c), Some(d)) if one.len() <= 16 => a == b && c == d,
        _ => one == other,
    }
}

/// On one kernel all hashes have some high bits in common, which the table looks at.
fn mixed(hash: u64) -> u64 {
    hash.wrapping_mul(0x9E37_79B9_7F4A_7C15)
}

fn hash_of(key: &[u8]) -> u64 {
    let mut hasher = std::hash::DefaultHasher::new();
    hasher.write(key);
    hasher.finish()
}
