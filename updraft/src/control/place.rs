//! Where processes answer: at control sockets in a folder of this user's alone, one for each, by its number; or at a TCP address, with a token.

use std::fmt;
use std::fs::{DirBuilder, Permissions};
use std::io::{Error, ErrorKind, Result};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

/// What a socket's name ends with, after the number of its process.
const ENDING: &str = "sock";

/// Where a process answers.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Place {
    /// At a Unix socket, to its owner.
    Socket(PathBuf),
    /// At a TCP address, to whoever has the token.
    Tcp {
        /// Host and port.
        address: String,
        /// The secret that each request names. What is sent is not encrypted.
        token: Token,
    },
}

/// A secret.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(String);

/// Bytes of a token, at least.
const LEAST: usize = 16;

impl Token {
    /// A secret of 16 bytes or more.
    ///
    /// # Errors
    /// When it is shorter, or cannot be sent in a header.
    pub fn new(secret: impl Into<String>) -> Result<Self> {
        let secret = secret.into();
        if secret.len() < LEAST || !secret.bytes().all(|byte| byte.is_ascii_graphic()) {
            let remedy = format!("it is to have {LEAST} letters, digits and signs or more, and nothing else");
            return Err(Error::new(ErrorKind::InvalidInput, format!("this is no token: {remedy}")));
        }
        Ok(Self(secret))
    }

    /// What a request with it has as its `authorization`.
    pub(super) fn header(&self) -> String {
        format!("Bearer {}", self.0)
    }

    /// Whether a request has it. How long that takes does not tell how much of it is right.
    pub(super) fn is_in(&self, header: &[u8]) -> bool {
        let expected = self.header();
        let differs = expected.bytes().zip(header).fold(0, |differs, (one, other)| differs | (one ^ other));
        expected.len() == header.len() && differs == 0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token")
    }
}

fn named(name: &str) -> Option<PathBuf> {
    std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from)
}

/// The TCP address that is meant, if `$UPDRAFT_CONTROL` is `tcp://HOST:PORT`, with the secret in `$UPDRAFT_CONTROL_TOKEN`.
fn tcp() -> Result<Option<Place>> {
    let control = named("UPDRAFT_CONTROL");
    let Some(address) = control.as_deref().and_then(Path::to_str).and_then(|text| text.strip_prefix("tcp://")) else {
        return Ok(None);
    };
    let token = std::env::var("UPDRAFT_CONTROL_TOKEN").map_err(|_| {
        let remedy = "set UPDRAFT_CONTROL_TOKEN, a secret that whoever asks there names, too";
        Error::new(ErrorKind::InvalidInput, format!("UPDRAFT_CONTROL is a TCP address: {remedy}"))
    })?;
    let token =
        Token::new(token).map_err(|error| Error::new(error.kind(), format!("UPDRAFT_CONTROL_TOKEN: {error}")))?;
    Ok(Some(Place::Tcp { address: address.to_owned(), token }))
}

/// The folder of sockets: `$UPDRAFT_CONTROL`, or else `updraft` in `$XDG_RUNTIME_DIR`, or else one in the system's folder for what is temporary.
pub fn folder() -> PathBuf {
    named("UPDRAFT_CONTROL")
        .or_else(|| Some(named("XDG_RUNTIME_DIR")?.join("updraft")))
        .unwrap_or_else(|| std::env::temp_dir().join(format!("updraft-{}", own_id())))
}

/// Where this process answers: at a socket of its own, or at the address that is meant.
///
/// # Errors
/// When it is a TCP address, and there is no token.
pub fn own() -> Result<Place> {
    let socket = || Place::Socket(folder().join(format!("{}.{ENDING}", std::process::id())));
    Ok(tcp()?.unwrap_or_else(socket))
}

/// Where processes answer, by their numbers where these are known.
///
/// # Errors
/// When the folder cannot be read. That there is none is no error.
pub fn all() -> Result<Vec<(Option<u32>, Place)>> {
    if let Some(place) = tcp()? {
        return Ok(vec![(None, place)]);
    }
    let entries = match std::fs::read_dir(folder()) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut sockets = Vec::new();
    for entry in entries {
        let path = entry?.path();
        let process = path.file_stem().and_then(|stem| stem.to_str()?.parse().ok());
        if path.extension().is_some_and(|ending| ending == ENDING) {
            sockets.extend(process.map(|process: u32| (process, path)));
        }
    }
    sockets.sort();
    Ok(sockets.into_iter().map(|(process, path)| (Some(process), Place::Socket(path))).collect())
}

/// Listens at a socket that only this user can reach.
pub(super) fn listen(path: &Path) -> Result<UnixListener> {
    let folder = path.parent().ok_or_else(|| Error::new(ErrorKind::InvalidInput, "a socket is in a folder"))?;
    DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    let about = std::fs::metadata(folder)?;
    if about.uid() != own_id() || about.mode() & 0o077 != 0 {
        let (folder, remedy) = (folder.display(), "`chmod 700` it, or name another in UPDRAFT_CONTROL");
        return Err(Error::new(ErrorKind::PermissionDenied, format!("{folder} is not this user's alone: {remedy}")));
    }
    // What a process of the same number has left that was killed.
    let _ = std::fs::remove_file(path);
    let listener = UnixListener::bind(path)?;
    std::fs::set_permissions(path, Permissions::from_mode(0o600))?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// This user: who owns what this process makes.
fn own_id() -> u32 {
    std::fs::metadata("/proc/self").map_or(0, |about| about.uid())
}
