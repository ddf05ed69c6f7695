//! [`StateReader`]: the records of an operator's state in a checkpoint, for who looks at it from outside.

use updraft_checkpoint::{Archive, Part};

use super::Layout;
use super::stored::{StageNote, Through};
use super::taking::read_note;
use crate::snapshot::Saved;
use crate::source::Error;

/// See the module's page. Records come in order of their objects.
pub struct StateReader<'a> {
    archive: &'a Archive,
    part: &'a Part,
    note: StageNote,
    through: Through,
}

impl<'a> StateReader<'a> {
    /// Of the part `id` of a checkpoint, a stage.
    ///
    /// # Errors
    /// When it is none.
    pub fn new(archive: &'a Archive, id: &str, part: &'a Part) -> Result<Self, Error> {
        Ok(Self { archive, part, note: read_note(id, &part.note)?, through: Through::default() })
    }

    /// How many objects the state is made of.
    pub fn objects(&self) -> u64 {
        self.note.count()
    }

    /// The next record; none at the end.
    ///
    /// # Errors
    /// When the store fails, or a file is damaged.
    pub async fn next(&mut self) -> Result<Option<Saved>, Error> {
        let Self { archive, part, note, through } = self;
        while let Some((_, saved)) =
            through.next(|file| part.files.get(file), async |file| archive.read(file).await).await?
        {
            if note.has(saved.object) {
                return Ok(Some(saved));
            }
        }
        Ok(None)
    }
}

/// What is known of a part without reading it; empty where nothing is.
pub fn layout_of(part: &Part) -> Layout {
    serde_json::from_value(part.about.clone()).unwrap_or_default()
}
