//! [`StateReader`]: the records of an operator's state in a checkpoint, for who looks at it from outside.

use updraft_checkpoint::file::Reader;
use updraft_checkpoint::{Archive, Part};

use super::Layout;
use super::stored::StageNote;
use super::taking::read_note;
use crate::snapshot::Saved;
use crate::source::Error;

/// See the module's page. Records come in order of their objects.
pub struct StateReader<'a> {
    archive: &'a Archive,
    part: &'a Part,
    note: StageNote,
    file: usize,
    reader: Option<Reader>,
}

impl<'a> StateReader<'a> {
    /// Of the part `id` of a checkpoint, a stage.
    ///
    /// # Errors
    /// When it is none.
    pub fn new(archive: &'a Archive, id: &str, part: &'a Part) -> Result<Self, Error> {
        Ok(Self { archive, part, note: read_note(id, &part.note)?, file: 0, reader: None })
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
        loop {
            let Some(file) = self.part.files.get(self.file) else { return Ok(None) };
            let reader = match &mut self.reader {
                Some(reader) => reader,
                none => none.insert(self.archive.read(file).await?),
            };
            let Some(bytes) = reader.next_record().await? else {
                (self.file, self.reader) = (self.file + 1, None);
                continue;
            };
            let saved: Saved = postcard::from_bytes(&bytes)?;
            if self.note.has(saved.object) {
                return Ok(Some(saved));
            }
        }
    }
}

/// What is known of a part without reading it; empty where nothing is.
pub fn layout_of(part: &Part) -> Layout {
    serde_json::from_value(part.about.clone()).unwrap_or_default()
}
