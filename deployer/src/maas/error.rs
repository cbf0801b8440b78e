//! What may go wrong between a job and MAAS.

use std::path::PathBuf;
use std::{fmt, io};

use http::{Method, StatusCode};

use crate::wait::spoken;

/// Why no client could be made.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The URL cannot be used.
    #[error("'{url}' is no URL of MAAS such as http://HOST:5240/MAAS")]
    Url {
        /// The text.
        url: String,
    },
    /// The name to verify is none of DNS.
    #[error("'{name}' is no DNS name that a certificate could have")]
    ServerName {
        /// The text.
        name: String,
    },
    /// The CA file cannot be read.
    #[error("cannot read the CA certificates in {}", path.display())]
    ReadCa {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The CA file has no certificate.
    #[error("{} holds no certificate in PEM", .0.display())]
    NoCertificate(PathBuf),
    /// The HTTP client cannot be made.
    #[error("cannot set up the HTTP client")]
    Client(#[source] reqwest::Error),
}

/// A call of MAAS that failed.
#[derive(Debug, thiserror::Error)]
#[error("{method} {url} failed")]
pub struct MaasError {
    /// The method.
    pub method: Method,
    /// The URL, with the operation.
    pub url: String,
    /// Why.
    #[source]
    pub problem: Problem,
}

/// Why a call failed.
#[derive(Debug, thiserror::Error)]
pub enum Problem {
    /// No connection.
    #[error("cannot connect: {0}")]
    Connect(String),
    /// No answer, or half of one, or not in time.
    #[error("no whole answer: {0}")]
    Transport(String),
    /// 401.
    #[error(transparent)]
    Unauthorised(Unauthorised),
    /// 403.
    #[error("MAAS answers 403: the key or login is not allowed to do that")]
    Forbidden,
    /// 400: what each field lacks.
    #[error("MAAS refuses it: {0}")]
    Invalid(Complaints),
    /// 404.
    #[error("MAAS answers 404: {0}")]
    NotFound(String),
    /// 409.
    #[error("MAAS answers 409: it conflicts with something that is there already")]
    Conflict,
    /// 3xx.
    #[error("MAAS redirects to {0}")]
    Redirect(String),
    /// 5xx.
    #[error("MAAS has trouble of its own and answers {status}{}", excerpt(text))]
    Server {
        /// The status.
        status: StatusCode,
        /// What it said.
        text: String,
    },
    /// A web page where data was expected.
    #[error("the answer ({status}) is a web page{}, not MAAS's API", excerpt(title))]
    WebPage {
        /// The status.
        status: StatusCode,
        /// The page's title.
        title: String,
    },
    /// Another status.
    #[error("MAAS answers {status}{}", excerpt(text))]
    Status {
        /// The status.
        status: StatusCode,
        /// What it said.
        text: String,
    },
    /// An answer that is not what MAAS's API says.
    #[error("MAAS's answer cannot be understood: {0}")]
    Nonsense(String),
}

/// Why MAAS did not accept a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unauthorised {
    /// The clocks differ too much.
    #[error("MAAS answers 401: the request is too old for it{}", behind(*skew_s))]
    Clock {
        /// How many seconds MAAS's clock is ahead of ours.
        skew_s: Option<i64>,
    },
    /// A nonce was used before.
    #[error("MAAS answers 401: it has seen this nonce before")]
    Nonce,
    /// MAAS does not know the key.
    #[error("MAAS answers 401: it does not know this API key")]
    UnknownKey,
    /// Anything else; the body is not shown, as it may hold a secret.
    #[error("MAAS answers 401: it does not accept this API key")]
    Refused,
}

fn behind(skew_s: Option<i64>) -> String {
    match skew_s {
        Some(skew) => {
            let by = spoken(std::time::Duration::from_secs(skew.unsigned_abs()));
            let side = if skew > 0 { "behind" } else { "ahead of" };
            format!(": the clock here is {by} {side} MAAS's")
        }
        None => String::new(),
    }
}

fn excerpt(text: &str) -> String {
    if text.is_empty() { String::new() } else { format!(" ('{text}')") }
}

/// The fields of a 400, and what each lacks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Complaints(pub Vec<(String, String)>);

impl Complaints {
    /// What MAAS says of `field`, which it may have named or not.
    #[must_use]
    pub fn of(&self, field: &str) -> String {
        match self.0.as_slice() {
            [(named, text)] if named == field || named.is_empty() => format!("{field}: {text}"),
            _ => format!("{field}: {self}"),
        }
    }
}

impl fmt::Display for Complaints {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return formatter.write_str("it does not say why");
        }
        for (at, (field, text)) in self.0.iter().enumerate() {
            let comma = if at > 0 { "; " } else { "" };
            match field.as_str() {
                "" => write!(formatter, "{comma}{text}")?,
                field => write!(formatter, "{comma}{field}: {text}")?,
            }
        }
        Ok(())
    }
}

impl Problem {
    /// Whether what was asked may have been done all the same, or would be if it
    /// were asked again: there is no answer, or not MAAS's own.
    #[must_use]
    pub fn may_have_happened(&self) -> bool {
        match self {
            Self::Transport(_) | Self::Server { .. } => true,
            Self::WebPage { status, .. } => status.is_server_error(),
            _ => false,
        }
    }
}

impl MaasError {
    /// The status of a 400, if it is one: what MAAS says of each field.
    #[must_use]
    pub fn complaints(&self) -> Option<&Complaints> {
        match &self.problem {
            Problem::Invalid(complaints) => Some(complaints),
            _ => None,
        }
    }

    /// Whether it may pass by itself.
    #[must_use]
    pub fn passes(&self) -> bool {
        matches!(self.problem, Problem::Connect(_)) || self.problem.may_have_happened()
    }

    /// Whether MAAS refuses to make what is there already.
    #[must_use]
    pub fn says_that_it_exists(&self) -> bool {
        match &self.problem {
            Problem::Conflict => true,
            Problem::Invalid(complaints) => complaints.to_string().contains("already exists"),
            _ => false,
        }
    }

    /// Whether MAAS does not accept the key, rather than failing otherwise.
    #[must_use]
    pub fn is_key_refused(&self) -> bool {
        matches!(
            self.problem,
            Problem::Unauthorised(Unauthorised::UnknownKey | Unauthorised::Refused)
        )
    }

    /// Where MAAS sends those who ask over plain HTTP, while it serves TLS.
    #[must_use]
    pub fn redirected_to_tls(&self) -> Option<&str> {
        match &self.problem {
            Problem::Redirect(to) if to.starts_with("https://") => Some(to),
            _ => None,
        }
    }

    /// Whether what was asked for is not there.
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        matches!(self.problem, Problem::NotFound(_))
    }
}
