//! [`Server`]: which database, and as whom.

use std::fmt;
use std::path::PathBuf;

use percent_encoding::percent_decode_str;
use updraft_dataflow::Error;
use url::Url;

/// A database of a server, and who one is there.
#[derive(Clone)]
pub struct Server {
    pub(crate) host: Host,
    pub(crate) port: u16,
    pub(crate) user: String,
    pub(crate) password: Option<String>,
    pub(crate) database: String,
    /// What is set for each session, beside what this crate needs.
    pub(crate) settings: Vec<(String, String)>,
    pub(crate) tls: Tls,
}

/// Where it listens.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Host {
    Tcp(String),
    /// The folder of its socket.
    Unix(PathBuf),
}

/// Whether connections are encrypted.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Tls {
    Off,
    /// The server's name must be that of its certificate, which must be trusted by the system, or by the file.
    Verified(Option<PathBuf>),
}

/// The parameters that a URL may have.
const PARAMETERS: [&str; 9] = [
    "user",
    "password",
    "host",
    "port",
    "sslmode",
    "sslrootcert",
    "application_name",
    "ApplicationName",
    "currentSchema",
];

impl Server {
    /// A database of the server at `host`: a name, an address, or the folder of a UNIX socket.
    pub fn new(host: &str, port: u16, database: &str) -> Self {
        let host = if host.starts_with('/') { Host::Unix(host.into()) } else { Host::Tcp(host.to_owned()) };
        let (user, password, settings) = (String::new(), None, Vec::new());
        Self { host, port, user, password, database: database.to_owned(), settings, tls: Tls::Off }
    }

    /// Reads `postgresql://user:password@host:port/database?…`, with `jdbc:` before it or not. A UNIX socket is said by
    /// `?host=/folder`.
    ///
    /// # Errors
    /// When it is no such URL, or has parameters that are not known.
    pub fn parse(text: &str) -> Result<Self, Error> {
        // Without what may be a password.
        let shown = text.split('?').next().unwrap_or_default().rsplit('@').next().unwrap_or_default();
        let wrong = |why: &dyn fmt::Display| {
            Error::from(format!("'url' = '{shown}': {why}; write jdbc:postgresql://host:port/database"))
        };
        let url = Url::parse(text.strip_prefix("jdbc:").unwrap_or(text)).map_err(|error| wrong(&error))?;
        if !["postgresql", "postgres"].contains(&url.scheme()) || url.cannot_be_a_base() {
            return Err(wrong(&"not a URL of PostgreSQL"));
        }
        let decoded = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
        let database = decoded(url.path().trim_start_matches('/'));
        let host = url.host_str().map_or_else(|| "localhost".to_owned(), decoded);
        let mut server =
            Self::new(if host.is_empty() { "localhost" } else { &host }, url.port().unwrap_or(5432), &database);
        server.user = decoded(url.username());
        server.password = url.password().map(decoded);
        let (mut mode, mut roots) = (None, None);
        for (name, value) in url.query_pairs() {
            let value = value.into_owned();
            match &*name {
                "user" => server.user = value,
                "password" => server.password = Some(value),
                "host" => server.host = Self::new(&value, 0, "").host,
                "port" => server.port = value.parse().map_err(|_| wrong(&format!("'{value}' is no port")))?,
                "sslmode" => mode = Some(value),
                "sslrootcert" => roots = Some(PathBuf::from(value)),
                "application_name" | "ApplicationName" => server.settings.push(("application_name".into(), value)),
                "currentSchema" => server.settings.push(("search_path".into(), value)),
                other => {
                    return Err(wrong(&format!("there is no parameter '{other}', but {}", PARAMETERS.join(", "))));
                }
            }
        }
        server.tls = tls(mode.as_deref(), roots)?;
        if server.database.is_empty() {
            server.database.clone_from(&server.user);
        }
        Ok(server)
    }

    /// As this user.
    #[must_use]
    pub fn user(mut self, user: &str) -> Self {
        user.clone_into(&mut self.user);
        if self.database.is_empty() {
            self.database.clone_from(&self.user);
        }
        self
    }

    /// With this password.
    #[must_use]
    pub fn password(mut self, password: &str) -> Self {
        self.password = Some(password.to_owned());
        self
    }

    /// Encrypted; the server's certificate is verified. `roots` is a file (PEM) of whom to trust; whom the system trusts, if there is none.
    ///
    /// # Errors
    /// When this was built without the feature `tls`.
    pub fn encrypted(mut self, roots: Option<PathBuf>) -> Result<Self, Error> {
        self.tls = tls(Some("verify-full"), roots)?;
        Ok(self)
    }
}

/// What `sslmode` says.
fn tls(mode: Option<&str>, roots: Option<PathBuf>) -> Result<Tls, Error> {
    match mode {
        None | Some("disable" | "allow" | "prefer") => Ok(Tls::Off),
        Some("require" | "verify-ca" | "verify-full") if cfg!(feature = "tls") => Ok(Tls::Verified(roots)),
        Some(mode @ ("require" | "verify-ca" | "verify-full")) => {
            Err(format!("sslmode={mode}: this program was built without the feature `tls`").into())
        }
        Some(other) => Err(format!("sslmode={other}: there are disable and verify-full").into()),
    }
}

/// Without the password.
impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("at", &self.to_string()).field("user", &self.user).finish_non_exhaustive()
    }
}

/// `host:port/database`: for errors.
impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.host {
            Host::Tcp(host) => write!(f, "{host}:{}/{}", self.port, self.database),
            Host::Unix(folder) => write!(f, "{}:{}/{}", folder.display(), self.port, self.database),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_of_both_kinds_are_read() {
        let server = Server::parse("jdbc:postgresql://db.example:6000/shop?user=ann&password=a%20b").unwrap();
        assert_eq!(server.to_string(), "db.example:6000/shop");
        assert_eq!((&*server.user, server.password.as_deref()), ("ann", Some("a b")));
        let server = Server::parse("postgresql://b%40b:p@localhost/x").unwrap();
        assert_eq!((&*server.user, server.port), ("b@b", 5432));
        let server = Server::parse("postgresql:///x?host=/run/pg&port=7").unwrap();
        assert_eq!((server.host, server.port), (Host::Unix("/run/pg".into()), 7));
        for wrong in ["mysql://a/b", "jdbc:postgresql:x", "postgresql://a:x/b", "postgresql://a/b?c=d", "nonsense"] {
            let error = Server::parse(wrong).unwrap_err().to_string();
            assert!(error.contains("write jdbc:postgresql://"), "{error}");
        }
        assert!(!format!("{:?}", Server::parse("postgresql://a:secret@b/c").unwrap()).contains("secret"));
        assert!(!Server::parse("postgresql://a:secret@b/c?d=e").unwrap_err().to_string().contains("secret"));
    }
}
