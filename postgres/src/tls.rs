//! Encrypted connections.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_rustls::TlsConnector;
use updraft_dataflow::Error;

use crate::server::{Host, Server};
use crate::session::Socket;

/// Encrypts a connection that was just made. The server's certificate must be of the name that it was found by.
pub(crate) async fn encrypted(
    mut socket: Box<dyn Socket>,
    server: &Server,
    roots: Option<&Path>,
) -> Result<Box<dyn Socket>, Error> {
    let Host::Tcp(host) = &server.host else { return Ok(socket) };
    let mut request = bytes::BytesMut::new();
    postgres_protocol::message::frontend::ssl_request(&mut request);
    socket.write_all(&request).await?;
    if socket.read_u8().await? != b'S' {
        return Err(format!("{server}: it does not encrypt: have it do so (ssl = on), or set sslmode=disable").into());
    }
    let config = ClientConfig::builder().with_root_certificates(trusted(roots)?).with_no_client_auth();
    let name = ServerName::try_from(host.clone()).map_err(|error| format!("{host}: {error}"))?;
    let encrypted = TlsConnector::from(Arc::new(config)).connect(name, socket).await;
    Ok(Box::new(
        encrypted.map_err(|error| format!("{server}: {error}; is its certificate of that name, and trusted?"))?,
    ))
}

fn trusted(roots: Option<&Path>) -> Result<RootCertStore, Error> {
    let mut store = RootCertStore::empty();
    let Some(path) = roots else {
        let found = rustls_native_certs::load_native_certs();
        store.add_parsable_certificates(found.certs);
        return Ok(store);
    };
    let wrong = |error: &dyn std::fmt::Display| format!("sslrootcert={}: {error}", path.display());
    let pem = fs::read(path).map_err(|error| wrong(&error))?;
    for certificate in CertificateDer::pem_slice_iter(&pem) {
        let certificate = certificate.map_err(|error| wrong(&error))?;
        store.add(certificate).map_err(|error| wrong(&error))?;
    }
    Ok(store)
}
