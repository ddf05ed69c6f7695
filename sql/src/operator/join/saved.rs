//! How a [`Store`] is saved: the rows that have come since the last time, and those whose extras have changed; and which have gone.
//!
//! Rows may be equal, and their numbers change; so each has a serial number from the first time that it is written: the object
//! that it was first part of, and its place there.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, UInt64Array};
use arrow::datatypes::UInt64Type;
use datafusion_common::{Result, internal_datafusion_err};
use updraft_dataflow::{Hashed, Object};

use super::super::saved::{Entries, Journal, Packed, Share, hashes_of, numbers_of};
use super::store::{Store, take_hashed};

/// What of a store is saved.
#[derive(Clone, Debug, Default)]
pub(super) struct Saving {
    pub(super) journal: Journal<u64>,
    /// Of each row, by its number; [`NEW`] of those that were never written, as of those behind the last one.
    serials: Vec<u64>,
    /// The numbers of rows, while they are taken back.
    rows: Option<HashMap<u64, u32>>,
}

const NEW: u64 = u64::MAX;

/// So many rows are first written with an object, at most.
const PLACES: u32 = 32;

impl Saving {
    fn serial(&self, row: u32) -> u64 {
        self.serials.get(row as usize).copied().unwrap_or(NEW)
    }

    fn set(&mut self, row: u32, serial: u64) {
        self.serials.resize(self.serials.len().max(row as usize + 1), NEW);
        self.serials[row as usize] = serial;
    }

    /// A row is gone.
    pub(super) fn remove(&mut self, row: u32) {
        let serial = self.serial(row);
        if serial != NEW {
            self.journal.remove(|| serial);
        }
        if let Some(rows) = &mut self.rows {
            rows.remove(&serial);
        }
    }

    /// Rows have other numbers: `before` has the old one of each.
    pub(super) fn renumber(&mut self, before: &[u32]) {
        self.journal.renumber(before);
        self.serials = before.iter().map(|row| self.serial(*row)).collect();
        self.rows = None;
    }

    /// Bytes of memory.
    pub(super) fn bytes(&self) -> usize {
        let rows = self.rows.as_ref().map_or(0, |rows| rows.len() * size_of::<(u64, u32)>());
        self.journal.bytes() + self.serials.len() * size_of::<u64>() + rows
    }
}

/// What belongs to each row, as numbers.
pub(super) trait Extra: Copy {
    /// As it is written.
    fn numbers(self) -> [i64; 2];
    /// As it was.
    fn of(numbers: [i64; 2]) -> Self;
}

/// How many partners a row has.
impl Extra for u32 {
    fn numbers(self) -> [i64; 2] {
        [i64::from(self), 0]
    }

    fn of([partners, _]: [i64; 2]) -> Self {
        partners as Self
    }
}

impl<X: Extra> Entries for Store<X> {
    type Gone = u64;
    /// Serial numbers, hashes and extras; then the rows.
    type Some = Packed;

    fn journal(&mut self) -> &mut Journal<u64> {
        &mut self.saving.journal
    }

    fn places(&self) -> Vec<u32> {
        self.numbers().collect()
    }

    fn hash(&self, place: u32) -> Option<u64> {
        ((place as usize) < self.log.len() && self.keys.holds(place)).then(|| self.hashes[place as usize])
    }

    fn pack(&mut self, places: &[u32], object: Object) -> Result<Packed> {
        for row in places {
            if self.saving.serial(*row) == NEW {
                self.saving.set(*row, object.0 << PLACES | u64::from(*row));
            }
        }
        let each = |of: &dyn Fn(u32) -> u64| hashes_of(places.iter().map(|row| of(*row)));
        let extras = |at: usize| numbers_of(places.iter().map(|row| self.extras[*row as usize].numbers()[at]));
        let mut columns = vec![each(&|row| self.hashes[row as usize]), each(&|row| self.saving.serial(row))];
        columns.extend([extras(0), extras(1)]);
        columns.extend(self.log.batch(places)?.columns().iter().cloned());
        Packed::new(columns, places.len())
    }

    fn still_gone(&self, gone: Vec<u64>) -> Vec<u64> {
        gone
    }

    fn pack_gone(&self, gone: &[u64]) -> Result<Packed> {
        let serials: ArrayRef = Arc::new(UInt64Array::from(gone.to_vec()));
        Packed::new(vec![serials], gone.len())
    }

    /// Whoever owned it has told of it.
    fn is_own(_: &u64, _: Share) -> bool {
        true
    }

    fn unpack(&mut self, packed: Packed, share: Share) -> Result<usize> {
        let (hashes, extras) = (packed.hashes()?, [packed.numbers(2)?, packed.numbers(3)?]);
        let serials = packed.columns(1).first().and_then(|column| column.as_primitive_opt::<UInt64Type>());
        let serials = serials.ok_or_else(|| internal_datafusion_err!("what was saved has no serial numbers"))?;
        let own = share.own_rows(&hashes).unwrap_or_else(|| (0..packed.len() as u32).collect());
        if own.is_empty() {
            return Ok(packed.len());
        }
        let before: Vec<_> = own.iter().filter_map(|row| self.find(serials.value(*row as usize))).collect();
        before.into_iter().for_each(|row| self.remove(row));
        let first = self.log.len() as u32;
        let (rows, hashes) = take_hashed(&packed.table(4, &self.log.schema())?, &hashes, &own)?;
        self.push(rows, &hashes, own.iter().map(|row| X::of(extras.map(|extra| extra.value(*row as usize)))))?;
        for (row, from) in (first..).zip(&own) {
            let serial = serials.value(*from as usize);
            self.saving.set(row, serial);
            self.saving.rows.get_or_insert_default().insert(serial, row);
        }
        self.compact()?;
        Ok(packed.len())
    }

    fn unpack_gone(&mut self, gone: &Packed) -> Result<()> {
        for serial in gone.hashes()? {
            if let Some(row) = self.find(serial) {
                self.remove(row);
            }
        }
        Ok(())
    }

    fn clear(&mut self, of: &dyn Fn(u64) -> bool) -> Result<()> {
        let rows: Vec<_> = self.numbers().filter(|row| of(self.hashes[*row as usize])).collect();
        rows.into_iter().for_each(|row| self.remove(row));
        Ok(())
    }
}

impl<X: Extra> Store<X> {
    /// The number of a row that was taken back.
    fn find(&mut self, serial: u64) -> Option<u32> {
        if self.saving.rows.is_none() {
            let known = self.numbers().map(|row| (self.saving.serial(row), row)).filter(|(serial, _)| *serial != NEW);
            self.saving.rows = Some(known.collect());
        }
        self.saving.rows.as_ref()?.get(&serial).copied()
    }

    /// All was taken back.
    pub(super) fn is_loaded(&mut self) {
        self.saving.rows = None;
    }

    /// All was taken back, and nothing will be added or removed: as [`load`](Store::load) would have it.
    pub(super) fn is_complete(&mut self, key: Option<usize>) -> Result<()> {
        let kept: Vec<u32> = self.numbers().collect();
        let hashes: Vec<u64> = kept.iter().map(|row| self.hashes[*row as usize]).collect();
        let rows = Hashed { hashes: hashes.into(), rows: self.log.batch(&kept)?.into() };
        let mut saving = std::mem::take(&mut self.saving);
        saving.renumber(&kept);
        let extras = kept.iter().map(|row| self.extras[*row as usize]).collect();
        *self = Self::load(self.log.schema(), &[rows], key, X::of([0, 0]))?;
        (self.extras, self.saving) = (extras, saving);
        Ok(())
    }
}
