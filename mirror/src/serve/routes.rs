//! From a request's path to what answers it.

use std::borrow::Cow;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;

use axum::extract::State;
use axum::routing::get;
use axum::{Json, Router};
use http::{HeaderMap, Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper::service::Service as _;
use hyper_util::service::TowerToHyperService;
use percent_encoding::percent_decode_str;
use serde_json::{Value, json};

use super::catalog::{Catalog, Catalogs, Readiness};
use super::engine::inflight::InFlight;
use super::listing::Listings;
use super::pull::{Begun, Pulls};
use super::reply::Reply;
use super::{PREFIXES, respond};
use crate::simplestreams::RelPath;

/// What answers the requests of one connection: files below [`PREFIXES`] by
/// the engine, all else by axum.
#[derive(Clone, Debug)]
pub(super) struct Service {
    catalogs: Arc<Catalogs>,
    handlers: TowerToHyperService<Router>,
    files: Arc<InFlight>,
    listings: Arc<Listings>,
    /// `None`: what is not held is not there.
    pulls: Option<Arc<Pulls>>,
}

impl Service {
    pub(super) fn new(
        catalogs: Arc<Catalogs>,
        listings: Arc<Listings>,
        pulls: Option<Arc<Pulls>>,
    ) -> Self {
        let handlers = Router::new()
            .route("/healthz", get(healthz))
            .route("/readyz", get(readyz))
            .with_state(Arc::clone(&catalogs));
        let (handlers, files) = (TowerToHyperService::new(handlers), Arc::default());
        Self { catalogs, handlers, files, listings, pulls }
    }

    /// The same, for a connection of its own.
    pub(super) fn for_connection(&self) -> Self {
        Self { files: Arc::default(), ..self.clone() }
    }

    /// The same, for a connection that encrypts what it sends.
    pub(super) fn for_tls_connection(&self) -> Self {
        Self { files: Arc::new(InFlight::copying()), ..self.clone() }
    }

    pub(super) fn files(&self) -> &Arc<InFlight> {
        &self.files
    }

    async fn respond(self, request: Request<Incoming>) -> Response<Reply> {
        // Copied only where somebody reads it.
        let told = tracing::enabled!(tracing::Level::DEBUG)
            .then(|| (request.method().clone(), request.uri().path().to_owned()));
        let path = request.uri().path();
        let response = if below(path).is_some() {
            self.file(&request).await
        } else if matches!(path, "/healthz" | "/readyz") {
            let Ok(response) = self.handlers.call(request).await;
            response.map(Reply::Handler)
        } else {
            respond::error(StatusCode::NOT_FOUND, "there is nothing here; images are at /images/")
        };
        if let Some((method, path)) = told {
            tracing::debug!(%method, path, status = response.status().as_u16(), "request");
        }
        response
    }

    async fn file(&self, request: &Request<Incoming>) -> Response<Reply> {
        let (method, headers) = (request.method(), request.headers());
        let Some(path) = relative(request.uri().path()) else { return not_listed() };
        if !matches!(*method, Method::GET | Method::HEAD) {
            return respond::other_method(method);
        }
        // One catalog for the whole request: what it lists stays reachable
        // until the answer ends, whatever is published.
        let catalog = self.catalogs.current();
        let Some(entry) = catalog.find(&path) else {
            return Box::pin(self.unheld(&catalog, &path, method, headers)).await;
        };
        let blobs = self.catalogs.blobs();
        let response = respond::file(blobs, &self.files, &path, entry, method, headers).await;
        if response.status() != StatusCode::INTERNAL_SERVER_ERROR {
            return response;
        }
        // The blob may have gone with a snapshot that was replaced just now,
        // before we looked again.
        self.catalogs.refresh().await;
        match self.catalogs.current().find(&path) {
            Some(now) if now.digest != entry.digest => {
                respond::file(blobs, &self.files, &path, now, method, headers).await
            }
            // A blob that was quarantined, or is cut short, can be had again.
            _ if self.pulls.is_some() && !entry.metadata => {
                Box::pin(self.unheld(&catalog, &path, method, headers)).await
            }
            _ => response,
        }
    }

    /// A path that no snapshot holds. What it takes is in a box where it is
    /// called: most requests do not come here.
    async fn unheld(
        &self,
        catalog: &Arc<Catalog>,
        path: &str,
        method: &Method,
        headers: &HeaderMap,
    ) -> Response<Reply> {
        let Ok(path) = &RelPath::new(path) else { return not_listed() };
        let listing = self.listings.of(catalog).await;
        let Some(listed) = listing.find(path) else { return not_listed() };
        let (entry, blobs, files) = (listed.entry(path), self.catalogs.blobs(), &self.files);
        let held = || respond::file(blobs, files, path.as_str(), &entry, method, headers);
        // Held under another path, or pulled and not joined yet.
        if blobs.get(entry.digest, entry.size).await.is_ok() {
            if let Some(pulls) = &self.pulls {
                pulls.note(path, &listed);
            }
            return held().await;
        }
        let Some(pulls) = &self.pulls else {
            let reason = "the metadata lists the file, and this mirror does not hold it";
            return respond::coded_error(StatusCode::NOT_FOUND, "not-mirrored", reason);
        };
        respond::unheld(&entry, method, headers, async || match pulls.begin(path, &listed).await {
            Ok(Begun::Arriving(pull)) => Ok(pull),
            Ok(Begun::Held) => Err(held().await),
            Err(failure) => Err(respond::pull_error(failure)),
        })
        .await
    }
}

fn not_listed() -> Response<Reply> {
    let reason = "no metadata that this mirror holds lists the file";
    respond::coded_error(StatusCode::NOT_FOUND, "not-listed", reason)
}

impl hyper::service::Service<Request<Incoming>> for Service {
    type Response = Response<Reply>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        let service = self.clone();
        Box::pin(async move { Ok(service.respond(request).await) })
    }
}

/// The process answers.
async fn healthz() -> &'static str {
    "ok\n"
}

/// A verified snapshot is served.
async fn readyz(State(catalogs): State<Arc<Catalogs>>) -> (StatusCode, Json<Value>) {
    let damaged = catalogs.blobs().damage().count();
    match catalogs.readiness() {
        Readiness::Ready { snapshot } => {
            let value = json!({ "ready": true, "snapshot": snapshot, "damaged_blobs": damaged });
            (StatusCode::OK, Json(value))
        }
        Readiness::Empty { reason } => {
            let reason = reason.unwrap_or_else(|| "there is no snapshot yet".into());
            let value = json!({ "ready": false, "reason": reason, "damaged_blobs": damaged });
            (StatusCode::SERVICE_UNAVAILABLE, Json(value))
        }
    }
}

/// The path below one of the prefixes, as it was sent.
fn below(path: &str) -> Option<&str> {
    PREFIXES.iter().find_map(|prefix| path.strip_prefix(prefix))
}

/// The path below one of the prefixes, its escapes read once; `None` where it
/// is below none or no text. A catalog has nothing but checked paths, so what
/// leads outside is not found.
fn relative(path: &str) -> Option<Cow<'_, str>> {
    percent_decode_str(below(path)?).decode_utf8().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_come_off_and_escapes_are_read_once() {
        let path = |text| relative(text).map(Cow::into_owned);
        assert_eq!(path("/images/streams/v1/a%3Ab.sjson"), Some("streams/v1/a:b.sjson".into()));
        assert_eq!(path("/maas/images/ephemeral-v3/daily/x"), Some("x".into()));
        assert_eq!(path("/maas/images/ephemeral-v3/stable/x"), Some("x".into()));
        assert_eq!(path("/images/%252e%252e/x"), Some("%2e%2e/x".into()));
        for outside in ["/", "/images", "/other/x", "/images/%ff"] {
            assert_eq!(path(outside), None, "{outside}");
        }
    }

    #[test]
    fn what_a_request_may_say_and_no_catalog_can_hold() {
        for outside in [
            "/images/",
            "/images/../etc/passwd",
            "/images/%2e%2e/x",
            "/images//x",
            "/images/%252e%252e/x",
            "/images/%00",
        ] {
            let path = relative(outside).expect("text");
            assert!(RelPath::new(path).is_err(), "{outside}");
        }
    }
}
