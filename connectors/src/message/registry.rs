//! Registries of schemas, as Confluent's: schemas by number, and numbers of those that are written with.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use reqwest::{Client, Method, StatusCode};
use serde_json::{Value, json};
use updraft_dataflow::Error;
use updraft_dataflow::connector::{OptionSpec, Options};
use updraft_kernel::clock;
use url::Url;

use crate::store::runtime;
use crate::table::options::duration;

pub(super) const OPTIONS: [OptionSpec; 7] = [
    OptionSpec { name: "avro-confluent.url", about: "Where the registry of schemas is; several with , between them." },
    OptionSpec {
        name: "avro-confluent.subject",
        about: "What a schema that is written with is called in the registry (TOPIC-value, and TOPIC-key for keys).",
    },
    OptionSpec {
        name: "avro-confluent.basic-auth.credentials-source",
        about: "Where user and password are: USER_INFO, or URL (the default).",
    },
    OptionSpec {
        name: "avro-confluent.basic-auth.user-info",
        about: "User and password for the registry, with : between them.",
    },
    OptionSpec { name: "avro-confluent.bearer-auth.credentials-source", about: "Where the token is: STATIC_TOKEN." },
    OptionSpec { name: "avro-confluent.bearer-auth.token", about: "The token for the registry." },
    OptionSpec {
        name: "avro-confluent.timeout",
        about: "For how long to wait for the registry, and ask it again (30 s).",
    },
];

/// The longest answer that is taken, in bytes.
const LONGEST: usize = 16 << 20;
/// How long to wait before asking again; twice as long each time, up to the most.
const PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// A registry.
pub(super) struct Registry {
    client: Client,
    urls: Vec<Url>,
    auth: Auth,
    timeout: Duration,
    /// What it has said of schemas; why not, where there is none of the number.
    known: Mutex<HashMap<u32, Result<Arc<str>, String>>>,
}

#[derive(Clone)]
enum Auth {
    None,
    Basic(String, Option<String>),
    Bearer(String),
}

/// What became of a request.
enum Answer {
    Told(Value),
    /// There is no such thing.
    Unknown(String),
    /// Asking again will not help.
    Refused(String),
    /// It may.
    Failed(String),
}

impl Registry {
    pub(super) fn of(options: &Options) -> Result<Self, Error> {
        let urls = options.required("avro-confluent.url")?;
        let urls: Vec<Url> = urls.split(',').map(|url| parse(url.trim())).collect::<Result<_, _>>()?;
        let timeout = duration(options, "avro-confluent.timeout")?.unwrap_or(Duration::from_secs(30));
        let client = Client::builder().connect_timeout(timeout).build()?;
        Ok(Self { client, urls, auth: Auth::of(options)?, timeout, known: Mutex::default() })
    }

    /// The schema of a number; `Err` within where there is none, or one that cannot be used.
    ///
    /// # Errors
    /// When the registry does not answer.
    pub(super) async fn schema(self: Arc<Self>, id: u32) -> Result<Result<Arc<str>, String>, Error> {
        if let Some(known) = self.known.lock().unwrap_or_else(PoisonError::into_inner).get(&id) {
            return Ok(known.clone());
        }
        let (registry, what) = (self.clone(), format!("schema {id}"));
        let answer =
            runtime::run(
                async move { registry.ask(Method::GET, &["schemas", "ids", &id.to_string()], None, &what).await },
            )
            .await??;
        let schema = match answer {
            Err(reason) => Err(format!("the registry has no schema {id}: {reason}")),
            Ok(answer) => text_of(&answer).map(Arc::from).map_err(|reason| format!("schema {id} {reason}")),
        };
        self.known.lock().unwrap_or_else(PoisonError::into_inner).insert(id, schema.clone());
        Ok(schema)
    }

    /// The number of a schema that is to be written with, by its subject: the registry gives it one.
    ///
    /// # Errors
    /// When the registry does not answer, or does not want it.
    pub(super) async fn register(self: Arc<Self>, subject: &str, schema: &str) -> Result<u32, Error> {
        let (body, subject, registry) = (json!({ "schema": schema }), subject.to_owned(), self.clone());
        let what = format!("the schema of subject '{subject}'");
        let asked = what.clone();
        let answer = runtime::run(async move {
            registry.ask(Method::POST, &["subjects", &subject, "versions"], Some(body), &asked).await
        });
        match answer.await?? {
            Ok(answer) => match answer.get("id").and_then(Value::as_u64).and_then(|id| u32::try_from(id).ok()) {
                Some(id) => Ok(id),
                None => {
                    Err(format!("{self}: {what}: the answer has no `id`; check that it is a registry of schemas")
                        .into())
                }
            },
            Err(reason) => Err(format!("{self}: {what}: {reason}; check 'avro-confluent.url'").into()),
        }
    }

    /// Asks until there is an answer, or it has taken too long: first one, then the next.
    async fn ask(
        &self,
        method: Method,
        path: &[&str],
        body: Option<Value>,
        what: &str,
    ) -> Result<Result<Value, String>, Error> {
        let (begin, mut pause) = (clock::now(), PAUSE);
        for url in self.urls.iter().cycle() {
            let left = self.timeout.saturating_sub(clock::now().since(begin));
            let failure = match self.request(url, &method, path, body.as_ref(), left).await {
                Answer::Told(value) => return Ok(Ok(value)),
                Answer::Unknown(reason) => return Ok(Err(reason)),
                Answer::Refused(reason) => return Err(format!("{}: {what}: {reason}", shown(url)).into()),
                Answer::Failed(failure) => failure,
            };
            if clock::now().since(begin) + pause >= self.timeout {
                let (url, waited) = (shown(url), self.timeout);
                let remedy = "check 'avro-confluent.url' and that the registry runs, or give it longer by 'avro-confluent.timeout'";
                return Err(format!("{url}: {what}: no answer within {waited:?}: {failure}; {remedy}").into());
            }
            tracing::warn!(url = shown(url), what, failure, "the registry is asked again");
            clock::sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
        unreachable!("there is a URL, and it comes again and again")
    }

    async fn request(&self, url: &Url, method: &Method, path: &[&str], body: Option<&Value>, left: Duration) -> Answer {
        let mut to = url.clone();
        if let Ok(mut segments) = to.path_segments_mut() {
            segments.pop_if_empty().extend(path);
        }
        let mut request = self.client.request(method.clone(), to).timeout(left);
        request = request.header("Accept", "application/vnd.schemaregistry.v1+json, application/json");
        match &self.auth {
            Auth::None => {}
            Auth::Basic(user, password) => request = request.basic_auth(user, password.as_ref()),
            Auth::Bearer(token) => request = request.bearer_auth(token),
        }
        if let Some(body) = body {
            request = request.header("Content-Type", "application/vnd.schemaregistry.v1+json").body(body.to_string());
        }
        let answered = async {
            let mut response = request.send().await?;
            let (status, mut bytes) = (response.status(), Vec::new());
            while let Some(chunk) = response.chunk().await? {
                bytes.extend_from_slice(&chunk);
                if bytes.len() > LONGEST {
                    break;
                }
            }
            Ok::<_, reqwest::Error>((status, bytes))
        };
        match answered.await {
            Err(error) => Answer::Failed(cause(&error)),
            Ok((_, bytes)) if bytes.len() > LONGEST => {
                Answer::Refused(format!("an answer of more than {LONGEST} bytes"))
            }
            Ok((status, bytes)) => understood(status, &bytes),
        }
    }
}

/// What an answer says.
fn understood(status: StatusCode, bytes: &[u8]) -> Answer {
    let value: Option<Value> = serde_json::from_slice(bytes).ok();
    let said = value.as_ref().and_then(|value| value.get("message")).and_then(Value::as_str).unwrap_or_default();
    let reason = if said.is_empty() { status.to_string() } else { format!("{status}: {said}") };
    match status {
        StatusCode::NOT_FOUND => Answer::Unknown(reason),
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
            Answer::Refused(format!("{reason}; check 'avro-confluent.basic-auth.user-info'"))
        }
        StatusCode::CONFLICT => {
            Answer::Refused(format!("{reason}; give the table columns that fit, or another 'avro-confluent.subject'"))
        }
        StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT => Answer::Failed(reason),
        status if status.is_server_error() => Answer::Failed(reason),
        status if status.is_success() => match value {
            Some(value) => Answer::Told(value),
            None => Answer::Failed("an answer that is not JSON".into()),
        },
        _ => Answer::Refused(format!("{reason}; check that it is a registry of schemas")),
    }
}

/// The schema that an answer holds.
fn text_of(answer: &Value) -> Result<&str, String> {
    match answer.get("schemaType").and_then(Value::as_str) {
        None | Some("AVRO") => {}
        Some(other) => return Err(format!("is of {other}, and not of Avro")),
    }
    if answer.get("references").and_then(Value::as_array).is_some_and(|references| !references.is_empty()) {
        return Err("refers to schemas of other subjects: register it with these in it".into());
    }
    answer.get("schema").and_then(Value::as_str).ok_or_else(|| "has no `schema` in the registry's answer".into())
}

/// An error and what it comes from.
fn cause(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut error = error;
    while let Some(source) = error.source() {
        text = format!("{text}: {source}");
        error = source;
    }
    text
}

fn parse(url: &str) -> Result<Url, Error> {
    let fault = |what: &str| Error::from(format!("'avro-confluent.url' = '{url}': {what}"));
    let parsed = Url::parse(url).map_err(|error| fault(&format!("{error}: give it as http://host:8081")))?;
    match parsed.scheme() {
        "http" => Ok(parsed),
        "https" if cfg!(any(feature = "aws", feature = "azure", feature = "gcp", feature = "http")) => Ok(parsed),
        "https" => Err(fault("this build has no TLS: build it with one of the features aws, azure, gcp and http")),
        _ => Err(fault("give it as http://host:8081")),
    }
}

/// A URL without what is secret.
fn shown(url: &Url) -> String {
    let mut url = url.clone();
    let _ = url.set_password(None).and_then(|()| url.set_username(""));
    url.to_string()
}

impl Auth {
    fn of(options: &Options) -> Result<Self, Error> {
        let basic = options.get("avro-confluent.basic-auth.user-info");
        match options.get("avro-confluent.basic-auth.credentials-source") {
            None | Some("USER_INFO") => {}
            // What is in the URL is sent without being told to.
            Some("URL") if basic.is_none() => {}
            Some(other) => {
                let name = "avro-confluent.basic-auth.credentials-source";
                return Err(format!(
                    "'{name}' = '{other}': USER_INFO, with 'avro-confluent.basic-auth.user-info', or URL"
                )
                .into());
            }
        }
        match options.get("avro-confluent.bearer-auth.credentials-source") {
            None | Some("STATIC_TOKEN") => {}
            Some(other) => {
                return Err(format!("'avro-confluent.bearer-auth.credentials-source' = '{other}': STATIC_TOKEN").into());
            }
        }
        match (basic, options.get("avro-confluent.bearer-auth.token")) {
            (None, None) => Ok(Self::None),
            (Some(basic), None) => {
                let (user, password) = basic.split_once(':').map_or((basic, None), |(user, rest)| (user, Some(rest)));
                Ok(Self::Basic(user.to_owned(), password.map(str::to_owned)))
            }
            (None, Some(token)) => Ok(Self::Bearer(token.to_owned())),
            (Some(_), Some(_)) => Err(
                "'avro-confluent.basic-auth.user-info' and 'avro-confluent.bearer-auth.token': give one or the other"
                    .into(),
            ),
        }
    }
}

impl fmt::Display for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.urls.first().map(shown).unwrap_or_default())
    }
}

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registry").field("urls", &self.to_string()).finish_non_exhaustive()
    }
}
