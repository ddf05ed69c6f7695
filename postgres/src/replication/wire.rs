//! A connection for replication: statements of its own, and a stream in both directions.

use std::fmt::Display;

use bytes::{Bytes, BytesMut};
use fallible_iterator::FallibleIterator;
use postgres_protocol::authentication::md5_hash;
use postgres_protocol::authentication::sasl::{ChannelBinding, SCRAM_SHA_256, ScramSha256};
use postgres_protocol::message::backend::{ErrorResponseBody, Header, Message};
use postgres_protocol::message::frontend;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use updraft_dataflow::Error;

use crate::server::Server;
use crate::session::{Lost, SETTINGS, Socket, dial};

/// What stands before a stream in both directions: `postgres-protocol` does not know it.
const COPY_BOTH: u8 = b'W';

/// The connection: to be used on the connections' thread.
pub(crate) struct Wire {
    server: String,
    socket: Box<dyn Socket>,
    received: BytesMut,
    to_send: BytesMut,
}

/// What comes.
enum Come {
    Known(Message),
    CopyBoth,
}

/// A row of an answer.
pub(crate) type Row = Vec<Option<String>>;

impl Wire {
    /// Connects, for replication of the server's database.
    pub(crate) async fn open(server: &Server, application: &str) -> Result<Self, Error> {
        let socket = dial(server).await?;
        let (received, to_send) = (BytesMut::with_capacity(64 << 10), BytesMut::new());
        let mut wire = Self { server: server.to_string(), socket, received, to_send };
        let own = [
            ("user", &*server.user),
            ("database", &*server.database),
            ("replication", "database"),
            ("application_name", application),
            ("client_encoding", "UTF8"),
        ];
        frontend::startup_message(own.into_iter().chain(SETTINGS), &mut wire.to_send)?;
        wire.send().await?;
        wire.authenticate(server).await?;
        while !matches!(wire.next().await?, Come::Known(Message::ReadyForQuery(_))) {}
        Ok(wire)
    }

    async fn authenticate(&mut self, server: &Server) -> Result<(), Error> {
        let missing =
            || Error::from(format!("{server}: a password is wanted for '{}': add 'password' = '…'", server.user));
        let password = || server.password.as_deref().map(str::as_bytes).ok_or_else(missing);
        let mut scram = None;
        loop {
            match self.next().await? {
                Come::Known(Message::AuthenticationOk) => return Ok(()),
                Come::Known(Message::AuthenticationCleartextPassword) => {
                    frontend::password_message(password()?, &mut self.to_send)?;
                }
                Come::Known(Message::AuthenticationMd5Password(body)) => {
                    let hashed = md5_hash(server.user.as_bytes(), password()?, body.salt());
                    frontend::password_message(hashed.as_bytes(), &mut self.to_send)?;
                }
                Come::Known(Message::AuthenticationSasl(body)) => {
                    if !body.mechanisms().any(|mechanism| Ok(mechanism == SCRAM_SHA_256))? {
                        return Err(self.wrong("it asks for a way to authenticate that is not known here"));
                    }
                    let begun = ScramSha256::new(password()?, ChannelBinding::unsupported());
                    frontend::sasl_initial_response(SCRAM_SHA_256, begun.message(), &mut self.to_send)?;
                    scram = Some(begun);
                }
                Come::Known(Message::AuthenticationSaslContinue(body)) => {
                    let scram = scram.as_mut().ok_or_else(|| self.wrong("authentication out of order"))?;
                    scram.update(body.data())?;
                    frontend::sasl_response(scram.message(), &mut self.to_send)?;
                }
                Come::Known(Message::AuthenticationSaslFinal(body)) => {
                    let scram = scram.as_mut().ok_or_else(|| self.wrong("authentication out of order"))?;
                    scram.finish(body.data())?;
                    continue;
                }
                _ => return Err(self.wrong("it asks for a way to authenticate that is not known here")),
            }
            self.send().await?;
        }
    }

    fn wrong(&self, why: impl Display) -> Error {
        format!("{}: {why}", self.server).into()
    }

    /// Sends what is to be sent.
    async fn send(&mut self) -> Result<(), Error> {
        self.socket.write_all(&self.to_send).await.map_err(|error| self.wrong(error))?;
        self.socket.flush().await.map_err(|error| self.wrong(error))?;
        self.to_send.clear();
        Ok(())
    }

    /// The next message, if it has come whole.
    fn come(&mut self) -> Result<Option<Come>, Error> {
        let Some(header) = Header::parse(&self.received)? else { return Ok(None) };
        if header.tag() != COPY_BOTH {
            return Ok(Message::parse(&mut self.received)?.map(Come::Known));
        }
        let len = header.len() as usize + 1;
        if self.received.len() < len {
            return Ok(None);
        }
        drop(self.received.split_to(len));
        Ok(Some(Come::CopyBoth))
    }

    /// The next message; an error of the server is one. Whoever stops waiting for it loses nothing.
    async fn next(&mut self) -> Result<Come, Error> {
        loop {
            match self.come()? {
                Some(Come::Known(Message::ErrorResponse(body))) => return Err(self.wrong(said(&body))),
                Some(Come::Known(Message::NoticeResponse(_) | Message::ParameterStatus(_))) => {}
                Some(come) => return Ok(come),
                None => {
                    let read = self.socket.read_buf(&mut self.received).await.map_err(|error| self.wrong(error))?;
                    if read == 0 {
                        return Err(self.wrong("the connection was closed"));
                    }
                }
            }
        }
    }

    /// The rows that a statement gives.
    pub(crate) async fn query(&mut self, statement: &str) -> Result<Vec<Row>, Lost> {
        frontend::query(statement, &mut self.to_send).map_err(|error| Lost::Job(error.into()))?;
        self.send().await.map_err(Lost::Connection)?;
        let (mut rows, mut failed) = (Vec::new(), None);
        loop {
            match self.next().await {
                Ok(Come::Known(Message::DataRow(body))) => {
                    let (buffer, ranges) = (body.buffer(), body.ranges());
                    let value = |range: Option<std::ops::Range<usize>>| {
                        Ok(range.map(|range| String::from_utf8_lossy(&buffer[range]).into_owned()))
                    };
                    rows.push(ranges.map(value).collect::<Vec<_>>().map_err(|error| Lost::Connection(error.into()))?);
                }
                Ok(Come::Known(Message::ReadyForQuery(_))) => {
                    return failed.map_or(Ok(rows), |error| Err(Lost::Job(error)));
                }
                Ok(_) => {}
                // Of a statement that was refused the end is still to come; a connection that is lost says nothing more.
                Err(error) if failed.is_none() => failed = Some(error),
                Err(error) => return Err(Lost::Connection(failed.unwrap_or(error))),
            }
        }
    }

    /// Begins a stream in both directions.
    pub(crate) async fn start(&mut self, statement: &str) -> Result<(), Error> {
        frontend::query(statement, &mut self.to_send)?;
        self.send().await?;
        match self.next().await? {
            Come::CopyBoth => Ok(()),
            Come::Known(_) => Err(self.wrong("it does not begin to replicate")),
        }
    }

    /// What comes next in a stream. Whoever stops waiting for it loses nothing.
    pub(crate) async fn receive(&mut self) -> Result<Bytes, Error> {
        loop {
            match self.next().await? {
                Come::Known(Message::CopyData(body)) => return Ok(body.into_bytes()),
                Come::Known(Message::CopyDone) => return Err(self.wrong("the server has ended the stream")),
                _ => {}
            }
        }
    }

    /// Says something in a stream.
    pub(crate) async fn say(&mut self, bytes: &[u8]) -> Result<(), Error> {
        frontend::CopyData::new(bytes)?.write(&mut self.to_send);
        self.send().await
    }
}

/// The server's words.
fn said(body: &ErrorResponseBody) -> String {
    let (mut message, mut code, mut more) = (String::new(), String::new(), String::new());
    let mut fields = body.fields();
    while let Ok(Some(field)) = fields.next() {
        let value = String::from_utf8_lossy(field.value_bytes());
        match field.type_() {
            b'M' => message = value.into_owned(),
            b'C' => code = value.into_owned(),
            b'D' | b'H' => more.push_str(&format!("; {value}")),
            _ => {}
        }
    }
    format!("{message}{more} (SQLSTATE {code})")
}
