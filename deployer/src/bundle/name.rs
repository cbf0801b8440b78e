//! What an image is called.

use std::fmt;
use std::str::FromStr;

use oci::digest::Digest;
use oci::registry::{Reference, ReferenceError, Version};

/// The registry of names that have none, as container runtimes have it.
const DOCKER: &str = "docker.io";

/// An image's name, as a pod has it: `[HOST/]PATH[:TAG][@sha256:DIGEST]`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ImageName {
    given: String,
    host: Option<String>,
    path: String,
    tag: Option<String>,
    digest: Option<Digest>,
}

/// A text that names no image.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("'{text}' is no image's name")]
pub struct NameError {
    text: String,
    source: ReferenceError,
}

impl ImageName {
    /// As it was given.
    #[must_use]
    pub fn given(&self) -> &str {
        &self.given
    }

    /// The digest, where it names one.
    #[must_use]
    pub fn digest(&self) -> Option<&Digest> {
        self.digest.as_ref()
    }

    /// The tag; `latest` where it names neither tag nor digest.
    #[must_use]
    pub fn tag(&self) -> Option<&str> {
        match (&self.tag, &self.digest) {
            (None, None) => Some("latest"),
            (tag, _) => tag.as_deref(),
        }
    }

    /// Where a container runtime pulls it from: Docker Hub where it names no
    /// registry, and its folder `library` where it names no folder either. A
    /// digest counts before a tag.
    ///
    /// # Errors
    /// Where it breaks the rules of registries.
    pub fn reference(&self) -> Result<Reference, ReferenceError> {
        let host = self.host.as_deref().unwrap_or(DOCKER);
        let version = match (&self.digest, self.tag()) {
            (Some(digest), _) => Version::Digest(*digest),
            (None, tag) => Version::Tag(tag.unwrap_or_default().to_owned()),
        };
        Reference::new(host, &self.whole_path(), version)
    }

    /// Its name with everything that it leaves out.
    #[must_use]
    pub fn whole(&self) -> String {
        let host = self.host.as_deref().unwrap_or(DOCKER);
        format!("{host}/{}", Place { path: self.whole_path(), ..self.place() })
    }

    /// Its name under another registry: all but the host.
    #[must_use]
    pub fn place(&self) -> Place {
        let tag = self.tag().map(str::to_owned);
        Place { path: self.path.clone(), tag, digest: self.digest }
    }

    /// Whether both name one image, whatever registry they name.
    #[must_use]
    pub fn is_same_under(&self, other: &Self) -> bool {
        // podman's registry for what was built here is `localhost`, without a folder.
        let path = |name: &Self| {
            let path = name.whole_path();
            path.strip_prefix("library/").map(str::to_owned).unwrap_or(path)
        };
        path(self) == path(other) && self.tag() == other.tag()
    }

    fn whole_path(&self) -> String {
        match (&self.host, self.path.contains('/')) {
            (None, false) => format!("library/{}", self.path),
            (Some(host), false) if host == DOCKER => format!("library/{}", self.path),
            _ => self.path.clone(),
        }
    }
}

impl FromStr for ImageName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let wrong = |source| NameError { text: text.chars().take(200).collect(), source };
        let (host, rest) = crate::images::split(text);
        let (name, digest) = match rest.split_once('@') {
            Some((name, digest)) => {
                (name, Some(digest.parse().map_err(|error| wrong(ReferenceError::Digest(error)))?))
            }
            None => (rest, None),
        };
        let (path, tag) = match name.rsplit_once(':') {
            Some((path, tag)) => (path, Some(tag.to_owned())),
            None => (name, None),
        };
        let (given, host, path) = (text.to_owned(), host.map(str::to_owned), path.to_owned());
        let name = Self { given, host, path, tag, digest };
        // The tag too is judged where a digest counts before it.
        let tag = Version::Tag(name.tag().unwrap_or("latest").to_owned());
        Reference::new(name.host.as_deref().unwrap_or(DOCKER), &name.path, tag).map_err(wrong)?;
        Ok(name)
    }
}

/// A name under a registry: `PATH[:TAG][@sha256:DIGEST]`, of which one at least
/// is there.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    path: String,
    tag: Option<String>,
    digest: Option<Digest>,
}

impl Place {
    /// The path.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The tag.
    #[must_use]
    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    /// The digest that it must have.
    #[must_use]
    pub fn digest(&self) -> Option<&Digest> {
        self.digest.as_ref()
    }
}

/// The tag is `latest` where neither tag nor digest is given.
impl FromStr for Place {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let wrong = |source| NameError { text: text.chars().take(200).collect(), source };
        let (name, digest) = match text.split_once('@') {
            Some((name, digest)) => {
                (name, Some(digest.parse().map_err(|error| wrong(ReferenceError::Digest(error)))?))
            }
            None => (text, None),
        };
        let (path, tag) = match name.split_once(':') {
            Some((path, tag)) => (path, Some(tag)),
            None => (name, None),
        };
        let tag = if tag.is_none() && digest.is_none() { Some("latest") } else { tag };
        let judged = Version::Tag(tag.unwrap_or("latest").to_owned());
        Reference::new("registry.invalid", path, judged).map_err(wrong)?;
        Ok(Self { path: path.to_owned(), tag: tag.map(str::to_owned), digest })
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.path)?;
        self.tag.iter().try_for_each(|tag| write!(f, ":{tag}"))?;
        self.digest.iter().try_for_each(|digest| write!(f, "@{}", digest.to_oci()))
    }
}

impl fmt::Display for ImageName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.given)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> ImageName {
        text.parse().expect(text)
    }

    #[test]
    fn names_without_a_registry_are_docker_hubs() {
        for (text, whole, place) in [
            ("postgres", "docker.io/library/postgres:latest", "postgres:latest"),
            ("postgres:16.9", "docker.io/library/postgres:16.9", "postgres:16.9"),
            ("bitnami/redis:7", "docker.io/bitnami/redis:7", "bitnami/redis:7"),
            ("docker.io/postgres:1", "docker.io/library/postgres:1", "postgres:1"),
            ("localhost/a:1", "localhost/a:1", "a:1"),
            ("r:5000/a/b:1", "r:5000/a/b:1", "a/b:1"),
        ] {
            assert_eq!(
                (name(text).whole(), name(text).place().to_string()),
                (whole.into(), place.into())
            );
            let (host, rest) = whole.split_once('/').expect("host");
            let reference = name(text).reference().expect("reference");
            assert_eq!(reference.registry(), host);
            assert_eq!(format!("{}:{}", reference.name(), reference.version()), rest);
        }
    }

    #[test]
    fn a_digest_counts_before_a_tag() {
        let digest = format!("sha256:{}", "ab".repeat(32));
        let both = name(&format!("r.example/a:1@{digest}"));
        assert_eq!(both.reference().expect("reference").version(), digest);
        assert_eq!(both.place().to_string(), format!("a:1@{digest}"));
        let alone = name(&format!("a@{digest}"));
        assert_eq!((alone.tag(), alone.place().to_string()), (None, format!("a@{digest}")));
    }

    #[test]
    fn what_names_no_image_is_refused() {
        for text in
            ["", "A", "a:", "a b", "a/../b", "-a", "a@sha256:12", "a@md5:00", "r.x/", "a:x/y"]
        {
            assert!(text.parse::<ImageName>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_place_is_a_path_whatever_it_looks_like() {
        let place: Place = "x.y/z".parse().expect("place");
        assert_eq!((place.path(), place.to_string()), ("x.y/z", "x.y/z:latest".to_owned()));
        for text in ["../a:1", "/a:1", "a//b:1", "a:1:2", "a:", "A:1", "a:1@sha256:0"] {
            assert!(text.parse::<Place>().is_err(), "{text}");
        }
    }

    #[test]
    fn one_image_of_two_registries() {
        assert!(name("maas:1").is_same_under(&name("localhost/maas:1")));
        assert!(name("r.x/boot/maas:1").is_same_under(&name("boot/maas:1")));
        assert!(!name("maas:1").is_same_under(&name("maas:2")));
    }
}
