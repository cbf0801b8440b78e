//! Where something is in a registry.

use std::fmt;
use std::str::FromStr;

use url::Url;

use crate::digest::{Digest, DigestError};

/// The tag of a reference that names none: what a store calls its newest
/// snapshot.
const DEFAULT_TAG: &str = "current";

/// Longest repository name, in bytes; clients that put the host before it stop
/// at 255 (distribution-spec, "Pulling manifests").
const MAX_NAME: usize = 255;

/// Longest tag, in bytes (distribution-spec, "Pulling manifests").
const MAX_TAG: usize = 128;

/// `oci://REGISTRY[:PORT]/NAME[:TAG|@sha256:DIGEST]`; the tag is `current`
/// where none is given. Holds no credentials.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reference {
    registry: String,
    name: String,
    pub(super) version: Version,
}

/// Which of a repository's manifests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Version {
    /// The one that a tag names now.
    Tag(String),
    /// This one.
    Digest(Digest),
}

/// Why a text is not a place in a registry.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReferenceError {
    /// It does not start with `oci://`.
    #[error("it does not start with oci://")]
    Scheme,
    /// A user name or a password, which would be seen in a list of processes.
    #[error("it must not hold a login: use 'skopeo login' or 'docker login'")]
    Login,
    /// The host or the port is not one.
    #[error("'{0}' is not the host of a registry")]
    Registry(String),
    /// The repository's name breaks the rules of the specification.
    #[error(
        "'{0}' is not the name of a repository: lower-case letters, digits, '.', '_', '-', '/'"
    )]
    Name(String),
    /// The tag breaks the rules of the specification.
    #[error("'{0}' is not a tag")]
    Tag(String),
    /// The digest is not one.
    #[error(transparent)]
    Digest(#[from] DigestError),
}

impl Reference {
    /// What every reference starts with.
    pub const SCHEME: &'static str = "oci://";

    /// The manifest `version` of the repository `name` of a registry.
    ///
    /// # Errors
    /// Where one of them breaks the rules of the specification.
    pub fn new(registry: &str, name: &str, version: Version) -> Result<Self, ReferenceError> {
        if registry.contains('@') {
            return Err(ReferenceError::Login);
        }
        if !is_registry(registry) {
            return Err(ReferenceError::Registry(shown(registry)));
        }
        match &version {
            Version::Tag(tag) if !is_tag(tag) => return Err(ReferenceError::Tag(shown(tag))),
            _ => {}
        }
        if !is_name(name) {
            return Err(ReferenceError::Name(shown(name)));
        }
        Ok(Self { registry: registry.to_owned(), name: name.to_owned(), version })
    }

    /// The registry: host, and port where one is given.
    #[must_use]
    pub fn registry(&self) -> &str {
        &self.registry
    }

    /// The repository.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Which of the repository's manifests.
    #[must_use]
    pub fn wanted(&self) -> &Version {
        &self.version
    }

    /// The last part of a manifest's URL.
    #[must_use]
    pub fn version(&self) -> String {
        match &self.version {
            Version::Tag(tag) => tag.clone(),
            Version::Digest(digest) => digest.to_oci(),
        }
    }

    /// As the OCI client takes it.
    pub(super) fn to_client(&self) -> oci_client::Reference {
        let (registry, name) = (self.registry.clone(), self.name.clone());
        oci_client::Reference::with_tag(registry, name, self.version())
    }
}

impl FromStr for Reference {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Self, ReferenceError> {
        let rest = text.strip_prefix(Self::SCHEME).ok_or(ReferenceError::Scheme)?;
        let (registry, rest) = rest.split_once('/').unwrap_or((rest, ""));
        // A login is told before what stands behind it.
        if registry.contains('@') {
            return Err(ReferenceError::Login);
        }
        let (name, version) = if let Some((name, digest)) = rest.split_once('@') {
            // A tag before a digest says nothing more.
            let name = name.split_once(':').map_or(name, |(name, _)| name);
            (name, Version::Digest(digest.parse()?))
        } else {
            let (name, tag) = rest.split_once(':').unwrap_or((rest, DEFAULT_TAG));
            (name, Version::Tag(tag.to_owned()))
        };
        Self::new(registry, name, version)
    }
}

fn is_registry(text: &str) -> bool {
    let url = Url::parse(&format!("https://{text}/"));
    // Nothing that a URL parser would take for more than host and port.
    !text.contains(['?', '#', '\\', '%'])
        && url.is_ok_and(|url| url.has_host() && url.path() == "/" && url.query().is_none())
}

/// The specification's rule, but for how often separators may stand in a row,
/// which registries judge for themselves.
fn is_name(text: &str) -> bool {
    let alphanumeric = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let is_component = |part: &str| {
        let bytes = part.as_bytes();
        bytes.first().is_some_and(alphanumeric)
            && bytes.last().is_some_and(alphanumeric)
            && !part.contains("..")
            && bytes.iter().all(|byte| alphanumeric(byte) || b"._-".contains(byte))
    };
    text.len() <= MAX_NAME && text.split('/').all(is_component)
}

fn is_tag(text: &str) -> bool {
    let word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    text.len() <= MAX_TAG
        && text.bytes().next().is_some_and(word)
        && text.bytes().all(|byte| word(byte) || b".-".contains(&byte))
}

fn shown(text: &str) -> String {
    text.chars().take(80).collect()
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { registry, name, version } = self;
        write!(f, "{}{registry}/{name}", Self::SCHEME)?;
        match version {
            Version::Tag(tag) => write!(f, ":{tag}"),
            Version::Digest(digest) => write!(f, "@{}", digest.to_oci()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_name_and_version() {
        let digest = "ab".repeat(32);
        for (text, shown) in [
            ("oci://r.example/maas", "oci://r.example/maas:current".to_owned()),
            ("oci://r:5000/a/b:v1.0", "oci://r:5000/a/b:v1.0".to_owned()),
            ("oci://[::1]:5000/a", "oci://[::1]:5000/a:current".to_owned()),
            (&format!("oci://r/a@sha256:{digest}"), format!("oci://r/a@sha256:{digest}")),
            (&format!("oci://r/a:v1@sha256:{digest}"), format!("oci://r/a@sha256:{digest}")),
        ] {
            assert_eq!(text.parse::<Reference>().expect(text).to_string(), shown);
        }
    }

    #[test]
    fn what_is_no_place_in_a_registry_is_refused() {
        for text in [
            "",
            "r/a",
            "oci://",
            "oci:///a",
            "oci://r",
            "oci://r/",
            "oci://r/A",
            "oci://r/a/../b",
            "oci://r/a//b",
            "oci://r/a:",
            "oci://r/a:-x",
            "oci://r/a:x/y",
            "oci://r/a?b",
            "oci://r/a#b",
            "oci://r:99999/a",
            "oci://r?x/a",
            "oci://r/a@sha256:12",
            "oci://r/%2e",
        ] {
            assert!(text.parse::<Reference>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_login_is_refused_and_not_repeated() {
        let error = "oci://me:secret@r/a".parse::<Reference>().expect_err("a login");
        assert_eq!(error, ReferenceError::Login);
        assert!(!error.to_string().contains("secret"));
    }
}
