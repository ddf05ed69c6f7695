//! [`Client`]: asks at a control socket.

use axum::body::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::Request;
use hyper::client::conn::http1;
use hyper::header::HeaderValue;
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};

use super::place::Place;
use super::server::Failed;

/// A connection to a process.
pub struct Client {
    sender: http1::SendRequest<Full<Bytes>>,
    /// What each request names to be answered, where that is needed.
    authorization: Option<HeaderValue>,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nobody is there: the process has ended.
    #[error("nobody answers: {0}")]
    Gone(#[from] std::io::Error),
    /// The connection was lost.
    #[error("the connection was lost: {0}")]
    Lost(#[from] hyper::Error),
    /// It cannot be done.
    #[error("{0}")]
    Refused(String),
    /// What came is not what was asked for.
    #[error("the answer cannot be read ({0}): is the process one of another version?")]
    Unread(#[from] serde_json::Error),
}

impl Client {
    /// Connects to where a process answers.
    ///
    /// # Errors
    /// When nobody answers there.
    pub async fn connect(place: &Place) -> Result<Self, ClientError> {
        match place {
            Place::Socket(path) => Self::over(UnixStream::connect(path).await?, None).await,
            Place::Tcp { address, token } => {
                let authorization = HeaderValue::from_str(&token.header()).ok();
                Self::over(TcpStream::connect(address).await?, authorization).await
            }
        }
    }

    #[expect(clippy::disallowed_methods, reason = "who asks is no job, and runs on no kernel")]
    async fn over(
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
        authorization: Option<HeaderValue>,
    ) -> Result<Self, ClientError> {
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        Ok(Self { sender, authorization })
    }

    /// What is at a path.
    ///
    /// # Errors
    /// When it is refused, or the connection is lost.
    pub async fn get<T: DeserializeOwned>(&mut self, path: &str) -> Result<T, ClientError> {
        self.send(Request::get(path).body(Full::default())).await
    }

    /// Asks for something to be done.
    ///
    /// # Errors
    /// When it is refused, or the connection is lost.
    pub async fn post<T: DeserializeOwned>(&mut self, path: &str, body: &impl Serialize) -> Result<T, ClientError> {
        let body = Full::from(serde_json::to_vec(body)?);
        self.send(Request::post(path).header("content-type", "application/json").body(body)).await
    }

    async fn send<T: DeserializeOwned>(
        &mut self,
        request: Result<Request<Full<Bytes>>, hyper::http::Error>,
    ) -> Result<T, ClientError> {
        let mut request = request.map_err(|error| ClientError::Refused(error.to_string()))?;
        request.headers_mut().insert("host", HeaderValue::from_static("updraft"));
        if let Some(authorization) = &self.authorization {
            request.headers_mut().insert("authorization", authorization.clone());
        }
        let response = self.sender.send_request(request).await?;
        let (status, body) = (response.status(), response.into_body().collect().await?.to_bytes());
        if status.is_success() {
            return Ok(serde_json::from_slice(&body)?);
        }
        let failed = serde_json::from_slice::<Failed>(&body).map(|failed| failed.error);
        Err(ClientError::Refused(failed.unwrap_or_else(|_| String::from_utf8_lossy(&body).into_owned())))
    }
}
