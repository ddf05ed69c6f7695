//! What is answered at a control socket: one function for each path, and the document that says so.

use std::collections::BTreeMap;
use std::time::Duration;

use axum::extract::rejection::JsonRejection;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use updraft_dataflow::control::{self, ControlError, Cut, Drain, Monitor, PartCut, Pause, Resume};
use updraft_dataflow::{Running, Time};

use super::{JobView, Jobs};

/// All paths.
pub(super) fn router(jobs: Jobs) -> Router {
    Router::new()
        .route("/v1/openapi.json", get(async || Json(openapi())))
        .route("/v1/jobs", get(list))
        .route("/v1/jobs/{number}", get(monitor))
        .route("/v1/jobs/{number}/pause", post(pause))
        .route("/v1/jobs/{number}/resume", post(resume))
        .route("/v1/jobs/{number}/drain", post(drain))
        .route("/v1/jobs/{number}/cancel", post(cancel))
        .route("/v1/jobs/{number}/checkpoint", post(checkpoint))
        .route("/v1/jobs/{number}/set", post(set))
        .fallback(async || Refused(StatusCode::NOT_FOUND, "there is no such path: see /v1/openapi.json".into()))
        .method_not_allowed_fallback(async || {
            Refused(StatusCode::METHOD_NOT_ALLOWED, "this path is asked otherwise: see /v1/openapi.json".into())
        })
        .with_state(jobs)
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

/// A part of a job.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct PartView {
    /// `source`, `stage` or `sink`.
    pub kind: String,
    /// Its name.
    pub name: String,
    /// Partitions of a source, drivers of a stage, one of a sink.
    pub instances: usize,
    /// Records taken in.
    pub records_in: u64,
    /// Records given on.
    pub records_out: u64,
    /// Records that were late.
    pub late: u64,
    /// Records that could not be decoded.
    pub rejected: u64,
    /// Seconds in which kernels have worked for it, added up.
    pub busy: f64,
    /// Seconds in which a source could not go on, added up over its partitions.
    pub blocked: f64,
    /// Bytes that a stage keeps.
    pub state: u64,
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
            latency: cut.latency.map(|(p50, p99)| (millis(p50), millis(p99))),
            parts: cut.parts.into_iter().map(PartView::from).collect(),
        }
    }
}

impl From<PartCut> for PartView {
    fn from(PartCut { part, seen, watermark }: PartCut) -> Self {
        Self {
            kind: part.kind.to_string(),
            name: part.name.to_string(),
            instances: part.instances,
            records_in: seen.records_in,
            records_out: seen.records_out,
            late: seen.late,
            rejected: seen.rejected,
            busy: seen.busy.as_secs_f64(),
            blocked: seen.blocked.as_secs_f64(),
            state: seen.state,
            watermark: (![Time::MIN, Time::MAX].contains(&watermark)).then(|| watermark.as_millis()),
        }
    }
}

/// The job of that number.
fn job(jobs: &Jobs, number: &str) -> Result<Running, Refused> {
    let running = number.parse().ok().and_then(|number| jobs.get(number));
    running.ok_or_else(|| Refused(StatusCode::NOT_FOUND, format!("there is no job {number}: see /v1/jobs")))
}

async fn list(State(jobs): State<Jobs>) -> Json<Vec<JobView>> {
    Json(jobs.list())
}

async fn monitor(State(jobs): State<Jobs>, Path(number): Path<String>) -> Answer<CutView> {
    Ok(Json(job(&jobs, &number)?.control(Monitor::default()).await?.into()))
}

async fn pause(
    State(jobs): State<Jobs>,
    Path(number): Path<String>,
    body: Result<Json<Sources>, JsonRejection>,
) -> Answer<Done> {
    let (running, Json(Sources { source })) = (job(&jobs, &number)?, body?);
    let epoch = running.control(source.map_or_else(Pause::all, Pause::source)).await?;
    Ok(Json(Done { epoch: epoch.0 }))
}

async fn resume(
    State(jobs): State<Jobs>,
    Path(number): Path<String>,
    body: Result<Json<Sources>, JsonRejection>,
) -> Answer<Done> {
    let (running, Json(Sources { source })) = (job(&jobs, &number)?, body?);
    let epoch = running.control(source.map_or_else(Resume::all, Resume::source)).await?;
    Ok(Json(Done { epoch: epoch.0 }))
}

async fn drain(State(jobs): State<Jobs>, Path(number): Path<String>) -> Answer<Done> {
    let epoch = job(&jobs, &number)?.control(Drain::default()).await?;
    Ok(Json(Done { epoch: epoch.0 }))
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
    let (running, Json(Set { id, parameters, bundle, checkpoints })) = (job(&jobs, &number)?, body?);
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
    let ask = control::Ask::new(set);
    let epoch = running.control(if let Some(id) = id { ask.id(id) } else { ask }).await?;
    Ok(Json(Done { epoch: epoch.0 }))
}

/// What can be asked, as an OpenAPI 3.1 document.
pub fn openapi() -> Value {
    let answer = |about: &str, schema: Value| json!({ "description": about, "content": { "application/json": { "schema": schema } } });
    let failed = |about: &str| answer(about, json!({ "$ref": "#/components/schemas/Failed" }));
    let number =
        json!([{ "name": "number", "in": "path", "required": true, "schema": { "type": "integer", "minimum": 0 } }]);
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
    json!({
        "openapi": "3.1.0",
        "info": { "title": "Updraft: jobs that run", "version": env!("CARGO_PKG_VERSION") },
        "paths": {
            "/v1/jobs": { "get": {
                "summary": "The jobs of this process.",
                "responses": { "200": answer("All that run.", json!({ "type": "array", "items": reference("Job") })) },
            } },
            "/v1/jobs/{number}": { "get": operation("What each part has done by the end of an epoch.", reference("Cut"), None) },
            "/v1/jobs/{number}/pause": { "post": operation("Has sources read nothing.", done.clone(), Some("Sources")) },
            "/v1/jobs/{number}/resume": { "post": operation("Has sources go on.", done.clone(), Some("Sources")) },
            "/v1/jobs/{number}/drain": { "post": operation("Has the job come to a good end.", done.clone(), None) },
            "/v1/jobs/{number}/cancel": { "post": operation("Ends the job; if it takes checkpoints, after one.", json!({ "type": "object" }), None) },
            "/v1/jobs/{number}/checkpoint": { "post": operation(
                "Takes a checkpoint.",
                object(&["checkpoint"], json!({ "checkpoint": count })),
                None,
            ) },
            "/v1/jobs/{number}/set": { "post": operation("Changes settings.", done, Some("Set")) },
        },
        "components": { "schemas": {
            "Failed": object(&["error"], json!({ "error": text })),
            "Done": object(&["epoch"], json!({ "epoch": count })),
            "Sources": object(&[], json!({ "source": or_null("string") })),
            "Set": object(&[], json!({
                "id": or_null("string"),
                "parameters": { "type": "object" },
                "bundle": { "type": "object", "additionalProperties": count },
                "checkpoints": { "type": ["integer", "null"], "minimum": 0 },
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
            "Part": object(&["kind", "name", "instances", "records_in", "records_out", "late", "rejected", "busy", "blocked", "state"], json!({
                "kind": { "enum": ["source", "stage", "sink"] }, "name": text, "instances": count,
                "records_in": count, "records_out": count, "late": count, "rejected": count,
                "busy": float, "blocked": float, "state": count, "watermark": or_null("integer"),
            })),
        } },
    })
}
