//! Tables of SQL, by the names and options that they have in Flink: `'connector' = 'jdbc'` and `'connector' = 'postgres-cdc'`.

use std::time::Duration;

use arrow_schema::{DataType, SchemaRef};
use updraft_dataflow::Error;
use updraft_dataflow::connector::{
    AnySink, AnySource, Changelog, Column, Connector, OptionSpec, Options, Registry, Scan, Table,
};

use crate::catalog::Described;
use crate::cdc::{ChangeSource, METADATA, Settings, Startup, metadata_type};
use crate::name::TableName;
use crate::runtime;
use crate::scan::TableSource;
use crate::server::Server;
use crate::session::Session;
use crate::sink::TableSink;

/// The same connectors, and those of this crate.
pub fn register(registry: Registry) -> Registry {
    registry.with(Jdbc).with(Cdc)
}

/// `'connector' = 'jdbc'`: a table of a database, which is read to its end, or written to.
///
/// A table that is declared with a `PRIMARY KEY` takes updates and deletions.
#[derive(Clone, Copy, Debug)]
pub struct Jdbc;

const JDBC: [OptionSpec; 16] = [
    OptionSpec { name: "url", about: "The database: jdbc:postgresql://host:port/database." },
    OptionSpec { name: "table-name", about: "The table there, with its schema or without: case matters." },
    OptionSpec { name: "username", about: "As whom, unless the URL says it." },
    OptionSpec { name: "password", about: "With which password, unless the URL says it." },
    OptionSpec { name: "driver", about: "Nothing: for statements that are written for Flink." },
    OptionSpec { name: "scan.partition.column", about: "A column of whole numbers by which a table is read in parts." },
    OptionSpec { name: "scan.partition.num", about: "How many parts." },
    OptionSpec { name: "scan.partition.lower-bound", about: "Where the first part begins, but for smaller ones." },
    OptionSpec { name: "scan.partition.upper-bound", about: "Where the last part ends, but for larger ones." },
    OptionSpec { name: "scan.fetch-size", about: "Nothing: rows come as a stream." },
    OptionSpec { name: "scan.auto-commit", about: "Nothing: all rows are read as of one moment." },
    OptionSpec { name: "sink.buffer-flush.max-rows", about: "Rows that are written together, at most (10000)." },
    OptionSpec { name: "sink.buffer-flush.interval", about: "How long rows are gathered, at most (1s)." },
    OptionSpec { name: "sink.max-retries", about: "How often a transaction is tried again (3)." },
    OptionSpec {
        name: "sink.delivery-guarantee",
        about: "exactly-once: rows appear with their checkpoint; at-least-once: early (by default where there is a primary key).",
    },
    OptionSpec { name: "sink.commits-table", about: "Where is noted what has been committed (updraft_commits)." },
];

fn server(options: &Options) -> Result<Server, Error> {
    let mut server = Server::parse(options.required("url")?)?;
    if let Some(user) = options.get("username") {
        server = server.user(user);
    }
    if let Some(password) = options.get("password") {
        server = server.password(password);
    }
    Ok(server)
}

fn table_name(options: &Options) -> Result<TableName, Error> {
    TableName::parse(options.required("table-name")?)
}

/// The columns that the database says.
fn infer(table: &Table, server: Server, name: TableName) -> Result<SchemaRef, Error> {
    let asked = runtime::wait(async move {
        let session = Session::open(&server, "updraft").await?;
        Ok::<_, Error>(Described::of(&session.client, &name).await?.schema())
    })?;
    asked.map_err(|error| format!("table `{}`: its columns cannot be told: {error}", table.name).into())
}

/// `1s`, `500 ms`, `2 min`; a number alone is of milliseconds.
fn duration(options: &Options, name: &str) -> Result<Option<Duration>, Error> {
    let Some(text) = options.get(name) else { return Ok(None) };
    let end = text.find(|char: char| !char.is_ascii_digit()).unwrap_or(text.len());
    let millis = match text[end..].trim() {
        "" | "ms" => Some(1),
        "s" | "sec" => Some(1_000),
        "min" | "m" => Some(60_000),
        "h" => Some(3_600_000),
        _ => None,
    };
    let span = text[..end].parse::<u64>().ok().zip(millis).and_then(|(number, millis)| number.checked_mul(millis));
    let wrong = || format!("option '{name}' = '{text}': not a span of time such as 500ms, 1s or 2min").into();
    span.map(|span| Some(Duration::from_millis(span))).ok_or_else(wrong)
}

impl Connector for Jdbc {
    fn name(&self) -> &'static str {
        "jdbc"
    }

    fn options(&self) -> Vec<OptionSpec> {
        JDBC.to_vec()
    }

    fn infer(&self, table: &Table) -> Result<SchemaRef, Error> {
        infer(table, server(&table.options)?, table_name(&table.options)?)
    }

    fn is_bounded(&self, _: &Table) -> bool {
        true
    }

    fn source(&self, table: &Table, scan: &Scan) -> Result<AnySource, Error> {
        let options = &table.options;
        if let Some(Column::Metadata(key)) = scan.columns.iter().find(|column| matches!(column, Column::Metadata(_))) {
            return Err(format!("table `{}`: 'jdbc' has no metadata column '{key}'", table.name).into());
        }
        let source = TableSource::new(server(options)?, table_name(options)?, scan.schema.clone());
        let number = |name: &str| options.parse::<i64>(&format!("scan.partition.{name}"), "a whole number");
        let (least, most) = (number("lower-bound")?, number("upper-bound")?);
        let parts = options.parse::<u32>("scan.partition.num", "a number of parts")?;
        Ok(AnySource::new(match (options.get("scan.partition.column"), parts, least, most) {
            (None, None, None, None) => source,
            (Some(column), Some(parts @ 1..), Some(least), Some(most)) if least <= most => {
                table.schema.column_with_name(column).ok_or_else(|| {
                    format!("option 'scan.partition.column' = '{column}': table `{}` has no such column", table.name)
                })?;
                source.cut(column, parts, least, most)
            }
            _ => {
                let all = "'scan.partition.column', '…num', '…lower-bound' and '…upper-bound'";
                return Err(format!(
                    "table `{}`: {all} go together, with at least one part and bounds in order",
                    table.name
                )
                .into());
            }
        }))
    }

    fn accepts(&self, table: &Table) -> Changelog {
        if table.primary_key.is_empty() { Changelog::Insertions } else { Changelog::Upserts }
    }

    fn sink(&self, table: &Table) -> Result<AnySink, Error> {
        let options = &table.options;
        let sink = TableSink::new(server(options)?, table_name(options)?, table.schema.clone());
        let mut sink = sink.primary_key(table.primary_key.clone());
        // In Flink zero is for rows that are written as they come.
        if let Some(rows) = options.parse::<usize>("sink.buffer-flush.max-rows", "a number of rows")? {
            sink = sink.rows(if rows == 0 { 10_000 } else { rows });
        }
        if let Some(interval) = duration(options, "sink.buffer-flush.interval")? {
            sink = sink.interval(interval);
        }
        if let Some(retries) = options.parse("sink.max-retries", "a number")? {
            sink = sink.retries(retries);
        }
        match options.get("sink.delivery-guarantee") {
            None => {}
            Some("exactly-once") => sink = sink.exactly_once(true),
            Some("at-least-once") => sink = sink.exactly_once(false),
            Some(other) => {
                let are = "there are exactly-once and at-least-once";
                return Err(format!("option 'sink.delivery-guarantee' = '{other}': {are}").into());
            }
        }
        if let Some(commits) = options.get("sink.commits-table") {
            sink = sink.commits(TableName::parse(commits)?);
        }
        Ok(AnySink::new(sink))
    }
}

/// `'connector' = 'postgres-cdc'`: a table of a database, and what becomes of it. It cannot be written to.
///
/// Metadata columns are `database_name`, `schema_name`, `table_name` and `op_ts`, when a change was committed (1970 for rows that were there).
#[derive(Clone, Copy, Debug)]
pub struct Cdc;

const CDC: [OptionSpec; 16] = [
    OptionSpec {
        name: "hostname",
        about: "Where the server is: a name, an address, or the folder of its UNIX socket.",
    },
    OptionSpec { name: "port", about: "Its port (5432)." },
    OptionSpec { name: "username", about: "As whom." },
    OptionSpec { name: "password", about: "With which password." },
    OptionSpec { name: "database-name", about: "The database." },
    OptionSpec { name: "schema-name", about: "The table's schema (public)." },
    OptionSpec { name: "table-name", about: "The table: case matters." },
    OptionSpec { name: "slot.name", about: "The replication slot; it is made if it is not there, and stays." },
    OptionSpec {
        name: "publication.name",
        about: "The publication; as the slot by default. It is made if it is not there.",
    },
    OptionSpec { name: "debezium.publication.name", about: "The same." },
    OptionSpec { name: "decoding.plugin.name", about: "pgoutput." },
    OptionSpec {
        name: "scan.startup.mode",
        about: "initial (what there is, then changes), snapshot (what there is), latest-offset or never (changes), committed-offset (from the slot).",
    },
    OptionSpec { name: "scan.truncate", about: "When the table is emptied by TRUNCATE: fail (by default) or ignore." },
    OptionSpec { name: "connect.max-retries", about: "How often it is tried to go on without a connection (10)." },
    OptionSpec { name: "sslmode", about: "disable or verify-full." },
    OptionSpec { name: "sslrootcert", about: "Whom to trust, as a file (PEM); whom the system trusts by default." },
];

fn cdc_server(options: &Options) -> Result<Server, Error> {
    let port = options.parse("port", "a port")?.unwrap_or(5432);
    let server = Server::new(options.required("hostname")?, port, options.required("database-name")?);
    let mut server = server.user(options.required("username")?);
    if let Some(password) = options.get("password") {
        server = server.password(password);
    }
    match options.get("sslmode") {
        None | Some("disable") => Ok(server),
        Some("verify-full") => server.encrypted(options.get("sslrootcert").map(Into::into)),
        Some(other) => Err(format!("option 'sslmode' = '{other}': there are disable and verify-full").into()),
    }
}

fn cdc_table(options: &Options) -> Result<TableName, Error> {
    let schema = options.get("schema-name").unwrap_or("public").to_owned();
    Ok(TableName { schema: Some(schema), name: options.required("table-name")?.to_owned() })
}

fn startup(options: &Options) -> Result<Startup, Error> {
    Ok(match options.get("scan.startup.mode") {
        None | Some("initial") => Startup::Initial,
        Some("snapshot") => Startup::Snapshot,
        Some("latest-offset" | "never") => Startup::Latest,
        Some("committed-offset") => Startup::Committed,
        Some(other) => {
            let modes = "initial, snapshot, latest-offset, never and committed-offset";
            return Err(format!("option 'scan.startup.mode' = '{other}': there are {modes}").into());
        }
    })
}

impl Connector for Cdc {
    fn name(&self) -> &'static str {
        "postgres-cdc"
    }

    fn options(&self) -> Vec<OptionSpec> {
        CDC.to_vec()
    }

    fn metadata(&self) -> Vec<(&'static str, DataType)> {
        METADATA.iter().map(|key| (*key, metadata_type(key))).collect()
    }

    fn infer(&self, table: &Table) -> Result<SchemaRef, Error> {
        infer(table, cdc_server(&table.options)?, cdc_table(&table.options)?)
    }

    fn is_bounded(&self, table: &Table) -> bool {
        matches!(startup(&table.options), Ok(Startup::Snapshot))
    }

    fn tells(&self, table: &Table) -> Changelog {
        if self.is_bounded(table) { Changelog::Insertions } else { Changelog::Changes }
    }

    fn source(&self, table: &Table, scan: &Scan) -> Result<AnySource, Error> {
        let options = &table.options;
        let startup = startup(options)?;
        if table.bounded && startup != Startup::Snapshot {
            let remedy = "set 'scan.startup.mode' = 'snapshot', or run it as a stream";
            return Err(format!("table `{}` has no end, and the job is to end: {remedy}", table.name).into());
        }
        if let Some(other) = options.get("decoding.plugin.name").filter(|plugin| *plugin != "pgoutput") {
            return Err(format!("option 'decoding.plugin.name' = '{other}': there is pgoutput").into());
        }
        let slot = if startup == Startup::Snapshot { "" } else { slot(options)? };
        let publication = options.get("publication.name").or_else(|| options.get("debezium.publication.name"));
        let ignores_truncate = match options.get("scan.truncate") {
            None | Some("fail") => false,
            Some("ignore") => true,
            Some(other) => return Err(format!("option 'scan.truncate' = '{other}': there are fail and ignore").into()),
        };
        Ok(AnySource::new(ChangeSource::of(Settings {
            server: cdc_server(options)?,
            table: cdc_table(options)?,
            schema: scan.schema.clone(),
            columns: scan.columns.clone(),
            names: table.schema.fields().iter().map(|field| field.name().clone()).collect(),
            slot: slot.to_owned(),
            publication: publication.unwrap_or(slot).to_owned(),
            startup,
            retries: options.parse("connect.max-retries", "a number")?.unwrap_or(10),
            ignores_truncate,
        })))
    }

    fn sink(&self, table: &Table) -> Result<AnySink, Error> {
        Err(format!("table `{}` cannot be written to: 'postgres-cdc' is read; 'jdbc' writes", table.name).into())
    }
}

/// A name that a server takes for a slot.
fn slot(options: &Options) -> Result<&str, Error> {
    let slot = options.required("slot.name")?;
    let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
    if slot.is_empty() || slot.len() > 63 || !slot.bytes().all(fits) {
        return Err(
            format!("option 'slot.name' = '{slot}': slots are named with a-z, 0-9 and _, at most 63 of them").into()
        );
    }
    Ok(slot)
}
