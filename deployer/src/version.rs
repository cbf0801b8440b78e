//! MAAS's version numbers.

use std::fmt;
use std::str::FromStr;

use serde::Serialize;

/// A version of MAAS, such as 3.6.4: the upstream part of its package's
/// version, without epoch, build and suffixes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version {
    major: u32,
    minor: u32,
    patch: u32,
}

/// A text that is no version of MAAS.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is no version of MAAS such as 3.6.4")]
pub struct VersionError(String);

impl FromStr for Version {
    type Err = VersionError;

    /// Takes `3.6.4` as well as a package's version, `1:3.6.4-17623-g0ab1`.
    fn from_str(text: &str) -> Result<Self, VersionError> {
        let without_epoch = text.split_once(':').map_or(text, |(_, rest)| rest);
        let upstream = without_epoch.split(['-', '~', '+']).next().unwrap_or_default();
        let mut parts = upstream.trim().split('.').map(str::parse::<u32>);
        let (Some(Ok(major)), Some(Ok(minor)), patch, None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(VersionError(text.trim().to_owned()));
        };
        let patch = patch.unwrap_or(Ok(0)).map_err(|_| VersionError(text.trim().to_owned()))?;
        Ok(Self { major, minor, patch })
    }
}

impl fmt::Display for Version {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}.{}.{}", self.major, self.minor, self.patch)
    }
}

impl Serialize for Version {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(text: &str) -> String {
        text.parse::<Version>().map_or_else(|error| error.to_string(), |v| v.to_string())
    }

    #[test]
    fn a_packages_version_has_its_upstream_part() {
        assert_eq!(version("1:3.6.4-17623-g0ab1c2-0ubuntu1~24.04.1"), "3.6.4");
        assert_eq!(version("3.7.0~beta1-1"), "3.7.0");
        assert_eq!(version("3.7"), "3.7.0");
        assert_eq!(version("3.6.4"), "3.6.4");
        assert_eq!(version("2:3.10.12\n"), "3.10.12");
    }

    #[test]
    fn what_is_no_version_is_refused() {
        for text in ["", "3", "x.y", "3.6.4.1", "3.6.x", "<none>", "-1.2"] {
            assert!(text.parse::<Version>().is_err(), "{text}");
        }
    }

    #[test]
    fn versions_are_compared_as_numbers() {
        let of = |text: &str| text.parse::<Version>().unwrap();
        assert!(of("3.10.0") > of("3.9.9"));
        assert!(of("3.6.10") > of("3.6.9"));
        assert_eq!(of("1:3.6.4-1"), of("3.6.4"));
    }
}
