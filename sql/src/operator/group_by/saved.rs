//! What is saved of groups: all of each that has changed, its values too where they are kept one by one.

use datafusion_common::{Result, internal_datafusion_err};
use serde::{Deserialize, Serialize};

use super::super::keys::{Id, Keys};
use super::super::saved::{ByKey, Packed, numbers_of};
use super::State;
use super::merged::MergedContent;

/// What is kept of groups.
#[derive(Serialize, Deserialize)]
pub(crate) struct Content {
    /// How many rows each has, and when the last one came.
    counts: Packed,
    merged: MergedContent,
    others: Vec<Packed>,
    shown: Packed,
}

impl ByKey for State {
    type Content = Content;

    fn keys(&self) -> &Keys {
        &self.keys
    }

    fn keys_mut(&mut self) -> &mut Keys {
        &mut self.keys
    }

    fn write(&mut self, ids: &[Id]) -> Result<Content> {
        let counts = numbers_of(ids.iter().map(|id| self.counts[*id as usize]));
        let counts = Packed::new(vec![counts, self.expiry.pack(ids)], ids.len())?;
        let others = self.others.iter().map(|other| other.pack(ids)).collect::<Result<_>>()?;
        Ok(Content { counts, merged: self.merged.pack(ids)?, others, shown: self.shown.pack(ids)? })
    }

    fn read(&mut self, ids: &[Id], Content { counts, merged, others, shown }: Content) -> Result<()> {
        self.counts.resize(self.keys.bound(), 0);
        counts.of_rows(ids.len())?;
        if others.len() != self.others.len() {
            return Err(internal_datafusion_err!("what was saved is of other aggregates"));
        }
        ids.iter().zip(counts.numbers(0)?.values()).for_each(|(id, count)| self.counts[*id as usize] = *count);
        self.expiry.unpack(ids, counts.numbers(1)?);
        self.merged.unpack(ids, &merged)?;
        self.others.iter_mut().zip(&others).try_for_each(|(other, packed)| other.unpack(ids, packed))?;
        self.shown.unpack(ids, &shown)
    }

    fn forget(&mut self, ids: &[Id]) -> Result<()> {
        if ids.is_empty() {
            return Ok(());
        }
        self.merged.forget(ids)?;
        self.others.iter_mut().for_each(|other| other.forget(ids));
        self.shown.remove(ids.iter().copied())?;
        for id in ids {
            self.counts[*id as usize] = 0;
            self.keys.remove(*id);
        }
        Ok(())
    }
}
