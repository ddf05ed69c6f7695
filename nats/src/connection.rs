//! A server, and a connection to it that is made again when it breaks.

use std::fmt;
use std::future::Future;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream::context::ContextBuilder;
use async_nats::jetstream::response::Response;
use async_nats::jetstream::{Context, stream};
use async_nats::{Client, ConnectErrorKind, ConnectOptions, Event};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::watch;
use updraft_dataflow::Error;
use updraft_kernel::clock;

use crate::fault::Fault;
use crate::runtime::pause;

/// How long an answer may take.
pub(crate) const PATIENCE: Duration = Duration::from_secs(5);

/// A server of NATS, or several of a cluster, and how to log in.
///
/// ```
/// use updraft_nats::Nats;
/// let nats = Nats::at("nats://localhost:4222").user("me", "secret");
/// let (source, sink) = (nats.source("ORDERS"), nats.sink("RESULTS"));
/// ```
#[derive(Clone)]
pub struct Nats {
    pub(crate) url: String,
    login: Login,
    pub(crate) retry: Duration,
    authorities: Option<PathBuf>,
}

#[derive(Clone)]
enum Login {
    None,
    User(String, String),
    Token(String),
    #[cfg(feature = "nkeys")]
    Credentials(PathBuf),
    #[cfg(feature = "nkeys")]
    Key(String),
}

impl Nats {
    /// At `nats://host:port`; several, with commas between them, are servers of one cluster.
    pub fn at(url: impl Into<String>) -> Self {
        Self { url: url.into(), login: Login::None, retry: Duration::from_secs(60), authorities: None }
    }

    /// Logs in with a name and a password.
    #[must_use]
    pub fn user(mut self, name: impl Into<String>, password: impl Into<String>) -> Self {
        self.login = Login::User(name.into(), password.into());
        self
    }

    /// Logs in with a token.
    #[must_use]
    pub fn token(mut self, token: impl Into<String>) -> Self {
        self.login = Login::Token(token.into());
        self
    }

    /// Logs in with what is in a file of credentials.
    #[cfg(feature = "nkeys")]
    #[must_use]
    pub fn credentials(mut self, file: impl Into<PathBuf>) -> Self {
        self.login = Login::Credentials(file.into());
        self
    }

    /// Logs in with the seed of a key.
    #[cfg(feature = "nkeys")]
    #[must_use]
    pub fn nkey(mut self, seed: impl Into<String>) -> Self {
        self.login = Login::Key(seed.into());
        self
    }

    /// Trusts servers whose certificates go back to one of this file.
    #[cfg(feature = "tls")]
    #[must_use]
    pub fn authorities(mut self, file: impl Into<PathBuf>) -> Self {
        self.authorities = Some(file.into());
        self
    }

    /// For how long to try while no server answers, at the beginning and in the middle; a minute unless said otherwise. Then the job ends with an
    /// error.
    #[must_use]
    pub fn retry(mut self, limit: Duration) -> Self {
        self.retry = limit;
        self
    }

    /// Finds fault with what no server need be asked for.
    pub(crate) fn check(&self) -> Result<(), Error> {
        for url in self.url.split(',') {
            if url.starts_with("tls://") && !cfg!(feature = "tls") {
                return Err(
                    format!("{url}: this program was built without TLS: build it with the feature `tls`").into()
                );
            }
            url.parse::<async_nats::ServerAddr>().map_err(|error| {
                format!("'{url}' is no address of a server ({error}): give one such as 'nats://localhost:4222'")
            })?;
        }
        Ok(())
    }

    async fn options(&self) -> Result<ConnectOptions, Error> {
        let options = ConnectOptions::new().name("updraft");
        // It is we who say when to give up; until then the client tries without end.
        let options = options.max_reconnects(None).request_timeout(Some(PATIENCE)).client_capacity(256);
        let options = match &self.authorities {
            Some(file) => options.add_root_certificates(file.clone()),
            None => options,
        };
        Ok(match &self.login {
            Login::None => options,
            Login::User(name, password) => options.user_and_password(name.clone(), password.clone()),
            Login::Token(token) => options.token(token.clone()),
            #[cfg(feature = "nkeys")]
            Login::Key(seed) => options.nkey(seed.clone()),
            #[cfg(feature = "nkeys")]
            Login::Credentials(file) => options
                .credentials_file(file)
                .await
                .map_err(|error| format!("{}: cannot be read as credentials: {error}", file.display()))?,
        })
    }

    /// Connects, on the thread of NATS.
    pub(crate) async fn connect(&self) -> Result<Connection, Error> {
        self.check()?;
        let begun = clock::now();
        loop {
            let (breaks, broken) = watch::channel(0);
            let told = Arc::new(breaks);
            let options = self.options().await?;
            let options = options.event_callback(move |event| {
                let told = told.clone();
                async move {
                    tracing::debug!(%event, "NATS");
                    if matches!(event, Event::Connected) {
                        told.send_modify(|times| *times += 1);
                    }
                }
            });
            let urls: Vec<String> = self.url.split(',').map(str::to_owned).collect();
            let failed = match options.connect(urls).await {
                Ok(client) => return Ok(Connection::new(client, self, broken)),
                Err(error) => error,
            };
            let login =
                matches!(failed.kind(), ConnectErrorKind::Authentication | ConnectErrorKind::AuthorizationViolation);
            if login {
                return Err(format!(
                    "{}: does not let us in: {failed}; see what 'username', 'password' or 'token' say",
                    self.url
                )
                .into());
            }
            if matches!(failed.kind(), ConnectErrorKind::ServerParse | ConnectErrorKind::Tls) {
                return Err(format!("{}: {failed}", self.url).into());
            }
            if clock::now().since(begun) >= self.retry {
                return Err(gives_up(&self.url, self.retry, &failed.to_string()));
            }
            pause(Duration::from_millis(100)).await;
        }
    }
}

/// Secrets are not shown.
impl fmt::Debug for Nats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Nats").field("url", &self.url).field("retry", &self.retry).finish_non_exhaustive()
    }
}

fn gives_up(url: &str, limit: Duration, why: &str) -> Error {
    let remedy = "see whether the server is there, has JetStream, and room for more, or raise 'retry'";
    format!("{url}: tried in vain for {limit:?}: {why}; {remedy}").into()
}

/// A connection to a server.
#[derive(Clone)]
pub(crate) struct Connection {
    pub(crate) js: Context,
    pub(crate) client: Client,
    /// How often it was made.
    pub(crate) made: watch::Receiver<u64>,
    pub(crate) retry: Duration,
    url: Arc<str>,
}

impl Connection {
    fn new(client: Client, nats: &Nats, made: watch::Receiver<u64>) -> Self {
        let js = ContextBuilder::new().timeout(PATIENCE).backpressure_on_inflight(true).build(client.clone());
        Self { js, client, made, retry: nats.retry, url: nats.url.as_str().into() }
    }

    /// How it is called in errors.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// Does something, over and over where it fails in passing, until it gives up.
    pub(crate) async fn patiently<T, F>(&self, stream: &str, mut what: impl FnMut() -> F) -> Result<T, Error>
    where
        F: Future<Output = Result<T, Fault>>,
    {
        let mut patience = Patience::new(self);
        loop {
            match what().await {
                Ok(done) => return Ok(done),
                Err(fault) => patience.wait(stream, fault).await?,
            }
        }
    }

    async fn ask<T: DeserializeOwned>(&self, subject: String, what: &impl Serialize) -> Result<T, Fault> {
        match self.js.request(subject, what).await? {
            Response::Ok(answer) => Ok(answer),
            Response::Err { error } => Err(Fault::of(&error)),
        }
    }

    /// What the server knows of a stream.
    pub(crate) async fn stream_info(&self, stream: &str) -> Result<stream::Info, Fault> {
        self.ask(format!("STREAM.INFO.{stream}"), &()).await
    }

    /// Makes a stream.
    pub(crate) async fn create_stream(&self, config: &stream::Config) -> Result<(), Fault> {
        self.ask::<stream::Info>(format!("STREAM.CREATE.{}", config.name), config).await.map(drop)
    }

    /// A stream, without asking whether it is there.
    pub(crate) async fn stream(&self, name: &str) -> Result<stream::Stream<()>, Fault> {
        self.js.get_stream_no_info(name).await.map_err(Fault::passing)
    }

    /// The most bytes that a message may have, with its headers.
    pub(crate) fn max_payload(&self) -> usize {
        match self.client.server_info().max_payload {
            0 => 1 << 20,
            most => most,
        }
    }
}

/// How long something has gone wrong.
pub(crate) struct Patience {
    since: Option<clock::Nanos>,
    tries: u32,
    limit: Duration,
    url: Arc<str>,
}

impl Patience {
    pub(crate) fn new(connection: &Connection) -> Self {
        Self { since: None, tries: 0, limit: connection.retry, url: connection.url.clone() }
    }

    /// It has gone well.
    pub(crate) fn reset(&mut self) {
        (self.since, self.tries) = (None, 0);
    }

    /// Waits a little, unless there is no hope, or it has been too long.
    pub(crate) async fn wait(&mut self, stream: &str, fault: Fault) -> Result<(), Error> {
        let url = &self.url;
        let why = match fault {
            Fault::Passing(why) => why,
            Fault::Overtaken(why) => return Err(format!("{url}, stream '{stream}': {why}").into()),
            Fault::Gone => return Err(format!("{url}: there is no stream '{stream}': make it, or name another").into()),
            Fault::Lasting(error) => return Err(format!("{url}, stream '{stream}': {error}").into()),
        };
        let now = clock::now();
        let since = *self.since.get_or_insert(now);
        if now.since(since) >= self.limit {
            return Err(gives_up(url, self.limit, &why));
        }
        tracing::debug!(%url, stream, why, "tried again");
        self.tries += 1;
        pause(Duration::from_millis(20 << self.tries.min(6))).await;
        Ok(())
    }
}
