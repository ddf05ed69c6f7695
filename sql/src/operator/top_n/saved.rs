//! What is saved of a Top-N: all rows of the partitions that have changed. What was shown of them, and what can't be any more,
//! follows from these.

use datafusion_common::Result;
use serde::{Deserialize, Serialize};

use super::super::group_by::Tell;
use super::super::keys::{Id, Keys};
use super::super::saved::{ByKey, Packed, Several};
use super::{Shown, State};

/// What is kept of partitions.
#[derive(Serialize, Deserialize)]
pub(crate) struct Content {
    /// In order.
    rows: Packed,
    /// When they have last been touched.
    last: Packed,
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
        let mut rows = Several::default();
        for (of, id) in ids.iter().enumerate() {
            self.tops[*id as usize].rows.values().for_each(|row| rows.push(of, 0, row));
        }
        let last = Packed::new(vec![self.expiry.pack(ids)], ids.len())?;
        Ok(Content { rows: rows.pack(&self.whole)?, last })
    }

    fn read(&mut self, ids: &[Id], Content { rows, last }: Content) -> Result<()> {
        self.tops.resize_with(self.keys.bound(), super::Top::default);
        let batch = rows.table(2, &self.plan.input)?;
        let (order, whole) = (self.order.encode(&batch)?, rows.encode(2, &self.whole)?);
        last.of_rows(ids.len())?;
        for (row, of) in rows.of(ids)?.into_iter().enumerate() {
            let top = &mut self.tops[of as usize];
            self.bytes += top.come((order.row(row).into(), self.arrived), whole.row(row));
            top.kept = top.rows.len();
            self.arrived += 1;
        }
        self.expiry.unpack(ids, last.numbers(0)?);
        match (self.plan.window_end, self.plan.tell) {
            (Some(end), _) => self.ends.add(ids, &self.keys.micros(ids, &self.plan.partition, end)?),
            (None, Tell::Last) => self.touched.add(ids, self.keys.bound()),
            (None, Tell::Epoch | Tell::Bundle) => {
                for id in ids {
                    let top = &mut self.tops[*id as usize];
                    top.shown = top.to_show(&self.plan);
                    self.bytes += top.shown.len() * size_of::<Shown>();
                }
            }
        }
        Ok(())
    }

    fn forget(&mut self, ids: &[Id]) -> Result<()> {
        ids.iter().for_each(|id| self.drop_key(*id));
        Ok(())
    }
}
