//! What is saved of sessions: all that are open of each key that has changed.

use datafusion_common::Result;
use serde::{Deserialize, Serialize};

use super::super::group_by::merged::MergedContent;
use super::super::keys::{Id, Keys};
use super::super::saved::{ByKey, Packed, Several, numbers_of};
use super::{Contents, Open, Session, State, bytes_of};

/// The open sessions of keys.
#[derive(Serialize, Deserialize)]
pub(crate) struct Content {
    /// Whose each is, its first and its last row; those of a key in order.
    sessions: Packed,
    made_of: MadeOf,
}

/// What sessions are made of.
#[derive(Serialize, Deserialize)]
enum MadeOf {
    States(MergedContent),
    Rows(Packed),
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
        let of_key =
            |(of, key): (usize, &Id)| self.open[*key as usize].sessions.iter().map(move |one| (of as i64, *one));
        let sessions: Vec<(i64, Session)> = ids.iter().enumerate().flat_map(of_key).collect();
        let numbers: Vec<_> = sessions.iter().map(|(_, session)| session.id).collect();
        let of = numbers_of(sessions.iter().map(|(of, _)| *of));
        let first = numbers_of(sessions.iter().map(|(_, session)| session.first));
        let last = numbers_of(sessions.iter().map(|(_, session)| session.last));
        Ok(Content {
            made_of: self.contents.pack(&numbers)?,
            sessions: Packed::new(vec![of, first, last], sessions.len())?,
        })
    }

    fn read(&mut self, ids: &[Id], Content { sessions, made_of }: Content) -> Result<()> {
        self.open.resize_with(self.keys.bound(), Open::default);
        let [first, last] = [1, 2].map(|column| sessions.numbers(column));
        let mut numbers = Vec::new();
        for ((key, first), last) in sessions.of(ids)?.into_iter().zip(first?.values()).zip(last?.values()) {
            let id = self.free.pop().unwrap_or(self.sessions);
            self.sessions = self.sessions.max(id + 1);
            numbers.push(id);
            let Open { sessions, look } = &mut self.open[key as usize];
            // The next batch will be another than this.
            sessions.push(Session { first: *first, last: *last, id, since: self.batches });
            if look.is_none() {
                let part = last.div_euclid(self.width);
                *look = Some(part);
                self.looks.entry(part).or_default().push(key);
            }
        }
        self.contents.unpack(&numbers, &made_of, self.sessions)
    }

    fn forget(&mut self, ids: &[Id]) -> Result<()> {
        for id in ids {
            let open = std::mem::take(&mut self.open[*id as usize]);
            let sessions: Vec<_> = open.sessions.iter().map(|session| session.id).collect();
            self.contents.forget(&sessions)?;
            self.free.extend(sessions);
            self.keys.remove(*id);
        }
        Ok(())
    }
}

impl Contents {
    fn pack(&self, sessions: &[Id]) -> Result<MadeOf> {
        Ok(match self {
            Self::States(states) => MadeOf::States(states.pack(sessions)?),
            Self::Rows { whole, rows, .. } => {
                let mut several = Several::default();
                for (of, session) in sessions.iter().enumerate() {
                    rows[*session as usize].iter().for_each(|row| several.push(of, 0, row));
                }
                MadeOf::Rows(several.pack(whole)?)
            }
        })
    }

    fn unpack(&mut self, sessions: &[Id], made_of: &MadeOf, bound: Id) -> Result<()> {
        match (self, made_of) {
            (Self::States(states), MadeOf::States(packed)) => states.unpack(sessions, packed),
            (Self::Rows { whole, rows, bytes }, MadeOf::Rows(packed)) => {
                rows.resize_with(rows.len().max(bound as usize), Vec::new);
                let encoded = packed.encode(2, whole)?;
                for (row, session) in packed.of(sessions)?.into_iter().enumerate() {
                    *bytes += bytes_of(encoded.row(row));
                    rows[session as usize].push(encoded.row(row).into());
                }
                Ok(())
            }
            _ => datafusion_common::internal_err!("what was saved of sessions is of another kind"),
        }
    }
}
