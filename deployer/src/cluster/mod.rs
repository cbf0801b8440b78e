//! Kubernetes: Secrets, StatefulSets, Jobs, pods.
//!
//! In a pod, the pod's own account; elsewhere, `KUBECONFIG`. What may pass by
//! itself is tried again a few times.

mod error;
mod image;
mod secrets;
mod workloads;

use std::time::Duration;

use kube::{Client, Config};
use tracing::warn;

pub use error::ClusterError;
pub use image::Image;
pub use secrets::{Made, SecretData};
pub use workloads::{JobState, Pod, Scale};

/// Pauses between attempts.
const PAUSES: [Duration; 4] = [
    Duration::from_millis(300),
    Duration::from_secs(1),
    Duration::from_secs(3),
    Duration::from_secs(8),
];

/// The label of objects that jobs make.
pub const MANAGED_BY: (&str, &str) = ("app.kubernetes.io/managed-by", "maas-deployer");

/// A cluster.
#[derive(Clone)]
pub struct Cluster {
    client: Client,
}

impl std::fmt::Debug for Cluster {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Cluster")
    }
}

impl Cluster {
    /// The cluster that this pod is in, or that `KUBECONFIG` names.
    ///
    /// # Errors
    /// [`ClusterError`].
    pub async fn connect() -> Result<Self, ClusterError> {
        let mut config =
            Config::infer().await.map_err(|error| ClusterError::Config(error.to_string()))?;
        config.connect_timeout = Some(Duration::from_secs(10));
        config.read_timeout = Some(Duration::from_secs(30));
        // Here, where it is bounded and told; see `patiently`.
        config.default_retry = false;
        let client =
            Client::try_from(config).map_err(|error| ClusterError::Config(crate::chain(&error)))?;
        Ok(Self { client })
    }

    /// A cluster behind a client of the caller's.
    #[must_use]
    pub fn with_client(client: Client) -> Self {
        Self { client }
    }
}

/// Asks until it is answered, a bounded number of times.
async fn patiently<T>(
    doing: &str,
    mut ask: impl AsyncFnMut() -> Result<T, kube::Error>,
) -> Result<T, ClusterError> {
    let mut pauses = PAUSES.iter();
    loop {
        let error = match ask().await {
            Ok(answer) => return Ok(answer),
            Err(error) => ClusterError::new(doing, &error),
        };
        match pauses.next() {
            Some(pause) if error.passes() => {
                let reason = crate::chain(&error);
                warn!(reason, pause_ms = pause.as_millis(), "trying again");
                tokio::time::sleep(*pause).await;
            }
            _ => return Err(error),
        }
    }
}
