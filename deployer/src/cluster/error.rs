//! What may go wrong between a job and Kubernetes.

/// A failure of Kubernetes, or on the way to it.
#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    /// There is no cluster to talk to.
    #[error("cannot find a Kubernetes cluster: {0}")]
    Config(String),
    /// The API server refused.
    #[error("cannot {doing}: Kubernetes answers {code}: {message}")]
    Api {
        /// What was being done.
        doing: String,
        /// The HTTP status.
        code: u16,
        /// What it says.
        message: String,
    },
    /// The API server did not answer.
    #[error("cannot {doing}: no answer from Kubernetes: {reason}")]
    Transport {
        /// What was being done.
        doing: String,
        /// Why.
        reason: String,
    },
}

impl ClusterError {
    pub(super) fn new(doing: &str, error: &kube::Error) -> Self {
        let doing = doing.to_owned();
        match error {
            kube::Error::Api(status) => {
                Self::Api { doing, code: status.code, message: status.message.clone() }
            }
            other => Self::Transport { doing, reason: innermost(other) },
        }
    }

    /// The HTTP status of a refusal.
    #[must_use]
    pub fn code(&self) -> Option<u16> {
        match self {
            Self::Api { code, .. } => Some(*code),
            _ => None,
        }
    }

    /// Whether it may pass by itself.
    #[must_use]
    pub fn passes(&self) -> bool {
        match self {
            Self::Config(_) => false,
            Self::Transport { .. } => true,
            Self::Api { code, .. } => *code == 429 || *code >= 500,
        }
    }
}

/// What the system or the TLS library says; kube's own text repeats it.
fn innermost(error: &(dyn std::error::Error + 'static)) -> String {
    let mut last = error;
    while let Some(source) = last.source() {
        last = source;
    }
    last.to_string()
}
