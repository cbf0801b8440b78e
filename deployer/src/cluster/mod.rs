//! Kubernetes: Secrets, StatefulSets, Jobs, pods.
//!
//! In a pod, the pod's own account; elsewhere, `KUBECONFIG`. What may pass by
//! itself is tried again a few times.

mod error;
mod image;
mod mask;
mod objects;
mod place;
mod reach;
mod review;
mod secrets;
mod workloads;

use std::time::Duration;

use kube::config::KubeConfigOptions;
use kube::{Client, Config};
use tokio::time::Instant;
use tracing::warn;

use mask::Mask;

pub use error::{ClusterError, FieldProblem};
pub use image::Image;
pub use objects::{Applying, FIELD_MANAGER, Kind, Listed, prefix};
pub use place::{Collection, Place};
pub use reach::Forward;
pub use review::{Right, ServerFacts};
pub use secrets::{Made, SecretData};
pub use workloads::{JobState, ListedJob, Pod, Scale};

/// Pauses between attempts.
const PAUSES: [Duration; 4] = [
    Duration::from_millis(300),
    Duration::from_secs(1),
    Duration::from_secs(3),
    Duration::from_secs(8),
];

/// How long one answer may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// How long a verb of many calls goes on asking.
const PERSISTENCE: Duration = Duration::from_secs(120);

/// The label of objects that jobs make.
pub const MANAGED_BY: (&str, &str) = ("app.kubernetes.io/managed-by", "maas-deployer");

/// The field manager of jobs, in the cluster.
pub const JOBS: &str = "maas-deployer-job";

/// A cluster.
#[derive(Clone)]
pub struct Cluster {
    client: Client,
    address: String,
    namespace: String,
    /// How long it is asked again where there is no answer.
    persistence: Duration,
    /// When it is not asked again any more.
    end: Option<Instant>,
    /// Whether it is asked once only.
    is_impatient: bool,
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
        config.read_timeout = Some(PATIENCE);
        Self::of(config)
    }

    /// As [`Self::connect`], for a verb that watches: connections may be silent
    /// for minutes. `context` is one of the kubeconfig's.
    ///
    /// # Errors
    /// [`ClusterError`].
    pub async fn connect_to(context: Option<&str>) -> Result<Self, ClusterError> {
        // In a pod, its own account will do; elsewhere that there is none says nothing.
        let is_pod = std::env::var_os("KUBERNETES_SERVICE_HOST").is_some();
        let config = if context.is_none() && is_pod {
            Config::infer().await.map_err(|error| ClusterError::Config(error.to_string()))
        } else {
            let options =
                KubeConfigOptions { context: context.map(str::to_owned), ..Default::default() };
            let config = Config::from_kubeconfig(&options).await;
            config.map_err(|error| ClusterError::Config(crate::chain(&error)))
        };
        Self::of(config?)
    }

    fn of(mut config: Config) -> Result<Self, ClusterError> {
        config.connect_timeout = Some(Duration::from_secs(10));
        // Here, where it is bounded and told; see `patiently`.
        config.default_retry = false;
        let namespace = config.default_namespace.clone();
        let address = config.cluster_url.to_string();
        let client =
            Client::try_from(config).map_err(|error| ClusterError::Config(crate::chain(&error)))?;
        Ok(Self {
            client,
            address,
            namespace,
            persistence: Duration::ZERO,
            end: None,
            is_impatient: false,
        })
    }

    /// The namespace that the pod is in, or the kubeconfig's context names; else
    /// `default`.
    #[must_use]
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// The API server's address, as the configuration has it.
    #[must_use]
    pub fn address(&self) -> &str {
        self.address.trim_end_matches('/')
    }

    /// A cluster behind a client of the caller's.
    #[must_use]
    pub fn with_client(client: Client) -> Self {
        let namespace = client.default_namespace().to_owned();
        Self {
            client,
            address: String::new(),
            namespace,
            persistence: Duration::ZERO,
            end: None,
            is_impatient: false,
        }
    }

    /// As this one, but asks for minutes before it gives up: a verb of many calls
    /// outlives a restart of the API server.
    #[must_use]
    pub fn persistent(self) -> Self {
        Self { persistence: PERSISTENCE, ..self }
    }

    /// As this one, but asks once: for those who look again, or go on without.
    #[must_use]
    pub fn impatient(self) -> Self {
        Self { persistence: Duration::ZERO, is_impatient: true, ..self }
    }

    /// As this one, but asks again for no longer than until `end`.
    #[must_use]
    pub fn until(self, end: Instant) -> Self {
        Self { end: Some(end), ..self }
    }

    /// How a call that begins now goes on asking. When the time is over there still is a
    /// record to be closed: it is tried, and not for long.
    fn patience(&self) -> Patience {
        if self.is_impatient {
            return Patience { pauses: 0, persistence: Duration::ZERO };
        }
        match self.end.map(|end| end.saturating_duration_since(Instant::now())) {
            Some(Duration::ZERO) => Patience { pauses: 2, persistence: Duration::ZERO },
            Some(left) => {
                Patience { persistence: left.min(self.persistence), ..Patience::default() }
            }
            None => Patience { persistence: self.persistence, ..Patience::default() },
        }
    }

    /// Whether there is an API server that knows this account.
    ///
    /// # Errors
    /// [`ClusterError`].
    pub async fn greet(&self) -> Result<(), ClusterError> {
        let ask = tokio::time::timeout(PATIENCE, self.client.apiserver_version());
        match ask.await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => Err(ClusterError::new("reach the cluster", &error)),
            Err(_) => Err(ClusterError::silent("reach the cluster")),
        }
    }

    /// The version of Kubernetes.
    ///
    /// # Errors
    /// [`ClusterError`].
    pub async fn version(&self) -> Result<String, ClusterError> {
        let found = self.client.apiserver_version().await;
        let version = found.map_err(|error| ClusterError::new("ask for the version", &error))?;
        Ok(version.git_version)
    }

    /// The client, for what is watched.
    pub(crate) fn client(&self) -> Client {
        self.client.clone()
    }
}

/// Asks until it is answered, a bounded number of times.
async fn patiently<T>(
    doing: &str,
    ask: impl AsyncFnMut() -> Result<T, kube::Error>,
) -> Result<T, ClusterError> {
    persistently(doing, Patience::default(), &Mask::default(), ask).await
}

/// How often, and for how long, something is asked again.
#[derive(Clone, Copy)]
struct Patience {
    /// How many of [`PAUSES`].
    pauses: usize,
    /// And then until this is over.
    persistence: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self { pauses: PAUSES.len(), persistence: Duration::ZERO }
    }
}

/// Asks until it is answered, or `patience` is at its end. What `mask` hides is told
/// nowhere.
async fn persistently<T>(
    doing: &str,
    patience: Patience,
    mask: &Mask,
    mut ask: impl AsyncFnMut() -> Result<T, kube::Error>,
) -> Result<T, ClusterError> {
    let end = Instant::now() + patience.persistence;
    let mut pauses = PAUSES.iter().take(patience.pauses);
    loop {
        let error = match ask().await {
            Ok(answer) => return Ok(answer),
            Err(error) => ClusterError::masked(doing, &error, mask),
        };
        let is_early = Instant::now() < end;
        let pause = pauses.next().or_else(|| PAUSES.get(2).filter(|_| is_early));
        match pause {
            Some(pause) if error.passes() => {
                let reason = crate::chain(&error);
                warn!(reason, pause_ms = pause.as_millis(), "trying again");
                tokio::time::sleep(*pause).await;
            }
            _ => return Err(error),
        }
    }
}
