//! The section `tls`.

use serde::Deserialize;

/// TLS of MAAS's API.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tls {
    /// Whether MAAS serves its API over TLS.
    #[serde(default)]
    pub enabled: bool,
    /// Whether jobs accept any certificate.
    #[serde(default)]
    pub insecure: bool,
    /// The port in the region's pod.
    #[serde(default = "default_tls_port")]
    pub port: u16,
    /// The name that jobs verify and send, where it is not the host's of
    /// `region.url`; empty for that one.
    #[serde(default)]
    pub server_name: String,
}

impl Default for Tls {
    fn default() -> Self {
        let (port, server_name) = (default_tls_port(), String::new());
        Self { enabled: false, insecure: false, port, server_name }
    }
}

fn default_tls_port() -> u16 {
    5443
}
