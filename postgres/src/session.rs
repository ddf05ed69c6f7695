//! [`Session`]: a connection that statements are sent through, and what is wrong when one fails.

use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, Config, NoTls};
use updraft_dataflow::Error;

use crate::runtime::{self, Task};
use crate::server::{Host, Server, Tls};

/// How long a server may take to answer who connects.
const CONNECT: Duration = Duration::from_secs(10);

/// What values look like as text, whatever the server's own settings are.
pub(crate) const SETTINGS: [(&str, &str); 5] = [
    ("datestyle", "ISO"),
    ("timezone", "UTC"),
    ("intervalstyle", "iso_8601"),
    ("bytea_output", "hex"),
    ("extra_float_digits", "1"),
];

/// Bytes from and to a server.
pub(crate) trait Socket: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Socket for T {}

/// Connects to where a server listens: to be called on the connections' thread.
pub(crate) async fn dial(server: &Server) -> Result<Box<dyn Socket>, Error> {
    let cannot =
        |error: &dyn std::fmt::Display| Error::from(format!("{server}: cannot connect: {error}; is the server there?"));
    let dialled = async {
        let socket: Box<dyn Socket> = match &server.host {
            Host::Tcp(host) => {
                let socket = TcpStream::connect((&**host, server.port)).await.map_err(|error| cannot(&error))?;
                socket.set_nodelay(true).map_err(|error| cannot(&error))?;
                Box::new(socket)
            }
            Host::Unix(folder) => {
                let path = folder.join(format!(".s.PGSQL.{}", server.port));
                Box::new(UnixStream::connect(path).await.map_err(|error| cannot(&error))?)
            }
        };
        match &server.tls {
            Tls::Off => Ok(socket),
            Tls::Verified(roots) => encrypted(socket, server, roots.as_deref()).await,
        }
    };
    tokio::time::timeout(CONNECT, dialled).await.map_err(|_| cannot(&"no answer in time"))?
}

#[cfg(feature = "tls")]
use crate::tls::encrypted;

#[cfg(not(feature = "tls"))]
async fn encrypted(_: Box<dyn Socket>, _: &Server, _: Option<&std::path::Path>) -> Result<Box<dyn Socket>, Error> {
    Err("this program was built without the feature `tls`".into())
}

/// A connection. It ends when it is dropped.
pub(crate) struct Session {
    pub(crate) client: Client,
    _connection: Task<()>,
}

impl Session {
    /// Connects as the server says.
    pub(crate) async fn open(server: &Server, application: &str) -> Result<Self, Lost> {
        let (server, application) = (server.clone(), application.to_owned());
        runtime::run(async move {
            if server.user.is_empty() {
                return Err(Lost::Job(format!("{server}: as whom? add 'username' = '…'").into()));
            }
            let socket = dial(&server).await.map_err(Lost::Connection)?;
            let mut config = Config::new();
            config.user(&*server.user).dbname(&*server.database).application_name(application);
            config.options(options(&server));
            server.password.as_ref().map(|password| config.password(password));
            let connecting = tokio::time::timeout(CONNECT, config.connect_raw(socket, NoTls)).await;
            let connected = connecting.map_err(|_| Lost::Connection(format!("{server}: no answer in time").into()))?;
            let (client, connection) = connected.map_err(|error| lost(&server.to_string(), &error))?;
            let connection = runtime::spawn(async move {
                if let Err(error) = connection.await {
                    tracing::debug!("a connection to PostgreSQL has ended: {error}");
                }
            })?;
            Ok(Self { client, _connection: connection })
        })
        .await?
    }
}

/// What a session is started with.
fn options(server: &Server) -> String {
    let own = SETTINGS.iter().map(|(name, value)| (*name, *value));
    let given = server.settings.iter().map(|(name, value)| (&**name, &**value));
    let escaped = |text: &str| text.replace('\\', "\\\\").replace(' ', "\\ ");
    given.chain(own).map(|(name, value)| format!("-c {name}={}", escaped(value))).collect::<Vec<_>>().join(" ")
}

/// Why something that was asked of a server has not been done.
#[derive(Debug)]
pub(crate) enum Lost {
    /// The connection is lost, or the server cannot do it just now.
    Connection(Error),
    /// It would go wrong again.
    Job(Error),
}

/// Errors of one's own are not passing.
impl From<Error> for Lost {
    fn from(error: Error) -> Self {
        Self::Job(error)
    }
}

impl Lost {
    /// The same, of something.
    pub(crate) fn of(self, what: &str) -> Self {
        match self {
            Self::Connection(error) => Self::Connection(format!("{what}: {error}").into()),
            Self::Job(error) => Self::Job(format!("{what}: {error}").into()),
        }
    }
}

impl From<Lost> for Error {
    fn from(lost: Lost) -> Self {
        let (Lost::Connection(error) | Lost::Job(error)) = lost;
        error
    }
}

/// What went wrong, and whether it may pass; `what` says with what.
pub(crate) fn lost(what: &str, error: &tokio_postgres::Error) -> Lost {
    let told = failed(what, error);
    if is_passing(error) { Lost::Connection(told) } else { Lost::Job(told) }
}

/// What went wrong, in the server's words; `what` says with what.
pub(crate) fn failed(what: &str, error: &tokio_postgres::Error) -> Error {
    format!("{what}: {}", said(error)).into()
}

/// The server's words.
pub(crate) fn said(error: &tokio_postgres::Error) -> String {
    let Some(db) = error.as_db_error() else {
        let cause = std::error::Error::source(error).map(|cause| format!(": {cause}")).unwrap_or_default();
        return format!("{error}{cause}");
    };
    let more = [db.detail(), db.hint(), db.where_()].into_iter().flatten();
    let more: String = more.map(|text| format!("; {}", text.replace('\n', " "))).collect();
    format!("{}{more} (SQLSTATE {})", db.message(), db.code().code())
}

/// Whether the same may succeed when it is tried once more.
fn is_passing(error: &tokio_postgres::Error) -> bool {
    let Some(code) = error.code() else { return true };
    let passing = [
        SqlState::T_R_DEADLOCK_DETECTED,
        SqlState::T_R_SERIALIZATION_FAILURE,
        SqlState::LOCK_NOT_AVAILABLE,
        SqlState::TOO_MANY_CONNECTIONS,
    ];
    // Connections that are lost, and servers that are started or stopped.
    code.code().starts_with("08") || code.code().starts_with("57P") || passing.contains(code)
}
