//! [`Streaming`]: the changes of a table, as they are told.

use std::time::Duration;

use arrow_schema::SchemaRef;
use updraft_dataflow::{Error, RowKind, Rows};
use updraft_kernel::clock;

use super::{Found, Settings, Stood, rows, setup};
use crate::decode::Columns;
use crate::replication::Lsn;
use crate::replication::pgoutput::{self, Message, Old, Relation, Value};
use crate::replication::stream::{Event, Stream};
use crate::session::Lost;

/// How long it waits for changes before it tells where it stands, if that has moved.
const QUIET: Duration = Duration::from_millis(200);
/// Bytes of a batch, at most, about.
const BYTES: usize = 4 << 20;

/// See the module's page.
pub(super) struct Streaming {
    stream: Stream,
    found: Found,
    stored: SchemaRef,
    columns: Columns,
    kinds: Vec<RowKind>,
    times: Vec<i64>,
    /// The table as it is told now.
    relation: Option<Told>,
    transaction: Option<Transaction>,
}

/// A table as it is told.
struct Told {
    id: u32,
    /// Its columns.
    names: Vec<String>,
    /// Where the columns that are asked for are among them; or why it cannot be followed as it is.
    wanted: Result<Vec<usize>, String>,
}

/// The transaction whose changes are being told.
#[derive(Clone, Copy)]
struct Transaction {
    commit: Lsn,
    time: i64,
    /// How many changes have been told.
    told: u64,
    /// How many of them had been given before the connection was made.
    given: u64,
}

impl Streaming {
    pub(super) fn new(stream: Stream, settings: &Settings, found: Found) -> Result<Self, Error> {
        let stored = rows::stored(settings);
        let columns = Columns::new(stored.clone())?;
        let (kinds, times, relation, transaction) = (Vec::new(), Vec::new(), None, None);
        Ok(Self { stream, found, stored, columns, kinds, times, relation, transaction })
    }

    pub(super) fn is_safe(&self, lsn: Lsn) {
        self.stream.is_safe(lsn);
    }

    /// The next changes; none where the log has none, but goes on.
    pub(super) async fn next(
        &mut self,
        settings: &Settings,
        stood: &mut Stood,
        limit: usize,
    ) -> Result<Option<Rows>, Lost> {
        let mut now = stood.clone();
        loop {
            let event = match self.stream.events.try_recv() {
                Ok(event) => Some(event),
                Err(_) if !self.kinds.is_empty() => None,
                Err(_) => match clock::timeout(QUIET, self.stream.events.recv()).await {
                    Some(Some(event)) => Some(event),
                    Some(None) => return Err(Lost::Connection("the connection has ended".into())),
                    // So that one hears of checkpoints.
                    None => None,
                },
            };
            let is_over = event.is_none();
            match event {
                Some(Ok(Event::Message(bytes))) => {
                    let message = pgoutput::parse(&bytes).map_err(|error| Lost::Job(error.into()))?;
                    self.take(settings, &mut now, &message)?;
                }
                Some(Ok(Event::Quiet(lsn))) if self.transaction.is_none() && lsn.0 > now.lsn => {
                    now.lsn = lsn.0;
                    now.parts.passed(lsn);
                }
                Some(Ok(Event::Quiet(_))) | None => {}
                Some(Err(error)) => return Err(Lost::Connection(error)),
            }
            if is_over || self.kinds.len() >= limit.max(1) || self.columns.bytes() >= BYTES {
                let rows = self.finish(settings)?;
                *stood = now;
                return Ok(rows);
            }
        }
    }

    fn finish(&mut self, settings: &Settings) -> Result<Option<Rows>, Error> {
        let (kinds, times) = (std::mem::take(&mut self.kinds), std::mem::take(&mut self.times));
        if kinds.is_empty() {
            return Ok(None);
        }
        let batch =
            self.columns.finish().map_err(|error| format!("table {}: a change: {error}", self.found.table.name))?;
        Ok(Some(Rows::changes(rows::arrange_at(settings, &batch, &times)?, kinds)))
    }

    fn take(&mut self, settings: &Settings, stood: &mut Stood, message: &Message<'_>) -> Result<(), Error> {
        match message {
            Message::Begin { commit, time, .. } => {
                let (commit, given) = (Lsn(*commit), stood.given);
                self.transaction = Some(Transaction { commit, time: *time, told: 0, given });
            }
            Message::Commit { end, .. } => {
                self.transaction = None;
                (stood.lsn, stood.given) = (*end, 0);
                stood.parts.passed(Lsn(*end));
            }
            Message::Relation(relation) => self.relate(relation)?,
            Message::Truncate(relations) => {
                let is_ours = self.relation.as_ref().is_some_and(|told| relations.contains(&told.id));
                // Rows that were read later are not among those.
                let transaction = if is_ours { self.is_new(stood)? } else { None };
                let matters = |transaction: Transaction| !stood.parts.are_later_than(transaction.commit);
                if transaction.is_some_and(matters) && !settings.ignores_truncate {
                    let (name, remedy) =
                        (&self.found.table.name, "use DELETE, start the job anew, or set 'scan.truncate' = 'ignore'");
                    return Err(format!(
                        "table {name} was emptied by TRUNCATE, which does not tell the rows: {remedy}"
                    )
                    .into());
                }
            }
            Message::Insert { relation, new } if self.is_ours(*relation) => self.change(stood, None, Some(new))?,
            Message::Update { relation, old, new } if self.is_ours(*relation) => {
                self.change(stood, Some(old.as_ref()), Some(new))?;
            }
            Message::Delete { relation, old } if self.is_ours(*relation) => {
                self.change(stood, Some(Some(old)), None)?;
            }
            Message::Insert { .. } | Message::Update { .. } | Message::Delete { .. } | Message::Other(_) => {}
        }
        Ok(())
    }

    fn is_ours(&self, relation: u32) -> bool {
        self.relation.as_ref().is_some_and(|told| told.id == relation)
    }

    /// What the table looks like from now on.
    fn relate(&mut self, relation: &Relation<'_>) -> Result<(), Error> {
        let name = &self.found.table.name;
        if relation.name != name.name || Some(relation.schema) != name.schema.as_deref() {
            return Ok(());
        }
        let names: Vec<_> = relation.columns.iter().map(|column| column.name.to_owned()).collect();
        let place = |wanted: &str| {
            let remedy = "declare the table's columns anew, and start the job anew";
            let missing = || Error::from(format!("table {name} has no column `{wanted}` any more: {remedy}"));
            names.iter().position(|name| name == wanted).ok_or_else(missing)
        };
        let wanted = || -> Result<Vec<usize>, Error> {
            setup::check_identity(&self.found.table, char::from(relation.identity))?;
            self.found.key.columns().try_for_each(|key| place(key).map(drop))?;
            self.stored.fields().iter().map(|field| place(field.name())).collect()
        };
        // It may be that of a time before the table was read, of which no change is given.
        let wanted = wanted().map_err(|error| error.to_string());
        self.relation = Some(Told { id: relation.id, names, wanted });
        Ok(())
    }

    /// One more change of the transaction; which one, unless it has been given before.
    fn is_new(&mut self, stood: &mut Stood) -> Result<Option<Transaction>, Error> {
        let Some(transaction) = &mut self.transaction else { return Err("a change outside of transactions".into()) };
        transaction.told += 1;
        if transaction.told <= transaction.given {
            return Ok(None);
        }
        stood.given = transaction.told;
        Ok(Some(*transaction))
    }

    /// A row that comes, goes, or is replaced.
    fn change(
        &mut self,
        stood: &mut Stood,
        old: Option<Option<&Old<'_>>>,
        new: Option<&Vec<Value<'_>>>,
    ) -> Result<(), Error> {
        let Some(transaction) = self.is_new(stood)? else { return Ok(()) };
        let Some(told) = &self.relation else { return Ok(()) };
        if stood.parts.are_later_than(transaction.commit) {
            return Ok(());
        }
        let wanted = told.wanted.as_ref().map_err(String::as_str)?;
        let old = match old {
            None => None,
            Some(Some(Old::Row(values))) => Some(&**values),
            Some(_) => return setup::check_identity(&self.found.table, 'd'),
        };
        let new = new.map(|new| filled(new, old)).transpose()?;
        for row in [old, new.as_deref()].into_iter().flatten() {
            if row.len() != told.names.len() {
                return Err(
                    format!("a row has {} values, and the table {} columns", row.len(), told.names.len()).into()
                );
            }
        }
        let is_given = |row: &&[Value<'_>]| {
            let value = |name: &str| text(row[told.names.iter().position(|other| other == name)?]);
            !stood.parts.has(&self.found.key, || self.found.key.value(value), transaction.commit)
        };
        let (old, new) = (old.filter(is_given), new.as_deref().filter(is_given));
        let kinds = match (old.is_some(), new.is_some()) {
            (true, true) => (RowKind::UpdateBefore, RowKind::UpdateAfter),
            _ => (RowKind::Delete, RowKind::Insert),
        };
        for (row, kind) in [(old, kinds.0), (new, kinds.1)] {
            let Some(row) = row else { continue };
            self.columns.push(wanted.iter().map(|column| text(row[*column])));
            self.kinds.push(kind);
            self.times.push(transaction.time);
        }
        Ok(())
    }
}

fn text(value: Value<'_>) -> Option<&str> {
    if let Value::Text(text) = value { Some(text) } else { None }
}

/// A new row, with what has not been changed of the old one.
fn filled<'a>(new: &[Value<'a>], old: Option<&[Value<'a>]>) -> Result<Vec<Value<'a>>, Error> {
    let fill = |(at, value): (usize, &Value<'a>)| match (value, old.and_then(|old| old.get(at))) {
        (Value::Unchanged, Some(old)) if *old != Value::Unchanged => Ok(*old),
        (Value::Unchanged, _) => {
            Err("a large value that was not changed is not told: REPLICA IDENTITY FULL tells it".into())
        }
        (value, _) => Ok(*value),
    };
    new.iter().enumerate().map(fill).collect()
}
