//! What the API server says of itself, and of this account.

use http::Request;
use kube::client::Body;
use serde_json::{Value, json};
use tokio::time::timeout;

use super::error::ClusterError;
use super::objects::JSON;
use super::{Cluster, PATIENCE};

/// What an account may do: a verb on a resource.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Right {
    /// Where; everywhere, or of a kind without namespaces, where it is none.
    pub namespace: Option<String>,
    /// `secrets`, `pods/log`.
    pub resource: String,
    /// `apps`; empty for the core.
    pub group: String,
    /// `get`.
    pub verb: String,
    /// One object alone; any where it is none.
    pub name: Option<String>,
}

/// What the API server says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerFacts {
    /// `v1.33.0`.
    pub version: String,
    /// Its clock, as the header `Date` has it; `None` where there is none that can be read.
    pub date: Option<jiff::Timestamp>,
}

impl Cluster {
    /// The API server's version and clock.
    ///
    /// # Errors
    /// [`ClusterError`].
    pub async fn server(&self) -> Result<ServerFacts, ClusterError> {
        let doing = "ask for the server's version";
        let request = Request::get("/version")
            .body(Body::empty())
            .map_err(|error| ClusterError::Config(error.to_string()))?;
        let answer = timeout(PATIENCE, self.client.send(request)).await;
        let answer = answer.map_err(|_| ClusterError::silent(doing))?;
        let answer = answer.map_err(|error| ClusterError::new(doing, &error))?;
        let date = answer.headers().get("Date").and_then(|value| value.to_str().ok());
        let date = date.and_then(|text| jiff::fmt::rfc2822::parse(text).ok());
        let version = timeout(PATIENCE, self.client.apiserver_version()).await;
        let version = version.map_err(|_| ClusterError::silent(doing))?;
        let version = version.map_err(|error| ClusterError::new(doing, &error))?;
        Ok(ServerFacts { version: version.git_version, date: date.map(|date| date.timestamp()) })
    }

    /// Whether this account has a right.
    ///
    /// # Errors
    /// [`ClusterError`].
    pub async fn may(&self, right: &Right) -> Result<bool, ClusterError> {
        let (resource, subresource) = match right.resource.split_once('/') {
            Some((resource, part)) => (resource, part),
            None => (right.resource.as_str(), ""),
        };
        let review = json!({"apiVersion": "authorization.k8s.io/v1",
            "kind": "SelfSubjectAccessReview", "spec": {"resourceAttributes": {
                "namespace": right.namespace, "verb": right.verb, "group": right.group,
                "resource": resource, "subresource": subresource, "name": right.name}}});
        let path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
        let doing = format!("ask whether this account may {} {}", right.verb, right.resource);
        let answer = self.ask(&doing, "POST", path, Some(&review), JSON).await?;
        Ok(answer.pointer("/status/allowed").and_then(Value::as_bool).unwrap_or(false))
    }

    /// Who this account is; `None` where the server is too old to say.
    ///
    /// # Errors
    /// [`ClusterError`].
    pub async fn who(&self) -> Result<Option<String>, ClusterError> {
        let review = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"});
        let path = "/apis/authentication.k8s.io/v1/selfsubjectreviews";
        match self.ask("ask who this account is", "POST", path, Some(&review), JSON).await {
            Ok(answer) => {
                let name = answer.pointer("/status/userInfo/username").and_then(Value::as_str);
                Ok(name.map(str::to_owned))
            }
            Err(error) if error.code() == Some(404) => Ok(None),
            Err(error) => Err(error),
        }
    }
}
