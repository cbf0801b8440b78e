//! Paths inside a mirror.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Longest path accepted, in bytes.
const MAX_PATH: usize = 1024;
/// Longest component accepted, in bytes: clients that mirror into a folder
/// make a file of it, and Linux file systems stop at 255.
const MAX_COMPONENT: usize = 255;

/// A path relative to a mirror's root, such as
/// `streams/v1/com.ubuntu.maas:stable:v3:download.sjson`.
///
/// Invariants, checked once when it is made:
/// - not empty, at most 1024 bytes, components of at most 255 bytes;
/// - no leading, trailing or doubled `/`, no `.` or `..` component: joined to
///   a root it stays below it;
/// - no control character, no `\`, and none of `%`, `?`, `#`, which a URL
///   would read as something else than a part of the path. Upstreams have no
///   use for them, and `%2e%2e` is how `..` is smuggled past a check.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RelPath(String);

/// Why a path was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    /// Nothing there.
    #[error("the path is empty")]
    Empty,
    /// Over the limit in bytes.
    #[error("the path '{}…' is longer than {limit} bytes", path.chars().take(40).collect::<String>())]
    TooLong {
        /// The path as given.
        path: String,
        /// The limit it passed.
        limit: usize,
    },
    /// It could lead outside the mirror's root.
    #[error("the path '{0}' leads outside the mirror")]
    Escapes(String),
    /// `a//b`, `a/./b` or a trailing `/`: two spellings of one file.
    #[error("the path '{0}' has an empty or '.' component")]
    NotNormal(String),
    /// A character that has no place in a path of a mirror.
    #[error("the path '{path}' contains {character:?}, which is not allowed")]
    Character {
        /// The path, with control characters escaped.
        path: String,
        /// The first character refused.
        character: char,
    },
}

impl RelPath {
    /// Checks `path` and takes it.
    ///
    /// # Errors
    /// [`PathError`] names the invariant that does not hold.
    pub fn new(path: impl Into<String>) -> Result<Self, PathError> {
        let path = path.into();
        if path.is_empty() {
            return Err(PathError::Empty);
        }
        if path.len() > MAX_PATH {
            return Err(PathError::TooLong { path, limit: MAX_PATH });
        }
        let refused = |c: &char| c.is_control() || matches!(c, '%' | '?' | '#' | '\\');
        if let Some(character) = path.chars().find(refused) {
            let path = path.escape_debug().to_string();
            return Err(PathError::Character { path, character });
        }
        if path.starts_with('/') {
            return Err(PathError::Escapes(path));
        }
        for component in path.split('/') {
            match component {
                ".." => return Err(PathError::Escapes(path)),
                "" | "." => return Err(PathError::NotNormal(path)),
                c if c.len() > MAX_COMPONENT => {
                    return Err(PathError::TooLong { path, limit: MAX_COMPONENT });
                }
                _ => {}
            }
        }
        Ok(Self(path))
    }

    /// The path as served and listed.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The last component.
    #[must_use]
    pub fn file_name(&self) -> &str {
        self.0.rsplit('/').next().unwrap_or(&self.0)
    }
}

impl fmt::Display for RelPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for RelPath {
    type Error = PathError;

    fn try_from(path: String) -> Result<Self, PathError> {
        Self::new(path)
    }
}

impl From<RelPath> for String {
    fn from(path: RelPath) -> Self {
        path.0
    }
}

impl std::borrow::Borrow<str> for RelPath {
    fn borrow(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(path: &str) -> PathError {
        RelPath::new(path).expect_err(path)
    }

    #[test]
    fn paths_of_maas_io_are_taken() {
        for path in [
            "streams/v1/index.sjson",
            "streams/v1/com.ubuntu.maas:stable:v3:download.sjson",
            "xenial/amd64/20210928/squashfs",
            "bootloaders/uefi/amd64/20210819.0/grub2-signed.tar.xz",
            "a..b/..c/d...",
        ] {
            assert_eq!(RelPath::new(path).expect(path).as_str(), path);
        }
    }

    #[test]
    fn what_leads_outside_is_refused() {
        for path in ["../x", "a/../x", "a/..", "/etc/x", ".."] {
            assert!(matches!(refused(path), PathError::Escapes(_)), "{path}");
        }
    }

    #[test]
    fn a_second_spelling_is_refused() {
        for path in ["a//b", "a/./b", "a/", "./a", "."] {
            assert!(matches!(refused(path), PathError::NotNormal(_)), "{path}");
        }
        assert_eq!(refused(""), PathError::Empty);
    }

    #[test]
    fn characters_that_a_url_reads_otherwise_are_refused() {
        for path in ["%2e%2e/x", "a?b", "a#b", "a\\b", "a\0b", "a\nb", "a\u{7f}b"] {
            assert!(matches!(refused(path), PathError::Character { .. }), "{path:?}");
        }
    }

    #[test]
    fn length_is_bounded() {
        assert!(matches!(refused(&"x".repeat(300)), PathError::TooLong { limit: 255, .. }));
        assert!(matches!(refused(&"x/".repeat(600)), PathError::TooLong { limit: 1024, .. }));
        assert!(RelPath::new(["x".repeat(150), "y".repeat(150)].join("/")).is_ok());
    }

    proptest::proptest! {
        /// Joined to a root, whatever is accepted stays strictly below it.
        #[test]
        fn accepted_paths_stay_below_the_root(path in "[a.%/:\\\\\0-]{0,12}") {
            if let Ok(path) = RelPath::new(path) {
                let joined = std::path::Path::new("/root").join(path.as_str());
                let depth = joined.components().filter(|c| matches!(c, std::path::Component::Normal(_))).count();
                assert!(joined.starts_with("/root"));
                assert_eq!(depth, path.as_str().split('/').count() + 1);
            }
        }
    }
}
