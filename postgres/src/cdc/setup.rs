//! What is asked of a server, and made there, before a table is read or followed.

use updraft_dataflow::Error;
use updraft_kernel::clock;

use super::streaming::Streaming;
use super::{ChangePartition, Found, Settings, Startup, State, Stood};
use crate::catalog::Described;
use crate::key::Key;
use crate::name::{literal, quoted};
use crate::read::{Reader, Wanted, at};
use crate::replication::Lsn;
use crate::replication::stream::Stream;
use crate::replication::wire::Wire;
use crate::runtime;
use crate::session::{Lost, Session, lost};

/// A slot as the server has it.
struct Slot {
    plugin: Option<String>,
    database: Option<String>,
    /// The process that reads it.
    process: Option<i32>,
    confirmed: Option<Lsn>,
    is_lost: bool,
}

/// How often somebody who reads the slot is asked to go.
const TRIES: u32 = 40;

impl ChangePartition {
    /// Connects, and begins to read or to follow, from where it stands.
    pub(super) async fn open(&mut self) -> Result<(), Lost> {
        let settings = self.settings.clone();
        let follows = settings.startup != Startup::Snapshot;
        if follows {
            self.lock().await?;
        }
        // Whoever takes the lock over throws this out, too.
        let name = if follows { format!("updraft slot {}", settings.slot) } else { "updraft".to_owned() };
        let session = Session::open(&settings.server, &name).await?;
        let table = Described::of(&session.client, &settings.table).await?;
        let found = Found { key: Key::of(&table), table };
        if follows {
            check_server(&session, &found.table).await?;
            publish(&session, &settings, &found.table).await?;
        }
        let stood = self.stand(&session).await?;
        if stood.reading {
            let (reader, lsn) = read(session, &settings, &found, &stood).await?;
            self.state = State::Reading(Box::new(reader), lsn);
        } else if settings.startup == Startup::Snapshot {
            self.state = State::Ended;
        } else {
            let from = Lsn(stood.lsn);
            let stream = Stream::open(&settings.server, &settings.slot, &settings.publication, from, self.safe).await;
            let stream = stream.map_err(Lost::Connection)?;
            self.state = State::Streaming(Box::new(Streaming::new(stream, &settings, found)?));
        }
        Ok(())
    }

    /// Where it stands: as the slot says, for who begins. Nobody else has the slot from now on.
    async fn stand(&mut self, session: &Session) -> Result<Stood, Lost> {
        let (settings, name) = (self.settings.clone(), &self.settings.slot);
        if settings.startup == Startup::Snapshot {
            let begin = || Stood { lsn: 0, given: 0, parts: super::Parts::default(), reading: true };
            return Ok(self.stood.get_or_insert_with(begin).clone());
        }
        let found = self.free(session).await?;
        if let Some(slot) = &found {
            check_slot(slot, &settings)?;
        }
        if let Some(stood) = &self.stood {
            let Some(slot) = found else {
                let remedy = "what has happened since then is not known any more: start the job anew";
                return Err(Error::from(format!("the replication slot '{name}' is gone; {remedy}")).into());
            };
            let stands = slot.confirmed.unwrap_or_default();
            if stands > Lsn(stood.lsn) {
                let (at, remedy) = (Lsn(stood.lsn), "what is between is not known any more: start the job anew");
                return Err(Error::from(format!(
                    "the replication slot '{name}' stands at {stands}, and the job is to go on from {at}; {remedy}"
                ))
                .into());
            }
            return Ok(stood.clone());
        }
        let reading = settings.startup == Startup::Initial;
        let lsn = match (found, settings.startup) {
            (Some(slot), Startup::Initial | Startup::Committed) => slot.confirmed.unwrap_or_default(),
            (Some(_), _) => now(session).await?,
            (None, Startup::Committed) => {
                let remedy = "create it, or choose another 'scan.startup.mode'";
                return Err(Error::from(format!("there is no replication slot '{name}': {remedy}")).into());
            }
            (None, _) => create(&settings).await?,
        };
        let stood = Stood { lsn: lsn.0, given: 0, parts: super::Parts::default(), reading };
        self.safe = self.safe.max(lsn);
        Ok(self.stood.insert(stood).clone())
    }

    /// Takes the slot's lock. Whoever had it when this process began is thrown out; who has taken it from this one keeps it.
    async fn lock(&mut self) -> Result<(), Lost> {
        if self.lock.as_ref().is_some_and(|session| !session.client.is_closed()) {
            return Ok(());
        }
        let slot = &self.settings.slot;
        let name = format!("updraft slot {slot}");
        let session = Session::open(&self.settings.server, &name).await?;
        let what = format!("the lock of the replication slot '{slot}'");
        for _ in 0..TRIES {
            let take = "SELECT pg_try_advisory_lock(hashtext('updraft'), hashtext($1))";
            let taken = session.client.query_one(take, &[slot]).await.map_err(|error| lost(&what, &error))?;
            if taken.get(0) {
                (self.lock, self.had_lock) = (Some(session), true);
                return Ok(());
            }
            if self.had_lock {
                let why = "it has taken over, or the slot is used twice";
                return Err(
                    Error::from(format!("another process reads the replication slot '{slot}' now: {why}")).into()
                );
            }
            let throw_out = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
                             WHERE application_name = left($1, 63) AND pid <> pg_backend_pid()";
            session.client.query(throw_out, &[&name]).await.map_err(|error| lost(&what, &error))?;
            clock::sleep(super::PAUSE / 2).await;
        }
        Err(Error::from(format!("{what} is held by another process, which does not let it go")).into())
    }

    /// The slot, which nobody reads any more: this process has its lock.
    async fn free(&self, session: &Session) -> Result<Option<Slot>, Lost> {
        let slot = &self.settings.slot;
        for _ in 0..TRIES {
            let found = find(session, slot).await?;
            let Some(process) = found.as_ref().and_then(|slot| slot.process) else { return Ok(found) };
            tracing::warn!("the replication slot '{slot}' is taken over from the server's process {process}");
            let thrown = session.client.execute("SELECT pg_terminate_backend($1)", &[&process]).await;
            thrown.map_err(|error| {
                lost(&format!("the replication slot '{slot}' is read by process {process}"), &error)
            })?;
            clock::sleep(super::PAUSE / 2).await;
        }
        Err(Error::from(format!("the replication slot '{slot}' is read by another process, which does not let it go"))
            .into())
    }
}

async fn find(session: &Session, slot: &str) -> Result<Option<Slot>, Lost> {
    let query = "SELECT plugin::text, database::text, active_pid, confirmed_flush_lsn::text, wal_status = 'lost' \
                 FROM pg_replication_slots WHERE slot_name = $1";
    let found = session.client.query_opt(query, &[&slot]).await;
    let found = found.map_err(|error| lost("replication slots", &error))?;
    Ok(found.map(|row| Slot {
        plugin: row.get(0),
        database: row.get(1),
        process: row.get(2),
        confirmed: row.get::<_, Option<&str>>(3).and_then(Lsn::parse),
        is_lost: row.get::<_, Option<bool>>(4) == Some(true),
    }))
}

fn check_slot(slot: &Slot, settings: &Settings) -> Result<(), Error> {
    let name = &settings.slot;
    if slot.plugin.as_deref() != Some("pgoutput") {
        return Err(format!("the replication slot '{name}' is not one of pgoutput: choose another 'slot.name'").into());
    }
    if slot.database.as_deref() != Some(&settings.server.database) {
        return Err(format!("the replication slot '{name}' is of another database: choose another 'slot.name'").into());
    }
    if slot.is_lost {
        let remedy = "drop it, start the job anew, and have the server keep more (max_slot_wal_keep_size)";
        return Err(format!("the server has not kept the log for the replication slot '{name}': {remedy}").into());
    }
    Ok(())
}

/// Where the server's log ends.
async fn now(session: &Session) -> Result<Lsn, Lost> {
    let row = session.client.query_one("SELECT pg_current_wal_insert_lsn()::text", &[]).await;
    let row = row.map_err(|error| lost("where the log ends", &error))?;
    Lsn::parse(row.get(0)).ok_or_else(|| Lost::Job("the server does not say where its log ends".into()))
}

async fn check_server(session: &Session, table: &Described) -> Result<(), Lost> {
    let row = session.client.query_one("SELECT current_setting('wal_level')", &[]).await;
    let level: String = row.map_err(|error| lost("wal_level", &error))?.get(0);
    if level != "logical" {
        return Err(Error::from(format!(
            "the server has wal_level = {level}, which tells no changes: ALTER SYSTEM SET wal_level = logical, and restart it"
        ))
        .into());
    }
    check_identity(table, table.identity)?;
    Ok(())
}

/// Whether all of an old row is told.
pub(super) fn check_identity(table: &Described, identity: char) -> Result<(), Error> {
    if identity == 'f' {
        return Ok(());
    }
    let (name, why) = (
        &table.name,
        match identity {
            'n' => "NOTHING",
            'i' => "USING INDEX",
            _ => "DEFAULT",
        },
    );
    Err(format!(
        "table {name} has REPLICA IDENTITY {why}, so old rows are not told whole: ALTER TABLE {name} REPLICA IDENTITY FULL"
    )
    .into())
}

/// Makes the publication, if it is not there, and looks whether it is of the table.
async fn publish(session: &Session, settings: &Settings, table: &Described) -> Result<(), Lost> {
    let name = &settings.publication;
    let what = format!("publication '{name}'");
    let query = "SELECT pubinsert AND pubupdate AND pubdelete AND pubtruncate, EXISTS (SELECT FROM pg_publication_tables t \
                 WHERE t.pubname = p.pubname AND t.schemaname = $2 AND t.tablename = $3) FROM pg_publication p WHERE p.pubname = $1";
    let of = [name as &(dyn tokio_postgres::types::ToSql + Sync), &table.name.schema, &table.name.name];
    let found = session.client.query_opt(query, &of).await.map_err(|error| lost(&what, &error))?;
    let Some(row) = found else {
        let create = format!("CREATE PUBLICATION {} FOR TABLE {}", quoted(name), table.name);
        tracing::info!("{create}");
        return session.client.batch_execute(&create).await.map_err(|error| lost(&what, &error));
    };
    let (tells_all, has_table): (bool, bool) = (row.get(0), row.get(1));
    if !has_table {
        let remedy = format!("ALTER PUBLICATION {} ADD TABLE {}", quoted(name), table.name);
        return Err(Error::from(format!("{what} is not of table {}: {remedy}", table.name)).into());
    }
    if !tells_all {
        let remedy = format!("ALTER PUBLICATION {} SET (publish = 'insert, update, delete, truncate')", quoted(name));
        return Err(Error::from(format!("{what} does not tell all changes: {remedy}")).into());
    }
    Ok(())
}

/// Makes the slot: where it stands.
async fn create(settings: &Settings) -> Result<Lsn, Lost> {
    let slot = &settings.slot;
    let create = format!("CREATE_REPLICATION_SLOT {} LOGICAL pgoutput NOEXPORT_SNAPSHOT", quoted(slot));
    tracing::info!("{create}");
    let (server, name) = (settings.server.clone(), settings.slot.clone());
    let rows = runtime::run(async move {
        let mut wire = Wire::open(&server, "updraft").await.map_err(Lost::Connection)?;
        wire.query(&create).await.map_err(|lost| lost.of(&format!("the replication slot '{name}'")))
    })
    .await?;
    let lsn = rows?.into_iter().next().and_then(|row| Lsn::parse(row.get(1)?.as_deref()?));
    lsn.ok_or_else(|| Lost::Job(format!("the server does not say where the replication slot '{slot}' stands").into()))
}

/// Reads the table, after the rows that have been read, as of a place in the log.
async fn read(session: Session, settings: &Settings, found: &Found, stood: &Stood) -> Result<(Reader, Lsn), Lost> {
    let schema = super::rows::stored(settings);
    let wanted =
        Wanted { table: &found.table, schema: &schema, key: &found.key, only: None, after: stood.parts.last() };
    if settings.startup == Startup::Snapshot {
        return Ok((Reader::open(session, &wanted).await?, Lsn::default()));
    }
    let (server, process) = (settings.server.clone(), std::process::id());
    let name = format!("updraft_{:x}_{process:x}", clock::wall().as_micros());
    let create = format!("CREATE_REPLICATION_SLOT {} TEMPORARY LOGICAL pgoutput EXPORT_SNAPSHOT", quoted(&name));
    let exported = runtime::run(async move {
        let mut wire = Wire::open(&server, "updraft").await.map_err(Lost::Connection)?;
        let what = "a temporary replication slot, to read the table as of a place in the log";
        let rows = wire.query(&create).await.map_err(|lost| lost.of(what))?;
        let row = rows.into_iter().next().unwrap_or_default();
        let text = |at: usize| row.get(at).cloned().flatten().unwrap_or_default();
        Ok::<_, Lost>((wire, text(1), text(2)))
    });
    let (wire, lsn, snapshot) = exported.await??;
    let lsn = Lsn::parse(&lsn).ok_or_else(|| Error::from(format!("{} is no place in a log", literal(&lsn))))?;
    at(&session, &snapshot).await?;
    // The snapshot has been taken over; the slot goes with its connection.
    drop(wire);
    Ok((Reader::open(session, &wanted).await?, lsn))
}
