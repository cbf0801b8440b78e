//! The cluster and what is on it, by environment variables.

use std::env;
use std::net::IpAddr;
use std::path::PathBuf;

/// Where the tests run.
#[derive(Debug, Clone)]
pub struct Site {
    /// `KUBECONFIG`.
    pub kubeconfig: PathBuf,
    /// `HELM`.
    pub helm: PathBuf,
    /// `MAAS_DEPLOYER_BIN`.
    pub deployer: PathBuf,
    /// `KUBECTL`.
    pub kubectl: PathBuf,
    /// `CLUSTER`: the driver, for a reboot of the node.
    pub driver: PathBuf,
    /// `CLUSTER_DIR`: its folder.
    pub dir: PathBuf,
    /// `CLUSTER_AUDIT_LOG`: every write to the API.
    pub audit_log: PathBuf,
    /// `CLUSTER_REGISTRY`, host and port: where the images are.
    pub registry: String,
    /// `CLUSTER_HOST`: the address under which pods reach this machine.
    pub host: IpAddr,
    /// `CHART`: the folder of the chart.
    pub chart: PathBuf,
    /// When the node asks the registry for an image: with `KEEP` it has those of earlier runs,
    /// under the same names.
    pub pull_policy: &'static str,
}

impl Site {
    /// The site that the environment names; `None` where there is none.
    ///
    /// # Panics
    ///
    /// When only part of it is named.
    #[must_use]
    pub fn from_env() -> Option<Self> {
        env::var_os("CLUSTER_REGISTRY")?;
        Some(Self {
            kubeconfig: path("KUBECONFIG"),
            helm: path("HELM"),
            deployer: path("MAAS_DEPLOYER_BIN"),
            kubectl: path("KUBECTL"),
            driver: path("CLUSTER"),
            dir: path("CLUSTER_DIR"),
            audit_log: path("CLUSTER_AUDIT_LOG"),
            registry: text("CLUSTER_REGISTRY"),
            host: text("CLUSTER_HOST").parse().expect("CLUSTER_HOST is an IP address"),
            chart: path("CHART"),
            pull_policy: if env::var_os("KEEP").is_some() { "Always" } else { "IfNotPresent" },
        })
    }

    /// An image of `scripts/images`, as the cluster pulls it.
    #[must_use]
    pub fn image(&self, name: &str, tag: &str) -> String {
        format!("{}/{name}:{tag}", self.registry)
    }
}

fn text(name: &str) -> String {
    env::var(name).unwrap_or_else(|_| panic!("{name} is not set; `scripts/test cluster` sets it"))
}

fn path(name: &str) -> PathBuf {
    text(name).into()
}
