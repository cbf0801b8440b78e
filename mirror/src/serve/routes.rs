//! From a request's path to what answers it.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::routing::get;
use http::{Method, Response, StatusCode};
use percent_encoding::percent_decode_str;

use super::catalog::{Catalogs, Readiness};
use super::{PREFIXES, respond};
use crate::simplestreams::RelPath;

/// Probes, and files below [`PREFIXES`].
pub(super) fn router(catalogs: Arc<Catalogs>) -> Router {
    Router::new()
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz))
        .fallback(files)
        .with_state(catalogs)
}

/// The process answers.
async fn healthz() -> &'static str {
    "ok\n"
}

/// A verified snapshot is served.
async fn readyz(State(catalogs): State<Arc<Catalogs>>) -> Response<Body> {
    match catalogs.readiness() {
        Readiness::Ready { snapshot } => {
            let value = serde_json::json!({ "ready": true, "snapshot": snapshot });
            respond::json(StatusCode::OK, &value)
        }
        Readiness::Empty { reason } => {
            let reason = reason.unwrap_or_else(|| "there is no snapshot yet".into());
            let value = serde_json::json!({ "ready": false, "reason": reason });
            respond::json(StatusCode::SERVICE_UNAVAILABLE, &value)
        }
    }
}

async fn files(State(catalogs): State<Arc<Catalogs>>, request: Request) -> Response<Body> {
    let response = match relative(request.uri().path()) {
        None => {
            respond::error(StatusCode::NOT_FOUND, "there is nothing here; images are at /images/")
        }
        Some(_) if !matches!(*request.method(), Method::GET | Method::HEAD) => {
            respond::other_method(request.method())
        }
        Some(path) => {
            // One catalog for the whole request: what it lists stays
            // reachable until the answer ends, whatever is published.
            let catalog = catalogs.current();
            match catalog.find(&path) {
                None => respond::error(StatusCode::NOT_FOUND, "this mirror does not hold the file"),
                Some(entry) => {
                    let (method, headers) = (request.method(), request.headers());
                    respond::file(catalogs.store(), &path, entry, method, headers).await
                }
            }
        }
    };
    let status = response.status().as_u16();
    tracing::debug!(method = %request.method(), path = request.uri().path(), status, "request");
    response
}

/// The path below one of the prefixes; `None` where it is below none, or is
/// no path that a mirror could hold.
fn relative(path: &str) -> Option<RelPath> {
    let below = PREFIXES.iter().find_map(|prefix| path.strip_prefix(prefix))?;
    let decoded = percent_decode_str(below).decode_utf8().ok()?;
    RelPath::new(decoded).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_come_off_and_escapes_are_read_once() {
        let path = |text| relative(text).map(String::from);
        assert_eq!(path("/images/streams/v1/a%3Ab.sjson"), Some("streams/v1/a:b.sjson".into()));
        assert_eq!(path("/maas/images/ephemeral-v3/daily/x"), Some("x".into()));
        assert_eq!(path("/maas/images/ephemeral-v3/stable/x"), Some("x".into()));
        for outside in [
            "/",
            "/images",
            "/images/",
            "/other/x",
            "/images/../etc/passwd",
            "/images/%2e%2e/x",
            "/images//x",
            "/images/%252e%252e/x",
            "/images/%00",
            "/images/%ff",
        ] {
            assert_eq!(path(outside), None, "{outside}");
        }
    }
}
