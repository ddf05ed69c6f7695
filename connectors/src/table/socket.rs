//! `'connector' = 'socket'`: rows over TCP and UNIX sockets, called or listened at. Connections are those of [`crate::socket`].

use arrow_schema::DataType;
use updraft_dataflow::Error;
use updraft_dataflow::connector::{AnySink, AnySource, Connector, OptionSpec, Options, Scan, Table};

use super::options;
use super::shape::{METADATA, Shape};
use crate::columns::Format;
use crate::socket::Socket as Connections;
use crate::socket::rows::{RowsSink, RowsSource};

/// The connector.
///
/// | option | |
/// |---|---|
/// | `hostname`, `port` | of TCP; `localhost` unless said otherwise |
/// | `path` | of a UNIX socket, instead |
/// | `mode` | `connect`, or `listen`: a source that takes connections from all who call. A sink connects |
/// | `connections` | a source that listens ends when so many have come and gone; without end unless said otherwise |
/// | `retry` | for how long to try while nobody listens there: `10 s`; once unless said otherwise |
/// | `scan.parallelism` | partitions that connections are dealt out to where it listens; 1 unless said otherwise |
/// | `byte-delimiter` | what ends a record, as Flink's example says: `10`, a newline, and no other |
/// | `format` | `csv`, `json`, `raw` or `arrow`, with its options |
///
/// Each connection is a stream of its own, with its own header if it is CSV. The metadata column `line` is the line of
/// its connection that a row begins in, from 1. What happens when connections break, see [`Socket`](crate::Socket); but
/// of a record that was not whole only a warning is left. As there, what has come since a job's last checkpoint is lost
/// if its process is killed.
#[derive(Clone, Copy, Debug)]
pub struct Socket;

const OPTIONS: [OptionSpec; 8] = [
    OptionSpec { name: "hostname", about: "Of TCP; localhost by default." },
    OptionSpec { name: "port", about: "Of TCP." },
    OptionSpec { name: "path", about: "Of a UNIX socket, instead of TCP." },
    OptionSpec { name: "mode", about: "connect, the default, or listen." },
    OptionSpec { name: "connections", about: "Where it listens: ends after so many; without end by default." },
    OptionSpec { name: "retry", about: "For how long to try to connect; once by default." },
    OptionSpec { name: "scan.parallelism", about: "Where it listens: partitions; 1 by default." },
    OptionSpec { name: "byte-delimiter", about: "What ends a record: 10, a newline." },
];

impl Connector for Socket {
    fn name(&self) -> &'static str {
        "socket"
    }

    fn options(&self) -> Vec<OptionSpec> {
        [OPTIONS.to_vec(), Format::options()].concat()
    }

    fn metadata(&self) -> Vec<(&'static str, DataType)> {
        METADATA.to_vec()
    }

    fn is_bounded(&self, table: &Table) -> bool {
        table.options.get("connections").is_some() || !listens(&table.options).unwrap_or(false)
    }

    fn source(&self, table: &Table, scan: &Scan) -> Result<AnySource, Error> {
        let options = &table.options;
        check_delimiter(options)?;
        if table.bounded && !self.is_bounded(table) {
            let remedy = "give the number of its 'connections'";
            return Err(format!("table `{}` has no end, but the job is to end: {remedy}", table.name).into());
        }
        let shape = Shape::new(table, scan, Format::of(options)?)?;
        let mut socket = match (Place::of(options)?, listens(options)?) {
            (Place::Tcp(address), false) => Connections::connect(address),
            (Place::Tcp(address), true) => Connections::listen(address)?,
            (Place::Unix(path), false) => Connections::connect_unix(path),
            (Place::Unix(path), true) => Connections::listen_unix(path)?,
        };
        if let Some(connections) = options::at_least_one(options, "connections")? {
            socket = socket.connections(connections);
        }
        if let Some(partitions) = options::at_least_one(options, "scan.parallelism")? {
            socket = socket.partitions(partitions as usize);
        }
        let socket = socket.retry(options::duration(options, "retry")?.unwrap_or_default());
        Ok(AnySource::new(RowsSource { socket, shape }))
    }

    fn sink(&self, table: &Table) -> Result<AnySink, Error> {
        let options = &table.options;
        check_delimiter(options)?;
        if listens(options)? {
            let remedy = "give 'mode' = 'connect', and have the reader listen";
            return Err(format!("table `{}`: only sources listen: {remedy}", table.name).into());
        }
        let encoder = Format::of(options)?.encoder(&table.schema)?;
        let retry = options::duration(options, "retry")?.unwrap_or_default();
        Ok(AnySink::new(match Place::of(options)? {
            Place::Tcp(address) => RowsSink::tcp(address, retry, encoder),
            Place::Unix(path) => RowsSink::unix(&path, retry, encoder),
        }))
    }
}

/// The other end, or where it is listened for.
enum Place {
    Tcp(String),
    Unix(String),
}

impl Place {
    fn of(options: &Options) -> Result<Self, Error> {
        if let Some(path) = options.get("path") {
            return match options.get("port").or_else(|| options.get("hostname")) {
                None => Ok(Self::Unix(path.to_owned())),
                Some(_) => {
                    Err("'path' is of a UNIX socket, 'hostname' and 'port' are of TCP: give one or the other".into())
                }
            };
        }
        options.required("port")?;
        let port: u16 = options.parse("port", "a port, from 0 to 65535")?.unwrap_or_default();
        let host = options.get("hostname").unwrap_or("localhost");
        // An address of IPv6 has colons of its own.
        let host = if host.contains(':') && !host.starts_with('[') { format!("[{host}]") } else { host.to_owned() };
        Ok(Self::Tcp(format!("{host}:{port}")))
    }
}

fn listens(options: &Options) -> Result<bool, Error> {
    match options.get("mode") {
        None | Some("connect") => Ok(false),
        Some("listen") => Ok(true),
        Some(other) => Err(format!("option 'mode' = '{other}': neither 'connect' nor 'listen'").into()),
    }
}

fn check_delimiter(options: &Options) -> Result<(), Error> {
    match options.get("byte-delimiter") {
        None | Some("10") => Ok(()),
        Some(other) => Err(format!("option 'byte-delimiter' = '{other}': records end in a newline here, '10'").into()),
    }
}
