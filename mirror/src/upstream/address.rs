//! Where an upstream is.

use std::fmt;
use std::str::FromStr;

use url::Url;

use crate::simplestreams::{PathError, RelPath};

/// The entry point of a stream below its root.
const INDEX: &str = "streams/v1/index.sjson";

/// An upstream's root URL and the path of its index. Prints without
/// credentials, in `Debug` too.
#[derive(Clone, PartialEq, Eq)]
pub struct Address {
    root: Url,
    index: RelPath,
}

/// Why a URL is not an upstream's.
#[derive(Debug, thiserror::Error)]
pub enum AddressError {
    /// Not a URL.
    #[error("it is not a URL")]
    Url(#[from] url::ParseError),
    /// Not http or https.
    #[error("only http:// and https:// are supported, not {0}://")]
    Scheme(String),
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
/// index (`…/streams/v1/NAME.sjson`), as MAAS takes them.
impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
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
            return Ok(Self { root, index: RelPath::new(INDEX)? });
        }
        let start = path.rfind("/streams/").or_else(|| path.rfind('/')).map_or(0, |at| at + 1);
        let (above, index) = path.split_at(start);
        root.set_path(above);
        Ok(Self { root, index: RelPath::new(index)? })
    }
}

impl Address {
    /// The path of the index.
    #[must_use]
    pub fn index(&self) -> &RelPath {
        &self.index
    }

    /// The URL of a file, credentials included: for the client alone.
    pub(super) fn url(&self, path: &RelPath) -> Url {
        let mut url = self.root.clone();
        // http and https URLs always have path segments. Appending them one by
        // one keeps a colon in the first from being read as a scheme.
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(path.as_str().split('/'));
        }
        url
    }

    /// The URL of a file for people: without credentials.
    #[must_use]
    pub fn display(&self, path: &RelPath) -> String {
        without_credentials(self.url(path)).into()
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
        without_credentials(self.root.clone()).fmt(f)
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
        (address.url(&path).into(), address.url(address.index()).into())
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
        assert_eq!(address.url(&path).as_str(), "https://me:secret@h/r/a");
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
