//! [`Keys`]: a number for each key that is known. Numbers are small, so that what is kept by key can be in vectors; that
//! of a key that was removed is given to another.

use std::hash::Hasher;

use arrow::array::ArrayRef;
use arrow::datatypes::Schema;
use datafusion_common::{Result, internal_err};
use hashbrown::HashTable;
use hashbrown::hash_table::Entry;

use super::codec::{Codec, Encoded};
use super::saved::{Journal, Packed, hashes_of};
use super::times::micros;

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
    /// Which keys have something that is not saved.
    journal: Journal<Known>,
}

/// A key, and its hash.
#[derive(Clone)]
pub(crate) struct Known {
    hash: u64,
    key: Key,
}

impl Known {
    fn new(hash: u64, key: &[u8]) -> Self {
        Self { hash, key: Key::new(key) }
    }

    /// The hash that says who owns it.
    pub(crate) fn hash(&self) -> u64 {
        self.hash
    }
}

/// The bytes of a key: here, where they are few.
#[derive(Clone)]
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
        let journal = Journal::default();
        Self { codec, table: HashTable::new(), keys: Vec::new(), free: Vec::new(), bytes: 0, journal }
    }

    /// The numbers of some rows' keys, new ones where they are not known; `hashes` are those of the keys. What is kept of
    /// them will be saved.
    pub(crate) fn intern(&mut self, columns: &[ArrayRef], hashes: &[u64]) -> Result<Vec<Id>> {
        let rows = self.codec.encode(columns)?;
        let id = |(row, hash): (usize, &u64)| {
            let id = self.id(rows.row(row), *hash);
            self.journal.touch(id as usize);
            id
        };
        Ok(hashes.iter().enumerate().map(id).collect())
    }

    /// What is kept of a key has changed.
    pub(crate) fn touch(&mut self, id: Id) {
        self.journal.touch(id as usize);
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
        let known = |keys: &[Option<Known>], id: Id| keys[id as usize].as_ref().map(|known| mixed(known.hash));
        let same = |id: &Id| {
            keys[*id as usize].as_ref().is_some_and(|known| known.hash == hash && equal(known.key.get(), key))
        };
        match self.table.entry(mixed(hash), same, |id| known(keys, *id).unwrap_or_default()) {
            Entry::Occupied(entry) => *entry.get(),
            Entry::Vacant(entry) => {
                let id = self.free.pop().unwrap_or(keys.len() as Id);
                entry.insert(id);
                if id as usize == keys.len() {
                    keys.push(None);
                }
                self.bytes += bytes_of(key);
                keys[id as usize] = Some(Known::new(hash, key));
                id
            }
        }
    }

    /// Forgets a key.
    pub(crate) fn remove(&mut self, id: Id) {
        let Some(known) = self.keys[id as usize].take() else { return };
        if let Ok(entry) = self.table.find_entry(mixed(known.hash), |other| *other == id) {
            entry.remove();
        }
        self.bytes -= bytes_of(known.key.get());
        self.free.push(id);
        self.journal.remove(|| known);
    }

    /// The columns of some keys.
    pub(crate) fn columns(&self, ids: &[Id]) -> Result<Vec<ArrayRef>> {
        self.codec.decode(ids.iter().map(|id| self.key(*id)))
    }

    /// The times of some keys in a column that is one of those of the key, `of`.
    pub(crate) fn micros(&self, ids: &[Id], of: &[usize], column: usize) -> Result<Vec<i64>> {
        let Some(at) = of.iter().position(|key| *key == column) else {
            return internal_err!("the end of a window is one of the columns of its key");
        };
        micros(&self.columns(ids)?[at])
    }

    fn key(&self, id: Id) -> &[u8] {
        self.keys[id as usize].as_ref().map_or(&[], |known| known.key.get())
    }

    /// What of the keys is saved.
    pub(crate) fn journal(&mut self) -> &mut Journal<Known> {
        &mut self.journal
    }

    /// The key of a number that is in use.
    pub(crate) fn known(&self, id: Id) -> Option<&Known> {
        self.keys.get(id as usize)?.as_ref()
    }

    /// The number of a key that is there.
    pub(crate) fn find(&self, known: &Known) -> Option<Id> {
        let same = |id: &Id| {
            let other = self.keys[*id as usize].as_ref();
            other.is_some_and(|other| other.hash == known.hash && equal(other.key.get(), known.key.get()))
        };
        self.table.find(mixed(known.hash), same).copied()
    }

    /// The number of a key, a new one where it is not known.
    pub(crate) fn id_of(&mut self, known: &Known) -> Id {
        let id = self.id(known.key.get(), known.hash);
        self.journal.touch(id as usize);
        id
    }

    /// Some keys as they are written: their hashes, and their columns.
    pub(crate) fn pack(&self, keys: &[&Known]) -> Result<Packed> {
        let mut columns = vec![hashes_of(keys.iter().map(|known| known.hash))];
        columns.extend(self.codec.decode(keys.iter().map(|known| known.key.get()))?);
        Packed::new(columns, keys.len())
    }

    /// Keys that were written.
    pub(crate) fn unpack(&self, packed: &Packed) -> Result<Vec<Known>> {
        let rows = packed.encode(1, &self.codec)?;
        Ok(packed.hashes()?.into_iter().enumerate().map(|(row, hash)| Known::new(hash, rows.row(row))).collect())
    }

    /// A key that was [interned with](Self::intern_with) a prefix, without it.
    pub(crate) fn without_prefix(&self, id: Id) -> &[u8] {
        self.key(id).get(size_of::<Id>()..).unwrap_or_default()
    }

    /// All numbers that are in use, in order.
    pub(crate) fn ids(&self) -> impl Iterator<Item = Id> {
        self.keys.iter().enumerate().filter(|(_, key)| key.is_some()).map(|(id, _)| id as Id)
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.table.len()
    }

    /// More than any number in use.
    pub(crate) fn bound(&self) -> usize {
        self.keys.len()
    }

    /// Bytes of memory.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes + self.journal.bytes()
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
