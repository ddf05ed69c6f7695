//! What a URL's scheme stands for. Credentials and regions come from the environment, under the names that each vendor's own
//! tools use (`AWS_ACCESS_KEY_ID`, `GOOGLE_APPLICATION_CREDENTIALS`, `AZURE_STORAGE_ACCOUNT_NAME`, …).

use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use object_store::memory::InMemory;
use object_store::{ObjectStore, ObjectStoreScheme};
use updraft_dataflow::Error;
use url::Url;

/// A store, what names in it begin with, and the name of what is meant.
type Opened = (Arc<dyn ObjectStore>, String, String);

pub(super) fn open(url: &str, scheme: &str, rest: &str) -> Result<Opened, Error> {
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    let (root, path) = (format!("{scheme}://{authority}/"), path.trim_start_matches('/'));
    if scheme == "memory" {
        return Ok((memory(authority), root, path.to_owned()));
    }
    if authority.is_empty() {
        return Err(format!("no name follows {scheme}://; name the bucket or the host").into());
    }
    let parsed = Url::parse(&root).map_err(|error| Error::from(format!("not a URL: {error}")))?;
    let (kind, _) = ObjectStoreScheme::parse(&parsed).map_err(|_| unknown(scheme))?;
    if !scheme.starts_with("http") {
        // Names of objects are as they are written: `%20` is no blank there.
        return Ok((build(&kind, &parsed)?, root, path.to_owned()));
    }
    let whole = Url::parse(url).map_err(|error| Error::from(format!("not a URL: {error}")))?;
    if whole.query().is_some() {
        return Err("a URL with a query cannot be read; give the file a plain one".into());
    }
    let (kind, path) = ObjectStoreScheme::parse(&whole)?;
    Ok((build(&kind, &whole)?, root, path.to_string()))
}

fn unknown(scheme: &str) -> Error {
    let known = "file, s3, gs, az, abfs, http, https and memory";
    format!("{scheme}:// is not known; there are {known}: mount it, or copy it here").into()
}

/// The store of that name in this process.
pub(super) fn memory(name: &str) -> Arc<InMemory> {
    static STORES: LazyLock<Mutex<HashMap<String, Arc<InMemory>>>> = LazyLock::new(Mutex::default);
    let mut stores = STORES.lock().unwrap_or_else(PoisonError::into_inner);
    stores.entry(name.to_owned()).or_default().clone()
}

fn build(kind: &ObjectStoreScheme, url: &Url) -> Result<Arc<dyn ObjectStore>, Error> {
    match kind {
        ObjectStoreScheme::AmazonS3 => aws(url),
        ObjectStoreScheme::GoogleCloudStorage => gcp(url),
        ObjectStoreScheme::MicrosoftAzure => azure(url),
        ObjectStoreScheme::Http => http(url),
        _ => Err(unknown(url.scheme())),
    }
}

/// How long a request is tried again: minutes of silence are as bad as an error.
#[cfg(any(feature = "aws", feature = "azure", feature = "gcp", feature = "http"))]
fn retry() -> object_store::RetryConfig {
    let most = std::time::Duration::from_secs(30);
    object_store::RetryConfig { max_retries: 6, retry_timeout: most, ..Default::default() }
}

#[cfg(feature = "aws")]
fn aws(url: &Url) -> Result<Arc<dyn ObjectStore>, Error> {
    let builder = object_store::aws::AmazonS3Builder::from_env().with_url(url.as_str()).with_retry(retry());
    Ok(Arc::new(builder.build()?))
}

#[cfg(feature = "gcp")]
fn gcp(url: &Url) -> Result<Arc<dyn ObjectStore>, Error> {
    let builder = object_store::gcp::GoogleCloudStorageBuilder::from_env().with_url(url.as_str()).with_retry(retry());
    Ok(Arc::new(builder.build()?))
}

#[cfg(feature = "azure")]
fn azure(url: &Url) -> Result<Arc<dyn ObjectStore>, Error> {
    let builder = object_store::azure::MicrosoftAzureBuilder::from_env().with_url(url.as_str()).with_retry(retry());
    Ok(Arc::new(builder.build()?))
}

#[cfg(feature = "http")]
fn http(url: &Url) -> Result<Arc<dyn ObjectStore>, Error> {
    let options = object_store::ClientOptions::new().with_allow_http(url.scheme() == "http");
    let root = &url[..url::Position::BeforePath];
    let builder = object_store::http::HttpBuilder::new().with_url(root).with_client_options(options);
    Ok(Arc::new(builder.with_retry(retry()).build()?))
}

#[cfg(not(all(feature = "aws", feature = "azure", feature = "gcp", feature = "http")))]
fn left_out(url: &Url, feature: &str) -> Result<Arc<dyn ObjectStore>, Error> {
    let scheme = url.scheme();
    Err(format!("this build does not reach {scheme}://; build updraft with `--features {feature}`").into())
}

#[cfg(not(feature = "aws"))]
fn aws(url: &Url) -> Result<Arc<dyn ObjectStore>, Error> {
    left_out(url, "aws")
}

#[cfg(not(feature = "gcp"))]
fn gcp(url: &Url) -> Result<Arc<dyn ObjectStore>, Error> {
    left_out(url, "gcp")
}

#[cfg(not(feature = "azure"))]
fn azure(url: &Url) -> Result<Arc<dyn ObjectStore>, Error> {
    left_out(url, "azure")
}

#[cfg(not(feature = "http"))]
fn http(url: &Url) -> Result<Arc<dyn ObjectStore>, Error> {
    left_out(url, "http")
}
