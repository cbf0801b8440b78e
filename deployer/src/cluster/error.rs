//! What may go wrong between a job and Kubernetes.

use super::mask::Mask;

/// The API server's word for what it will not take at another time either.
const INVALID: &str = "Invalid";

/// What the API server says of one field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldProblem {
    /// Its word for the kind of problem, such as `FieldManagerConflict`.
    pub reason: String,
    /// The field, such as `.spec.replicas`.
    pub field: String,
    /// What it says.
    pub message: String,
}

/// A failure of Kubernetes, or on the way to it.
#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    /// There is no cluster to talk to.
    #[error("cannot find a Kubernetes cluster: {0}")]
    Config(String),
    /// An object cannot be called so: its path would be another's.
    #[error("{}", needs_name(kind, name))]
    Name {
        /// Its kind.
        kind: String,
        /// What it is called.
        name: String,
    },
    /// The API server refused.
    #[error("cannot {doing}: Kubernetes answers {code}: {message}")]
    Api {
        /// What was being done.
        doing: String,
        /// The HTTP status.
        code: u16,
        /// What it says.
        message: String,
        /// Its word for the kind of refusal, such as `Conflict` or `Forbidden`.
        reason: String,
        /// What it says of single fields.
        fields: Vec<FieldProblem>,
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
    /// What a watch could not begin with.
    pub(crate) fn of_watch(error: &kube::Error) -> Self {
        Self::new("watch the workloads", error)
    }

    /// What a watch was told.
    pub(crate) fn of_status(status: &kube::core::Status) -> Self {
        Self::of_watch(&kube::Error::Api(Box::new(status.clone())))
    }

    /// What went wrong with a watch otherwise.
    pub(crate) fn of_text(reason: &str) -> Self {
        Self::Transport { doing: "watch the workloads".to_owned(), reason: reason.to_owned() }
    }

    pub(super) fn new(doing: &str, error: &kube::Error) -> Self {
        Self::masked(doing, error, &Mask::default())
    }

    /// As [`Self::new`], of a request with a Secret whose values nobody may read.
    pub(super) fn masked(doing: &str, error: &kube::Error, mask: &Mask) -> Self {
        let doing = doing.to_owned();
        match error {
            kube::Error::Api(status) => {
                // That an object has a field which its kind has not, or of another type, is told
                // as a 500, and without a word for it.
                let is_invalid = status.message.contains("typed patch object");
                let reason = if is_invalid { INVALID.to_owned() } else { status.reason.clone() };
                let status = mask.over(status);
                let causes = status.details.iter().flat_map(|details| &details.causes);
                let fields = causes.map(|cause| FieldProblem {
                    reason: cause.reason.clone(),
                    field: cause.field.clone(),
                    message: cause.message.clone(),
                });
                Self::Api {
                    doing,
                    code: status.code,
                    message: brief(&status),
                    reason,
                    fields: fields.collect(),
                }
            }
            other => Self::Transport { doing, reason: innermost(other) },
        }
    }

    /// An answer that did not come in time.
    pub(super) fn silent(doing: &str) -> Self {
        Self::Transport { doing: doing.to_owned(), reason: "no answer in time".to_owned() }
    }

    /// The HTTP status of a refusal.
    #[must_use]
    pub fn code(&self) -> Option<u16> {
        match self {
            Self::Api { code, .. } => Some(*code),
            _ => None,
        }
    }

    /// Whether the server looked at what was asked, and would not have it.
    #[must_use]
    pub fn is_verdict(&self) -> bool {
        match self {
            Self::Api { code, reason, .. } => {
                matches!(code, 400 | 403 | 404 | 409 | 422) || reason == INVALID
            }
            _ => false,
        }
    }

    /// Whether it may pass by itself.
    #[must_use]
    pub fn passes(&self) -> bool {
        match self {
            Self::Config(_) | Self::Name { .. } => false,
            Self::Transport { .. } => true,
            Self::Api { code, reason, .. } => (*code == 429 || *code >= 500) && reason != INVALID,
        }
    }
}

fn needs_name(kind: &str, name: &str) -> String {
    match name {
        "" => format!("a {kind} needs a name, and has none"),
        _ => format!("a {kind} cannot be called '{name}'"),
    }
}

/// How long a message may be, in characters. Where a whole object is printed into
/// one, as for a Job's template, nobody reads it.
const LONG: usize = 700;

/// What a refusal says, without objects that are printed into it.
fn brief(status: &kube::core::Status) -> String {
    if status.message.chars().count() <= LONG {
        return status.message.clone();
    }
    let causes = status.details.iter().flat_map(|details| &details.causes);
    let parts: Vec<String> = causes
        .map(|cause| {
            let end = cause.message.rsplit(": ").next().unwrap_or_default();
            format!("{}: {}", cause.field, cut(end))
        })
        .collect();
    if parts.is_empty() { cut(&status.message) } else { parts.join("; ") }
}

fn cut(text: &str) -> String {
    if text.chars().count() <= LONG {
        return text.to_owned();
    }
    let start: String = text.chars().take(LONG).collect();
    format!("{start}…")
}

/// What the system or the TLS library says; kube's own text repeats it.
fn innermost(error: &(dyn std::error::Error + 'static)) -> String {
    let mut last = error;
    while let Some(source) = last.source() {
        last = source;
    }
    last.to_string()
}
