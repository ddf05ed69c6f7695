//! [`Plan`]: what becomes of the parts of a checkpoint, and of those of the job that goes on from it, before it does.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use updraft_checkpoint::{Manifest, Part};

use super::Layout;
use super::ids::Id;
use crate::explain::NodeKind;

/// What a job does that goes on from a checkpoint of another shape.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Changes {
    /// It does not start.
    #[default]
    Strict,
    /// It goes on as the [plan](Plan) says.
    Allow,
}

/// See the module's page. `Display` is text for people: a line for each part that is not simply gone on with.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Plan {
    /// The number of the checkpoint.
    pub checkpoint: u64,
    /// All parts, in order of their ids.
    pub parts: BTreeMap<String, Becomes>,
}

/// What becomes of a part.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Becomes {
    /// It goes on where it was.
    Reused,
    /// The same, though the stateless operators before it are others: what they have let through stays.
    Fed,
    /// It goes on with what was stored, which is read as something else.
    Migrated(String),
    /// It is new, and knows nothing of what came before.
    New,
    /// It begins empty, for what was stored is of another kind.
    Rebuilt(String),
    /// The job does not have it any more.
    Dropped,
    /// A sink that the job does not have any more: what it had prepared is committed first.
    Committed,
    /// A sink that the job does not have any more, and nobody can commit what it had prepared.
    Lost,
}

impl Becomes {
    /// Whether somebody has to agree to it.
    pub fn is_change(&self) -> bool {
        !matches!(self, Self::Reused | Self::Fed)
    }
}

impl Plan {
    /// What becomes of a checkpoint in a job of these parts, which can commit what sinks of these ids have prepared.
    pub(super) fn of(number: u64, manifest: &Manifest, parts: &[Id], committed: &[Arc<str>]) -> Self {
        let mut plan = BTreeMap::new();
        for part in parts {
            let becomes = match manifest.parts.get(&*part.id) {
                Some(was) => gone_on_with(part, was, manifest),
                // Of a job that has come to its end there are sinks alone.
                None if manifest.finished && part.kind != NodeKind::Sink => continue,
                None => Becomes::New,
            };
            plan.insert(part.id.to_string(), becomes);
        }
        for (id, was) in &manifest.parts {
            if plan.contains_key(id) {
                continue;
            }
            let becomes = match (has_prepared(id, was), committed.iter().any(|other| **other == **id)) {
                (false, _) => Becomes::Dropped,
                (true, true) => Becomes::Committed,
                (true, false) => Becomes::Lost,
            };
            plan.insert(id.clone(), becomes);
        }
        Self { checkpoint: number, parts: plan }
    }

    /// Whether somebody has to agree to it.
    pub fn has_changes(&self) -> bool {
        self.parts.values().any(Becomes::is_change)
    }

    /// Whether there is nothing to tell.
    pub fn is_plain(&self) -> bool {
        self.parts.values().all(|becomes| *becomes == Becomes::Reused)
    }

    /// Parts of which this becomes.
    pub fn of_those(&self, becomes: &Becomes) -> impl Iterator<Item = &str> {
        self.parts.iter().filter(move |(_, other)| *other == becomes).map(|(id, _)| id.as_str())
    }

    /// The ids of sinks that the job does not have, and that have prepared something.
    pub fn gone_sinks(&self) -> impl Iterator<Item = &str> {
        let gone = |becomes: &Becomes| matches!(becomes, Becomes::Committed | Becomes::Lost);
        self.parts.iter().filter(move |(_, becomes)| gone(becomes)).map(|(id, _)| id.as_str())
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (id, becomes) in self.parts.iter().filter(|(_, becomes)| **becomes != Becomes::Reused) {
            match becomes {
                Becomes::Reused => {}
                Becomes::Fed => writeln!(f, "  {id}: goes on, and is given other rows from now on")?,
                Becomes::Migrated(how) => writeln!(f, "  {id}: migrated: {how}")?,
                Becomes::New if id.starts_with("stage ") => {
                    writeln!(f, "  {id}: new, begins empty: it knows nothing of what was read before")?;
                }
                Becomes::New if id.starts_with("sink ") => {
                    writeln!(f, "  {id}: new, gets what comes from now on")?;
                }
                Becomes::New => writeln!(f, "  {id}: new, read from its beginning")?,
                Becomes::Rebuilt(why) => writeln!(f, "  {id}: begins empty, its state is dropped: {why}")?,
                Becomes::Dropped if id.starts_with("stage ") => writeln!(f, "  {id}: gone, its state is dropped")?,
                Becomes::Dropped => writeln!(f, "  {id}: gone")?,
                Becomes::Committed => writeln!(f, "  {id}: gone, what it has prepared is committed first")?,
                Becomes::Lost => {
                    writeln!(f, "  {id}: gone, and what it has prepared cannot be committed without it")?;
                }
            }
        }
        Ok(())
    }
}

/// Whether a sink had prepared something that may not be committed yet.
fn has_prepared(id: &str, part: &Part) -> bool {
    id.starts_with("sink ") && part.note.as_array().is_some_and(|all| all.iter().any(|one| !one.is_null()))
}

/// What becomes of a part that was there.
fn gone_on_with(part: &Id, was: &Part, manifest: &Manifest) -> Becomes {
    if part.kind != NodeKind::Stage {
        return Becomes::Reused;
    }
    // Which is which of those that are numbered is known by their order alone, which may be another now.
    let family = part.id.split(" #").next().unwrap_or_default();
    let before = manifest.parts.keys().filter(|id| is_of(id, family)).count();
    if let Some(now) = part.is_one_of.filter(|now| *now != before) {
        return Becomes::Rebuilt(format!("there were {before} of that name, and are {now}: give each a `uid`"));
    }
    let Ok(old) = serde_json::from_value::<Layout>(was.about.clone()) else { return Becomes::Reused };
    match old.to(&part.layout) {
        Err(why) => Becomes::Rebuilt(why),
        Ok(changes) if !changes.is_empty() => Becomes::Migrated(changes.join("; ")),
        Ok(_) if old.reads != part.layout.reads => Becomes::Fed,
        Ok(_) => Becomes::Reused,
    }
}

/// Whether an id is that name, or one of that name with a number.
fn is_of(id: &str, family: &str) -> bool {
    let number = id.strip_prefix(family).map(|rest| rest.strip_prefix(" #").unwrap_or(rest));
    number.is_some_and(|number| number.is_empty() || number.parse::<u32>().is_ok())
}
