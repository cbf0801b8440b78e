//! Where an upstream is.

use std::fmt;
use std::str::FromStr;

use url::Url;

use super::registry::{Reference, ReferenceError};
use crate::simplestreams::{PathError, RelPath};

/// The entry point of a stream below its root.
const INDEX: &str = "streams/v1/index.sjson";

/// Where an upstream is, and the path of its index. Prints without
/// credentials, in `Debug` too.
#[derive(Clone, PartialEq, Eq)]
pub struct Address {
    place: Place,
    index: RelPath,
}

#[derive(Clone, PartialEq, Eq)]
enum Place {
    /// The URL above every path.
    Root(Url),
    /// A snapshot in a registry.
    Registry(Reference),
}

/// Why a URL is not an upstream's.
#[derive(Debug, thiserror::Error)]
pub enum AddressError {
    /// Not a URL.
    #[error("it is not a URL")]
    Url(#[from] url::ParseError),
    /// Not http, https or oci.
    #[error("only http://, https:// and oci:// are supported, not {0}://")]
    Scheme(String),
    /// Not a place in a registry.
    #[error(transparent)]
    Reference(#[from] ReferenceError),
    /// A query or fragment, which no file below the root would have.
    #[error("it must not have a '?' or '#'")]
    Query,
    /// The unsigned spelling of the index.
    #[error("{0} is not signed: name the .sjson file, or only the folder above 'streams'")]
    Unsigned(String),
    /// The index's path cannot be used.
    #[error("the path of its index cannot be used")]
    Path(#[from] PathError),
}

/// `https://HOST/root/`, with or without the last slash, or the full URL of an
/// index (`…/streams/v1/NAME.sjson`), as MAAS takes them; or a [`Reference`],
/// `oci://REGISTRY/NAME:TAG`.
impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        if text.starts_with(Reference::SCHEME) {
            return Ok(Self::in_registry(text.parse()?)?);
        }
        let mut root = Url::parse(text)?;
        if !matches!(root.scheme(), "http" | "https") {
            return Err(AddressError::Scheme(root.scheme().to_owned()));
        }
        if root.query().is_some() || root.fragment().is_some() {
            return Err(AddressError::Query);
        }
        let path = root.path().to_owned();
        if path.ends_with(".json") {
            return Err(AddressError::Unsigned(path));
        }
        if !path.ends_with(".sjson") {
            if !path.ends_with('/') {
                root.set_path(&format!("{path}/"));
            }
            return Ok(Self { place: Place::Root(root), index: RelPath::new(INDEX)? });
        }
        let start = path.rfind("/streams/").or_else(|| path.rfind('/')).map_or(0, |at| at + 1);
        let (above, index) = path.split_at(start);
        root.set_path(above);
        Ok(Self { place: Place::Root(root), index: RelPath::new(index)? })
    }
}

impl Address {
    /// A snapshot in a registry.
    ///
    /// # Errors
    /// None in practice: the path of the index is a constant.
    pub fn in_registry(reference: Reference) -> Result<Self, PathError> {
        Ok(Self { place: Place::Registry(reference), index: RelPath::new(INDEX)? })
    }

    /// The path of the index.
    #[must_use]
    pub fn index(&self) -> &RelPath {
        &self.index
    }

    /// The place in a registry, where it is one.
    #[must_use]
    pub fn registry(&self) -> Option<&Reference> {
        match &self.place {
            Place::Root(_) => None,
            Place::Registry(reference) => Some(reference),
        }
    }

    /// The URL of a file, credentials included: for the client alone. `None`
    /// for a registry, whose files have no names of their own.
    pub(super) fn url(&self, path: &RelPath) -> Option<Url> {
        let Place::Root(root) = &self.place else {
            return None;
        };
        let mut url = root.clone();
        // http and https URLs always have path segments. Appending them one by
        // one keeps a colon in the first from being read as a scheme.
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(path.as_str().split('/'));
        }
        Some(url)
    }

    /// What a file is called for people: its URL without credentials, or its
    /// path and the snapshot that holds it.
    #[must_use]
    pub fn display(&self, path: &RelPath) -> String {
        match self.url(path) {
            Some(url) => without_credentials(url).into(),
            None => format!("{path} in {self}"),
        }
    }
}

fn without_credentials(mut url: Url) -> Url {
    // Fails only for URLs that cannot have credentials.
    let _ = url.set_username("");
    let _ = url.set_password(None);
    url
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Place::Root(root) => without_credentials(root.clone()).fmt(f),
            Place::Registry(reference) => reference.fmt(f),
        }
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn urls(text: &str, path: &str) -> (String, String) {
        let address: Address = text.parse().expect(text);
        let path = RelPath::new(path).expect(path);
        let url = |path| address.url(path).map(String::from).expect("a URL");
        (url(&path), url(address.index()))
    }

    #[test]
    fn a_root_with_or_without_slash_or_the_index_itself() {
        for text in ["http://h/r", "http://h/r/", "http://h/r/streams/v1/index.sjson"] {
            let (item, index) = urls(text, "com.x:v3/y");
            assert_eq!(item, "http://h/r/com.x:v3/y");
            assert_eq!(index, "http://h/r/streams/v1/index.sjson");
        }
        assert_eq!(urls("http://h", "a").0, "http://h/a");
        assert_eq!(urls("http://h/streams/v1/x.sjson", "a").1, "http://h/streams/v1/x.sjson");
    }

    #[test]
    fn credentials_are_used_and_not_shown() {
        let address: Address = "https://me:secret@h/r/".parse().expect("address");
        let path = RelPath::new("a").expect("path");
        let url = address.url(&path).expect("a URL");
        assert_eq!(url.as_str(), "https://me:secret@h/r/a");
        for shown in [address.display(&path), address.to_string(), format!("{address:?}")] {
            assert!(!shown.contains("secret") && !shown.contains("me:"), "{shown}");
        }
    }

    #[test]
    fn what_cannot_be_an_upstream_is_refused() {
        for text in ["", "images.maas.io", "ftp://h/", "http://h/?a", "http://h/index.json"] {
            assert!(text.parse::<Address>().is_err(), "{text}");
        }
    }
}
