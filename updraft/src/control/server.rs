//! What is answered at a control socket: one function for each path, and the document that says so.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use axum::extract::rejection::JsonRejection;
use axum::extract::{Path, Request, State};
use axum::http::StatusCode;
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use updraft_dataflow::control::{
    self, Ask, ControlError, Controller, Cut, Drain, Load, Monitor, Moved, PartCut, Pause, Rehash, Rescale, Resume,
    Rewire, Seen, SplitKey, Swap,
};
use updraft_dataflow::explain::{Edge, Node};
use updraft_dataflow::keyed::HotKey;
use updraft_dataflow::{Epoch, Running, Time};
use updraft_kernel::clock::{self, Nanos};

use super::{JobView, Jobs, Token, why};

/// All paths.
pub(super) fn router(jobs: Jobs) -> Router {
    Router::new()
        .route("/v1/openapi.json", get(async || Json(openapi())))
        .route("/v1/jobs", get(list))
        .route("/v1/jobs/{number}", get(monitor))
        .route("/v1/jobs/{number}/plan", get(plan))
        .route("/v1/jobs/{number}/pause", post(pause))
        .route("/v1/jobs/{number}/resume", post(resume))
        .route("/v1/jobs/{number}/drain", post(drain))
        .route("/v1/jobs/{number}/cancel", post(cancel))
        .route("/v1/jobs/{number}/checkpoint", post(checkpoint))
        .route("/v1/jobs/{number}/set", post(set))
        .route("/v1/jobs/{number}/swap", post(swap))
        .route("/v1/jobs/{number}/scale", post(scale))
        .route("/v1/jobs/{number}/rehash", post(rehash))
        .route("/v1/jobs/{number}/split", post(split))
        .route("/v1/jobs/{number}/rewire", post(rewire))
        .fallback(async || Refused(StatusCode::NOT_FOUND, "there is no such path: see /v1/openapi.json".into()))
        .method_not_allowed_fallback(async || {
            Refused(StatusCode::METHOD_NOT_ALLOWED, "this path is asked otherwise: see /v1/openapi.json".into())
        })
        .with_state(jobs)
}

/// The same, for those alone that name the token.
pub(super) fn with_token(router: Router, token: Token) -> Router {
    router.layer(middleware::from_fn(move |request: Request, next: Next| {
        let named = request.headers().get("authorization").is_some_and(|header| token.is_in(header.as_bytes()));
        async move {
            if named {
                return next.run(request).await;
            }
            let remedy = "send the token: `Authorization: Bearer TOKEN`";
            Refused(StatusCode::UNAUTHORIZED, format!("whoever asks here has to have leave to: {remedy}"))
                .into_response()
        }
    }))
}

/// What has gone wrong.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Failed {
    /// What, and what to do about it.
    pub error: String,
}

struct Refused(StatusCode, String);

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        (self.0, Json(Failed { error: self.1 })).into_response()
    }
}

impl From<ControlError> for Refused {
    fn from(error: ControlError) -> Self {
        let status = match error {
            ControlError::Refused { .. } => StatusCode::UNPROCESSABLE_ENTITY,
            ControlError::Failed { .. } => StatusCode::INTERNAL_SERVER_ERROR,
            ControlError::Late { .. } => StatusCode::GATEWAY_TIMEOUT,
            ControlError::Done { .. } => StatusCode::CONFLICT,
            ControlError::Ended { .. } => StatusCode::GONE,
        };
        Self(status, error.to_string())
    }
}

impl From<JsonRejection> for Refused {
    fn from(error: JsonRejection) -> Self {
        Self(error.status(), error.body_text())
    }
}

type Answer<T> = Result<Json<T>, Refused>;

/// What is done, and when: an epoch of the job, the last one before.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Done {
    /// The epoch.
    pub epoch: u64,
}

/// The sources that are meant.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sources {
    /// One of them; all, if it is not said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
}

/// What is to be set.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Set {
    /// A name of this change that no other has: asked for again, it is done once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// Values of parameters, by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub parameters: BTreeMap<String, Value>,
    /// Records in a bundle, by source.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub bundle: BTreeMap<String, usize>,
    /// Milliseconds between checkpoints.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checkpoints: Option<u64>,
    /// Microseconds that a task runs before others have their turn.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quantum: Option<u64>,
}

/// Which version of something is to take over.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Version {
    /// A name of this change that no other has: asked for again, it is done once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// The function or the process.
    pub name: String,
    /// The version.
    pub version: String,
}

/// How many kernels are to work for stages.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scale {
    /// A name of this change that no other has: asked for again, it is done once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// One of the stages; all, if it is not said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stage: Option<String>,
    /// How many.
    pub kernels: usize,
}

/// Where shards are to be.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Shards {
    /// A name of this change that no other has: asked for again, it is done once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// Of which stage.
    pub stage: String,
    /// The kernel, by shard.
    pub shards: BTreeMap<usize, usize>,
}

/// Which keys of a stage are to be split.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Keys {
    /// A name of this change that no other has: asked for again, it is done once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// Of which stage.
    pub stage: String,
    /// Those that are to be split, each as JSON.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub split: Vec<String>,
    /// Those that are to be whole again.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub join: Vec<String>,
}

/// Which branches are to be there.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Branches {
    /// A name of this change that no other has: asked for again, it is done once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// The sinks of those that are added.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub add: Vec<String>,
    /// The sinks of those that are removed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub remove: Vec<String>,
}

/// What has moved, and when: an epoch of the job, the last one before.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct HasMoved {
    /// The epoch.
    pub epoch: u64,
    /// How many shards and other drivers of stages.
    pub drivers: usize,
}

/// What each part of a job has done by the end of an epoch.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct CutView {
    /// The epoch.
    pub epoch: u64,
    /// When it was asked for: seconds since the process began, about. For rates, between two of the same process.
    pub at: f64,
    /// Milliseconds until the last part had answered.
    pub took: f64,
    /// Epochs closed at a source and not complete at a sink.
    pub epochs_in_flight: usize,
    /// Bytes in queues and as state.
    pub memory: usize,
    /// Milliseconds of event time that are unfinished.
    pub watermark_lag: u64,
    /// Milliseconds that results of the last epochs took: the median and the 99th percentile.
    pub latency: Option<(f64, f64)>,
    /// Sources, stages in the order of the data, sinks.
    pub parts: Vec<PartView>,
}

/// What a job is made of, and what each part has done by the end of an epoch.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct PlanView {
    /// Its name.
    pub job: String,
    /// What it is owed, and in which order epochs are worked on.
    pub about: String,
    /// The epoch.
    pub epoch: u64,
    /// The sources, then the others: a node reads from those before it.
    pub nodes: Vec<NodeView>,
    /// Whether it gives output, and if not, what it waits for.
    pub why: String,
}

/// A source, a stage or a sink.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct NodeView {
    /// Which one, and what it has done.
    #[serde(flatten)]
    pub part: PartView,
    /// What is particular about it: its state, its epochs.
    pub about: String,
    /// What it reads from.
    pub inputs: Vec<EdgeView>,
}

/// From where a node reads, and how.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct EdgeView {
    /// The node, by its place in the list.
    pub from: usize,
    /// Which of its outlets, where it has several: late records, dead letters.
    pub outlet: String,
    /// How bundles get to it.
    pub exchange: String,
}

/// A part of a job.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct PartView {
    /// `source`, `stage` or `sink`.
    pub kind: String,
    /// Its name.
    pub name: String,
    /// Partitions of a source, drivers of a stage, one of a sink.
    pub instances: usize,
    /// Whether each of them owns some of the keys.
    pub is_keyed: bool,
    /// Whether keys can be split.
    pub is_splittable: bool,
    /// Of a sink, whether it gets what comes.
    pub is_attached: bool,
    /// What it has done; times are in seconds.
    #[serde(flatten)]
    pub seen: Seen,
    /// What each driver of a stage has to do.
    pub loads: Vec<Load>,
    /// The keys that a tenth of a shard's records or more are of, about.
    pub hot: Vec<HotKey>,
    /// Its watermark, in milliseconds since 1970; none before the first, and at the end of time.
    pub watermark: Option<i64>,
}

impl From<Cut> for CutView {
    fn from(cut: Cut) -> Self {
        let millis = |span: Duration| span.as_secs_f64() * 1e3;
        Self {
            epoch: cut.epoch.0,
            at: cut.at.0 as f64 / 1e9,
            took: millis(cut.took),
            epochs_in_flight: cut.epochs_in_flight,
            memory: cut.memory,
            watermark_lag: cut.watermark_lag.as_millis() as u64,
            latency: cut.latency().map(|(p50, p99)| (millis(p50), millis(p99))),
            parts: cut.parts.into_iter().map(PartView::from).collect(),
        }
    }
}

impl From<PartCut> for PartView {
    fn from(PartCut { part, seen, loads, hot, watermark, is_attached }: PartCut) -> Self {
        Self {
            kind: part.kind.to_string(),
            name: part.name.to_string(),
            instances: part.instances,
            is_keyed: part.is_keyed,
            is_splittable: part.is_splittable,
            is_attached,
            seen,
            loads,
            hot,
            watermark: (![Time::MIN, Time::MAX].contains(&watermark)).then(|| watermark.as_millis()),
        }
    }
}

/// The job of that number.
fn job(jobs: &Jobs, number: &str) -> Result<Running, Refused> {
    begun(jobs, number).map(|(running, _)| running)
}

/// The same, and when it began.
fn begun(jobs: &Jobs, number: &str) -> Result<(Running, Nanos), Refused> {
    let running = number.parse().ok().and_then(|number| jobs.get(number));
    running.ok_or_else(|| Refused(StatusCode::NOT_FOUND, format!("there is no job {number}: see /v1/jobs")))
}

async fn list(State(jobs): State<Jobs>) -> Json<Vec<JobView>> {
    Json(jobs.list())
}

async fn monitor(State(jobs): State<Jobs>, Path(number): Path<String>) -> Answer<CutView> {
    Ok(Json(job(&jobs, &number)?.control(Monitor::default()).await?.into()))
}

async fn plan(State(jobs): State<Jobs>, Path(number): Path<String>) -> Answer<PlanView> {
    let (running, since) = begun(&jobs, &number)?;
    let cut = running.control(Monitor::default()).await?;
    let explained = running.explain();
    let mut why = why(running.metrics(), clock::now().since(since));
    for removed in cut.parts.iter().filter(|cut| !cut.is_attached) {
        why += &format!("- {} is removed, and gets nothing: `updraft rewire --add` brings it back\n", removed.part);
    }
    let mut of_kind: BTreeMap<_, VecDeque<_>> = BTreeMap::new();
    for cut in cut.parts {
        of_kind.entry(cut.part.kind).or_default().push_back(PartView::from(cut));
    }
    let edge =
        |edge: &Edge| EdgeView { from: edge.from, outlet: edge.outlet.to_owned(), exchange: edge.exchange.to_string() };
    // Of each kind, parts are in the order in which they were described.
    let node = |node: &Node| {
        let part = of_kind.get_mut(&node.kind)?.pop_front()?;
        Some(NodeView { part, about: node.about.clone(), inputs: node.inputs.iter().map(edge).collect() })
    };
    Ok(Json(PlanView {
        job: explained.job.to_string(),
        about: explained.about.clone(),
        epoch: cut.epoch.0,
        nodes: explained.nodes.iter().filter_map(node).collect(),
        why,
    }))
}

/// Has an operation done that is over at the end of an epoch.
async fn done<C: Controller<Outcome = Epoch>>(running: &Running, ask: impl Into<Ask<C>>) -> Answer<Done> {
    Ok(Json(Done { epoch: running.control(ask).await?.0 }))
}

async fn pause(
    State(jobs): State<Jobs>,
    Path(number): Path<String>,
    body: Result<Json<Sources>, JsonRejection>,
) -> Answer<Done> {
    let (running, Json(Sources { source })) = (job(&jobs, &number)?, body?);
    done(&running, source.map_or_else(Pause::all, Pause::source)).await
}

async fn resume(
    State(jobs): State<Jobs>,
    Path(number): Path<String>,
    body: Result<Json<Sources>, JsonRejection>,
) -> Answer<Done> {
    let (running, Json(Sources { source })) = (job(&jobs, &number)?, body?);
    done(&running, source.map_or_else(Resume::all, Resume::source)).await
}

async fn drain(State(jobs): State<Jobs>, Path(number): Path<String>) -> Answer<Done> {
    done(&job(&jobs, &number)?, Drain::default()).await
}

async fn cancel(State(jobs): State<Jobs>, Path(number): Path<String>) -> Answer<Value> {
    let running = job(&jobs, &number)?;
    match running.suspend() {
        // It goes on from there another time.
        Some(suspended) => suspended.await,
        None => running.cancel(),
    }
    Ok(Json(json!({})))
}

async fn checkpoint(State(jobs): State<Jobs>, Path(number): Path<String>) -> Answer<Value> {
    let taken = job(&jobs, &number)?.checkpointed();
    let taken = taken.ok_or(Refused(StatusCode::UNPROCESSABLE_ENTITY, "the job takes no checkpoints".into()))?;
    match taken.await {
        Some(number) => Ok(Json(json!({ "checkpoint": number }))),
        None => Err(Refused(StatusCode::GONE, "the job has ended".into())),
    }
}

async fn set(
    State(jobs): State<Jobs>,
    Path(number): Path<String>,
    body: Result<Json<Set>, JsonRejection>,
) -> Answer<Done> {
    let (running, Json(Set { id, parameters, bundle, checkpoints, quantum })) = (job(&jobs, &number)?, body?);
    let mut set = control::Set::new();
    for (name, value) in parameters {
        set = set.parameter(name, value);
    }
    for (source, records) in bundle {
        set = set.bundle(source, records);
    }
    if let Some(millis) = checkpoints {
        set = set.checkpoints(Duration::from_millis(millis));
    }
    if let Some(micros) = quantum {
        set = set.quantum(Duration::from_micros(micros));
    }
    done(&running, with_id(set, id)).await
}

/// An operation, by the name that it may have.
fn with_id<C: Controller>(operation: C, id: Option<String>) -> Ask<C> {
    let ask = Ask::new(operation);
    if let Some(id) = id { ask.id(id) } else { ask }
}

async fn swap(
    State(jobs): State<Jobs>,
    Path(number): Path<String>,
    body: Result<Json<Version>, JsonRejection>,
) -> Answer<Done> {
    let (running, Json(Version { id, name, version })) = (job(&jobs, &number)?, body?);
    done(&running, with_id(Swap::new(name, version), id)).await
}

/// Has an operation done that moves something.
async fn moved<C: Controller<Outcome = Moved>>(running: &Running, ask: Ask<C>) -> Answer<HasMoved> {
    let Moved { epoch, drivers } = running.control(ask).await?;
    Ok(Json(HasMoved { epoch: epoch.0, drivers }))
}

async fn scale(
    State(jobs): State<Jobs>,
    Path(number): Path<String>,
    body: Result<Json<Scale>, JsonRejection>,
) -> Answer<HasMoved> {
    let (running, Json(Scale { id, stage, kernels })) = (job(&jobs, &number)?, body?);
    let rescale = stage.map_or_else(|| Rescale::job(kernels), |stage| Rescale::stage(stage, kernels));
    moved(&running, with_id(rescale, id)).await
}

async fn rehash(
    State(jobs): State<Jobs>,
    Path(number): Path<String>,
    body: Result<Json<Shards>, JsonRejection>,
) -> Answer<HasMoved> {
    let (running, Json(Shards { id, stage, shards })) = (job(&jobs, &number)?, body?);
    let rehash = shards.into_iter().fold(Rehash::stage(stage), |rehash, (shard, kernel)| rehash.shard(shard, kernel));
    moved(&running, with_id(rehash, id)).await
}

async fn split(
    State(jobs): State<Jobs>,
    Path(number): Path<String>,
    body: Result<Json<Keys>, JsonRejection>,
) -> Answer<Done> {
    let (running, Json(Keys { id, stage, split, join })) = (job(&jobs, &number)?, body?);
    let keys = split.into_iter().fold(SplitKey::stage(stage), SplitKey::split);
    done(&running, with_id(join.into_iter().fold(keys, SplitKey::join), id)).await
}

async fn rewire(
    State(jobs): State<Jobs>,
    Path(number): Path<String>,
    body: Result<Json<Branches>, JsonRejection>,
) -> Answer<Done> {
    let (running, Json(Branches { id, add, remove })) = (job(&jobs, &number)?, body?);
    let added = add.into_iter().fold(Rewire::new(), Rewire::with);
    done(&running, with_id(remove.into_iter().fold(added, Rewire::without), id)).await
}

/// What can be asked, as an OpenAPI 3.1 document.
pub fn openapi() -> Value {
    let answer = |about: &str, schema: Value| json!({ "description": about, "content": { "application/json": { "schema": schema } } });
    let failed = |about: &str| answer(about, json!({ "$ref": "#/components/schemas/Failed" }));
    let number = json!([{ "name": "number", "in": "path", "required": true, "schema": { "type": "integer", "minimum": 0 }, "example": 1 }]);
    let done = json!({ "$ref": "#/components/schemas/Done" });
    let operation = |about: &str, outcome: Value, body: Option<&str>| {
        let mut responses = json!({
            "200": answer("It is done.", outcome),
            "404": failed("There is no such job."),
            "409": failed("It was done before."),
            "410": failed("The job has ended meanwhile."),
            "422": failed("It cannot be done."),
            "500": failed("It has failed."),
            "504": failed("It takes too long, and goes on all the same."),
        });
        let mut operation = json!({ "summary": about, "parameters": number });
        if let Some(body) = body {
            let schema = json!({ "$ref": format!("#/components/schemas/{body}") });
            responses["400"] = failed("What was sent is no JSON.");
            responses["413"] = failed("What was sent is too long.");
            responses["415"] = failed("What was sent does not say that it is JSON.");
            operation["requestBody"] =
                json!({ "required": true, "content": { "application/json": { "schema": schema } } });
        }
        operation["responses"] = responses;
        operation
    };
    let object = |required: &[&str], properties: Value| json!({ "type": "object", "required": required, "additionalProperties": false, "properties": properties });
    let (count, float) = (json!({ "type": "integer", "minimum": 0 }), json!({ "type": "number" }));
    let text = json!({ "type": "string" });
    let or_null = |kind: &str| json!({ "type": [kind, "null"] });
    let reference = |name: &str| json!({ "$ref": format!("#/components/schemas/{name}") });
    let texts = json!({ "type": "array", "items": text });
    let keys = object(&["stage"], json!({ "id": or_null("string"), "stage": text, "split": texts, "join": texts }));
    let branches = object(&[], json!({ "id": or_null("string"), "add": texts, "remove": texts }));
    let hot_key = object(&["key", "shard", "share"], json!({ "key": text, "shard": count, "share": float }));
    let seen = json!({
        "kind": { "enum": ["source", "stage", "sink"] }, "name": text, "instances": count,
        "records_in": count, "records_out": count, "late": count, "rejected": count,
        "busy": float, "blocked": float, "state": count, "bundle": count, "watermark": or_null("integer"),
        "loads": { "type": "array", "items": reference("Load") },
        "hot": { "type": "array", "items": reference("HotKey") },
        "is_keyed": { "type": "boolean" }, "is_splittable": { "type": "boolean" }, "is_attached": { "type": "boolean" },
    });
    let required: Vec<_> =
        seen.as_object().into_iter().flatten().map(|(name, _)| name).filter(|name| *name != "watermark").collect();
    let seen = json!({ "type": "object", "required": required, "properties": seen });
    json!({
        "openapi": "3.1.0",
        "info": { "title": "Updraft: jobs that run", "version": env!("CARGO_PKG_VERSION") },
        "paths": {
            "/v1/jobs": { "get": {
                "summary": "The jobs of this process.",
                "responses": { "200": answer("All that run.", json!({ "type": "array", "items": reference("Job") })) },
            } },
            "/v1/jobs/{number}": { "get": operation("What each part has done by the end of an epoch.", reference("Cut"), None) },
            "/v1/jobs/{number}/plan": { "get": operation("What it is made of, with figures; and why it gives no output.", reference("Plan"), None) },
            "/v1/jobs/{number}/pause": { "post": operation("Has sources read nothing.", done.clone(), Some("Sources")) },
            "/v1/jobs/{number}/resume": { "post": operation("Has sources go on.", done.clone(), Some("Sources")) },
            "/v1/jobs/{number}/drain": { "post": operation("Has the job come to a good end.", done.clone(), None) },
            "/v1/jobs/{number}/cancel": { "post": operation("Ends the job; if it takes checkpoints, after one.", json!({ "type": "object" }), None) },
            "/v1/jobs/{number}/checkpoint": { "post": operation(
                "Takes a checkpoint.",
                object(&["checkpoint"], json!({ "checkpoint": count })),
                None,
            ) },
            "/v1/jobs/{number}/set": { "post": operation("Changes settings.", done.clone(), Some("Set")) },
            "/v1/jobs/{number}/swap": { "post": operation("Has another version of a function or a process take over.", done.clone(), Some("Version")) },
            "/v1/jobs/{number}/scale": { "post": operation("Has so many kernels work for stages.", reference("Moved"), Some("Scale")) },
            "/v1/jobs/{number}/rehash": { "post": operation("Moves shards of a stage to other kernels.", reference("Moved"), Some("Shards")) },
            "/v1/jobs/{number}/split": { "post": operation("Splits keys of a stage, or has them whole again.", done.clone(), Some("Keys")) },
            "/v1/jobs/{number}/rewire": { "post": operation("Adds branches, and removes others.", done, Some("Branches")) },
        },
        "components": { "schemas": {
            "Failed": object(&["error"], json!({ "error": text })),
            "Moved": object(&["epoch", "drivers"], json!({ "epoch": count, "drivers": count })),
            "Version": object(&["name", "version"], json!({ "id": or_null("string"), "name": text, "version": text })),
            "Scale": object(&["kernels"], json!({ "id": or_null("string"), "stage": or_null("string"), "kernels": { "type": "integer", "minimum": 1 } })),
            "Shards": object(&["stage", "shards"], json!({
                "id": or_null("string"),
                "stage": text,
                "shards": { "type": "object", "patternProperties": { "^[0-9]{1,9}$": count }, "additionalProperties": false },
            })),
            "Keys": keys,
            "Branches": branches,
            "HotKey": hot_key,
            "Load": object(&["kernel", "records"], json!({ "kernel": count, "records": count })),
            "Done": object(&["epoch"], json!({ "epoch": count })),
            "Sources": object(&[], json!({ "source": or_null("string") })),
            "Set": object(&[], json!({
                "id": or_null("string"),
                "parameters": { "type": "object" },
                "bundle": { "type": "object", "additionalProperties": count },
                "checkpoints": { "type": ["integer", "null"], "minimum": 0 },
                "quantum": { "type": ["integer", "null"], "minimum": 1, "maximum": 1_000_000 },
            })),
            "Job": object(&["number", "name", "seconds", "records", "results", "memory"], json!({
                "number": count, "name": text, "seconds": float, "records": count, "results": count, "memory": count,
                "checkpoint": or_null("integer"),
            })),
            "Cut": object(&["epoch", "at", "took", "epochs_in_flight", "memory", "watermark_lag", "parts"], json!({
                "epoch": count, "at": float, "took": float, "epochs_in_flight": count, "memory": count, "watermark_lag": count,
                "latency": { "type": ["array", "null"], "items": float, "minItems": 2, "maxItems": 2 },
                "parts": { "type": "array", "items": reference("Part") },
            })),
            "Plan": object(&["job", "about", "epoch", "nodes", "why"], json!({
                "job": text, "about": text, "epoch": count, "nodes": { "type": "array", "items": reference("Node") }, "why": text,
            })),
            "Node": json!({ "allOf": [reference("Seen"), { "type": "object", "required": ["about", "inputs"], "properties": {
                "about": text,
                "inputs": { "type": "array", "items": object(&["from", "outlet", "exchange"], json!({
                    "from": count, "outlet": text, "exchange": text,
                })) },
            } }] }),
            "Part": json!({ "allOf": [reference("Seen")], "unevaluatedProperties": false }),
            "Seen": seen,
        } },
    })
}
