//! Why a file could not be fetched.

use std::error::Error;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use http::StatusCode;

use crate::registry::CredentialError;

/// Why a client cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A CA file cannot be read.
    #[error("cannot read the CA file {}", path.display())]
    ReadCa {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// A CA file without a certificate.
    #[error("there is no PEM certificate in the CA file {}", .0.display())]
    NoCertificate(PathBuf),
    /// A push to a digest, which content alone can give.
    #[error("{0} names a digest, and a push needs a tag")]
    NoTag(String),
    /// The client for registries refused its settings.
    #[error("the client for registries cannot be set up: {0}")]
    Registry(String),
    /// The HTTP client refused its settings.
    #[error("the HTTP client cannot be set up")]
    Client(#[source] reqwest::Error),
}

/// Why a file could not be fetched. URLs in it carry no credentials.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// No connection, a reset, a timeout, a redirect that is not followed.
    #[error("cannot fetch {url}")]
    Transport {
        /// What was fetched.
        url: String,
        /// What the HTTP client says.
        source: TransportError,
    },
    /// Another status than 200 or 206.
    #[error("{url} answered {status}")]
    Status {
        /// What was fetched.
        url: String,
        /// The status.
        status: StatusCode,
        /// The pause that the server asks for.
        retry_after: Option<Duration>,
    },
    /// A web page where a file was asked for.
    #[error(
        "{url} answered with a web page: is there a captive portal or a proxy that asks for a login?"
    )]
    Html {
        /// What was fetched.
        url: String,
    },
    /// More than a metadata file may have.
    #[error("{url} is larger than the {limit} bytes that a metadata file may have")]
    TooLarge {
        /// What was fetched.
        url: String,
        /// The limit.
        limit: u64,
    },
    /// The server announces another length than the signed metadata lists.
    #[error("{url} has {announced} bytes, and the metadata lists {listed}")]
    Length {
        /// What was fetched.
        url: String,
        /// What the server announces.
        announced: u64,
        /// What the metadata lists.
        listed: u64,
    },
    /// A 206 that is not what was asked for.
    #[error("{url} answered a range that was not asked for")]
    Range {
        /// What was fetched.
        url: String,
    },
    /// Bytes come, but next to none.
    #[error("{url} sends next to nothing: less than 60 kB in {} seconds", window.as_secs())]
    Drips {
        /// What was fetched.
        url: String,
        /// The time in which it sent that little.
        window: Duration,
    },
    /// It goes on, but too slowly to end.
    #[error("{url} was not complete after {} seconds", limit.as_secs())]
    Slow {
        /// What was fetched.
        url: String,
        /// The time it had.
        limit: Duration,
    },
    /// An upload of which nothing is taken.
    #[error("{url} has taken nothing for {} seconds", limit.as_secs())]
    Stalled {
        /// Where it goes.
        url: String,
        /// How long it had.
        limit: Duration,
    },
    /// A registry that has no such tag.
    #[error("{0} does not exist: the registry knows no such name or tag")]
    NoSuchTag(String),
    /// A registry that wants a login, or another one.
    #[error("{registry} {}", login(file.as_deref()))]
    Unauthorized {
        /// Host and port.
        registry: String,
        /// Where the login came from that it refuses.
        file: Option<PathBuf>,
    },
    /// The login for a registry cannot be had.
    #[error("cannot find the login for {registry}")]
    Credentials {
        /// Host and port.
        registry: String,
        /// Why not.
        source: CredentialError,
    },
    /// Something that is no registry, or breaks its protocol.
    #[error("{url} does not answer as an OCI registry does")]
    NotARegistry {
        /// What was asked.
        url: String,
    },
    /// A tag of something else.
    #[error("{address} is not {what}: {reason}")]
    Foreign {
        /// The reference.
        address: String,
        /// What it was to be.
        what: &'static str,
        /// What is not as it should be.
        reason: String,
    },
    /// A file that the snapshot in a registry lacks.
    #[error("{address} does not hold {path}")]
    NotHeld {
        /// The reference.
        address: String,
        /// The file's path.
        path: String,
    },
    /// Content under a digest that is not its own.
    #[error("{url} has other content than its digest says")]
    Digest {
        /// What was fetched.
        url: String,
    },
}

/// What is the matter with a login.
fn login(file: Option<&Path>) -> String {
    match file {
        None => "asks for a login".to_owned(),
        Some(file) => format!("refuses the login in {}", file.display()),
    }
}

/// A failure below HTTP. Says the innermost cause alone ("connection refused"):
/// the client wraps it in five layers that tell a person nothing more.
#[derive(Debug)]
pub struct TransportError(reqwest::Error);

impl TransportError {
    /// Whether a redirect was not followed.
    #[must_use]
    pub fn is_redirect(&self) -> bool {
        self.0.is_redirect()
    }

    /// Whether there was no connection at all.
    #[must_use]
    pub fn is_connect(&self) -> bool {
        self.0.is_connect()
    }

    /// Whether the server does not speak TLS.
    #[must_use]
    pub fn is_not_tls(&self) -> bool {
        self.cause().contains("InvalidContentType")
    }

    /// What the innermost cause says.
    fn cause(&self) -> String {
        let mut cause: &dyn Error = &self.0;
        while let Some(source) = cause.source() {
            cause = source;
        }
        cause.to_string()
    }

    fn is_timeout(&self) -> bool {
        self.0.is_timeout()
    }

    /// What is the same in a second: a redirect that is not followed, a scheme
    /// that is not known, a certificate that is not trusted.
    fn is_final(&self) -> bool {
        let untrusted = || self.cause().contains("invalid peer certificate");
        self.0.is_redirect() || self.0.is_builder() || self.is_not_tls() || untrusted()
    }
}

impl fmt::Display for TransportError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.cause();
        if self.is_not_tls() {
            return write!(f, "it does not speak TLS: {text}");
        }
        if self.0.is_connect() && text.contains("lookup") {
            return write!(f, "the host name cannot be resolved: {text}");
        }
        f.write_str(&text)
    }
}

impl Error for TransportError {}

/// A redirect that is not followed.
#[derive(Debug, thiserror::Error)]
pub(super) enum RedirectError {
    #[error("redirected more than {0} times")]
    TooMany(usize),
    #[error("redirected from https to http, which would lose the protection of the connection")]
    Insecure,
}

impl FetchError {
    /// A failure below HTTP.
    #[must_use]
    pub fn transport(url: String, error: reqwest::Error) -> Self {
        // The client's own text would repeat the URL, with credentials.
        Self::Transport { url, source: TransportError(error.without_url()) }
    }

    /// Whether trying again may help: overload, a server's own fault, a
    /// network that dropped us. Not for what will be the same again (404, a
    /// page, a wrong length, a refused redirect).
    #[must_use]
    pub fn retryable(&self) -> bool {
        match self {
            Self::Transport { source, .. } => !source.is_final(),
            Self::Status { status, .. } => {
                status.is_server_error()
                    || matches!(
                        *status,
                        StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT
                    )
            }
            // Another connection may be faster.
            Self::Drips { .. } | Self::Stalled { .. } => true,
            Self::Html { .. }
            | Self::TooLarge { .. }
            | Self::Length { .. }
            | Self::Range { .. }
            | Self::NoSuchTag(_)
            | Self::Unauthorized { .. }
            | Self::Credentials { .. }
            | Self::NotARegistry { .. }
            | Self::Foreign { .. }
            | Self::NotHeld { .. }
            | Self::Digest { .. }
            | Self::Slow { .. } => false,
        }
    }

    /// Whether what came is not what its name or the metadata says, so that the
    /// upstream itself is in doubt.
    #[must_use]
    pub fn is_verification(&self) -> bool {
        matches!(self, Self::Length { .. } | Self::Digest { .. })
    }

    /// Whether the server took too long.
    #[must_use]
    pub fn is_timeout(&self) -> bool {
        match self {
            Self::Transport { source, .. } => source.is_timeout(),
            Self::Drips { .. } | Self::Slow { .. } => true,
            _ => false,
        }
    }

    /// The pause that the server asks for.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Status { retry_after, .. } => *retry_after,
            _ => None,
        }
    }
}
