//! The bytes of text: all of a file or some of its lines, from their beginning or from where somebody has stopped.

use std::io::SeekFrom;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::io::{AsyncReadExt, AsyncSeekExt};
use tokio::task::spawn_blocking;
use updraft_dataflow::Error;

use super::counted::Counted;
use super::find::Found;
use super::open::{Share, Unit};
use super::plan::Plan;
use super::section::Section;
use super::share::head;
use super::text::Text;
use crate::columns::{Decode, Stand};
use crate::compression::{Compression, Input, MAGIC, pass};

/// The text of a unit, from `stand` on.
pub(super) async fn text(unit: &Unit, stand: Option<Stand>, plan: &Plan) -> Result<Text, Error> {
    let mut decoder = decoder(unit, stand.is_none(), plan).await?;
    let (read, first) = (Arc::<AtomicU64>::default(), Arc::<AtomicU64>::default());
    let (input, first) = match (&stand, &unit.share) {
        (None, Share::Lines(range)) => {
            // The byte before them tells whether the first one is the beginning of a line.
            let input = bytes(&unit.file, range.start.saturating_sub(1), &read).await?;
            let section = Section::new(input, range.clone());
            let first = section.first();
            (Box::new(section) as Input, first)
        }
        (Some(Stand { spot, .. }), Share::Lines(range)) => {
            read.store(spot.byte.saturating_sub(range.start), Ordering::Relaxed);
            let input = bytes(&unit.file, spot.byte, &read).await?;
            (Box::new(Section::from(input, spot.byte, range.end)) as Input, first)
        }
        (_, Share::All | Share::Groups(_)) => {
            (whole(&unit.file, stand.as_ref().map_or(0, |stand| stand.spot.byte), plan, &read).await?, first)
        }
    };
    if let Some(stand) = stand.clone() {
        decoder.go_on(stand)?;
    }
    Ok(Text::new(input, read, first, decoder, stand))
}

/// What decodes them. Where they are of the middle of a file, its `fresh` decoder is told what the first lines say; any
/// other one knows.
async fn decoder(unit: &Unit, fresh: bool, plan: &Plan) -> Result<Box<dyn Decode>, Error> {
    let (name, format) = (unit.file.name(), &plan.settings.format);
    match &unit.share {
        Share::Lines(range) if range.start > 0 => {
            let (origin, file) = (format!("{name}, from byte {}", range.start), unit.file.clone());
            if !fresh {
                return format.decoder(&plan.stored, &plan.wanted, &origin);
            }
            let head = spawn_blocking(move || head(&file)).await??;
            format.decoder_within(&plan.stored, &plan.wanted, &origin, &head)
        }
        _ => format.decoder(&plan.stored, &plan.wanted, &name),
    }
}

/// A file, decompressed if need be, from byte `from` of what is in it on. What is not compressed is not read up to
/// there.
async fn whole(file: &Found, from: u64, plan: &Plan, read: &Arc<AtomicU64>) -> Result<Input, Error> {
    let failed = |error| file.cannot_read(&error);
    let compression = plan.settings.compression_of(&file.path);
    if from > 0 && compression == Compression::Plain {
        let mut magic = Vec::new();
        bytes(file, 0, &Arc::default()).await?.take(MAGIC).read_to_end(&mut magic).await.map_err(failed)?;
        if Compression::of_magic(&magic) == Compression::Plain {
            read.store(from, Ordering::Relaxed);
            return bytes(file, from, read).await;
        }
    }
    let mut input = compression.reader(bytes(file, 0, read).await?).await.map_err(failed)?;
    if pass(&mut input, from).await.map_err(failed)? < from { Err(shorter(file, from)) } else { Ok(input) }
}

/// The bytes of a file from byte `from` on; how many have been read is added to `read`.
async fn bytes(file: &Found, from: u64, read: &Arc<AtomicU64>) -> Result<Input, Error> {
    if let Some(store) = &file.store {
        if from > 0 && from >= file.size {
            // Nothing is there, which no store can be asked for.
            return Ok(Box::new(tokio::io::empty()));
        }
        return Ok(Box::new(Counted::new(store.stream(&file.path.to_string_lossy(), from)?, read)));
    }
    let open = async {
        let mut open = tokio::fs::File::open(&file.path).await?;
        let length = open.metadata().await?.len();
        open.seek(SeekFrom::Start(from)).await?;
        Ok::<_, std::io::Error>((open, length))
    };
    let (open, length) = open.await.map_err(|error| file.cannot_read(&error))?;
    if length < from { Err(shorter(file, from)) } else { Ok(Box::new(Counted::new(open, read))) }
}

fn shorter(file: &Found, from: u64) -> Error {
    let remedy = "put back the file that was read, or start the job anew";
    format!("{}: is to be read on from byte {from}, but is shorter: {remedy}", file.name()).into()
}
