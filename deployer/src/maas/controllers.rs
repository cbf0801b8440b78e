//! Regions and racks.

use http::Method;
use serde::Deserialize;

use super::client::Client;
use super::error::MaasError;
use super::request::Request;

/// A region or rack controller.
#[derive(Clone, Debug, Deserialize)]
pub struct Controller {
    /// MAAS's own id of it.
    pub system_id: String,
    /// Its host name: in a cluster, the pod's or the node's.
    #[serde(default)]
    pub hostname: String,
    /// Its services.
    #[serde(default)]
    pub service_set: Vec<Service>,
}

/// A service of a controller.
#[derive(Clone, Debug, Deserialize)]
pub struct Service {
    /// Its name, such as `rackd`.
    pub name: String,
    /// `running`, `degraded`, `dead`, `off` or `unknown`.
    pub status: String,
}

impl Controller {
    /// What MAAS says of its service `name`.
    #[must_use]
    pub fn status(&self, name: &str) -> &str {
        let found = self.service_set.iter().find(|service| service.name == name);
        found.map_or("unknown", |service| &service.status)
    }

    /// Whether its service `name` is connected: a service that is degraded lacks
    /// connections to some of several regions.
    #[must_use]
    pub fn is_connected(&self, name: &str) -> bool {
        matches!(self.status(name), "running" | "degraded")
    }
}

impl Client {
    /// All racks.
    ///
    /// # Errors
    /// [`MaasError`].
    pub async fn racks(&self) -> Result<Vec<Controller>, MaasError> {
        self.json(Request::get("rackcontrollers/")).await
    }

    /// All regions.
    ///
    /// # Errors
    /// [`MaasError`].
    pub async fn regions(&self) -> Result<Vec<Controller>, MaasError> {
        self.json(Request::get("regioncontrollers/")).await
    }

    /// Removes a region that is no more. That it is gone already is no error.
    ///
    /// # Errors
    /// [`MaasError`].
    pub async fn delete_region(&self, system_id: &str) -> Result<(), MaasError> {
        let path = format!("regioncontrollers/{system_id}/");
        let request = Request::new(Method::DELETE, path).query("force", "true");
        match self.text(request).await {
            Err(error) if error.is_not_found() => Ok(()),
            other => other.map(drop),
        }
    }
}
