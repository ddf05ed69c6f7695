//! [`ByKey`]: state that is kept by [key](Keys), saved as [`Entries`]: all of a key is written when something of it has changed.

use datafusion_common::{Result, internal_datafusion_err};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use updraft_dataflow::Object;

use super::super::keys::{Id, Keys, Known};
use super::{Entries, Journal, Packed, Share};

/// State by key. Whoever changes that of a key that no row has come for [touches](Keys::touch) the key.
pub(crate) trait ByKey {
    /// What is kept of some keys, as it is written.
    type Content: Serialize + DeserializeOwned;

    /// The keys.
    fn keys(&self) -> &Keys;
    /// The keys.
    fn keys_mut(&mut self) -> &mut Keys;
    /// What is kept of some keys.
    fn write(&mut self, ids: &[Id]) -> Result<Self::Content>;
    /// Takes it back: of keys that nothing is kept of.
    fn read(&mut self, ids: &[Id], content: Self::Content) -> Result<()>;
    /// Forgets keys.
    fn forget(&mut self, ids: &[Id]) -> Result<()>;
}

/// Some keys, and what is kept of them.
#[derive(Serialize, Deserialize)]
pub(crate) struct Some<C> {
    keys: Packed,
    content: C,
}

impl<S: ByKey> Entries for S {
    type Gone = Known;
    type Some = Some<S::Content>;

    fn journal(&mut self) -> &mut Journal<Known> {
        self.keys_mut().journal()
    }

    fn places(&self) -> Vec<u32> {
        self.keys().ids().collect()
    }

    fn hash(&self, place: u32) -> Option<u64> {
        self.keys().known(place).map(Known::hash)
    }

    fn pack(&mut self, places: &[u32], _: Object) -> Result<Self::Some> {
        let known: Vec<_> = places.iter().filter_map(|id| self.keys().known(*id)).collect();
        Ok(Some { keys: self.keys().pack(&known)?, content: self.write(places)? })
    }

    fn still_gone(&self, mut gone: Vec<Known>) -> Vec<Known> {
        gone.retain(|known| self.keys().find(known).is_none());
        gone
    }

    fn pack_gone(&self, gone: &[Known]) -> Result<Packed> {
        self.keys().pack(&gone.iter().collect::<Vec<_>>())
    }

    fn is_own(gone: &Known, share: Share) -> bool {
        share.owns(gone.hash())
    }

    fn unpack(&mut self, some: Self::Some, share: Share) -> Result<usize> {
        let known = self.keys().unpack(&some.keys)?;
        let before: Vec<_> = known.iter().filter_map(|known| self.keys().find(known)).collect();
        self.forget(&before)?;
        let there = self.keys().len();
        let ids: Vec<_> = known.iter().map(|known| self.keys_mut().id_of(known)).collect();
        if self.keys().len() < there + ids.len() {
            return Err(internal_datafusion_err!("what was saved has a key twice"));
        }
        self.read(&ids, some.content)?;
        let others: Vec<_> =
            ids.iter().zip(&known).filter(|(_, known)| !share.owns(known.hash())).map(|(id, _)| *id).collect();
        self.forget(&others)?;
        Ok(ids.len())
    }

    fn unpack_gone(&mut self, gone: &Packed) -> Result<()> {
        let gone: Vec<_> = self.keys().unpack(gone)?.iter().filter_map(|known| self.keys().find(known)).collect();
        self.forget(&gone)
    }

    fn clear(&mut self, of: &dyn Fn(u64) -> bool) -> Result<()> {
        let ids: Vec<_> = self.places().into_iter().filter(|id| Entries::hash(self, *id).is_some_and(of)).collect();
        self.forget(&ids)
    }
}
