//! The `updated` stamps of index and products files.

use std::fmt;

use jiff::fmt::{rfc2822, temporal};

/// When a publisher says that a file was last changed.
///
/// maas.io writes RFC 2822 (`Tue, 22 Jul 2025 11:01:49 +0000`), some
/// publishers ISO 8601. Ordered by the instant, whatever its spelling.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(jiff::Timestamp);

/// An `updated` in neither form.
#[derive(Debug, thiserror::Error)]
#[error("'{0}' is neither an RFC 2822 nor an ISO 8601 time")]
pub struct TimestampError(String);

impl Timestamp {
    /// Reads RFC 2822, then ISO 8601 with an offset or `Z`.
    ///
    /// # Errors
    /// [`TimestampError`] where it is neither.
    pub fn parse(text: &str) -> Result<Self, TimestampError> {
        let text = text.trim();
        if let Ok(time) = rfc2822::DateTimeParser::new().parse_timestamp(text) {
            return Ok(Self(time));
        }
        temporal::DateTimeParser::new()
            .parse_timestamp(text)
            .map(Self)
            .map_err(|_| TimestampError(text.chars().take(80).collect()))
    }

    /// Seconds since the epoch.
    #[must_use]
    pub fn as_second(self) -> i64 {
        self.0.as_second()
    }

    /// The instant itself.
    #[must_use]
    pub fn instant(self) -> jiff::Timestamp {
        self.0
    }
}

/// ISO 8601 in UTC, as state files and annotations keep it.
impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_spellings_are_one_instant() {
        let a = Timestamp::parse("Tue, 22 Jul 2025 11:01:49 +0000").expect("rfc 2822");
        let b = Timestamp::parse("2025-07-22T11:01:49Z").expect("iso 8601");
        let c = Timestamp::parse("Tue, 22 Jul 2025 13:01:49 +0200").expect("offset");
        assert_eq!((a, a), (b, c));
        assert_eq!(Timestamp::parse(&a.to_string()).expect("round trip"), a);
    }

    #[test]
    fn other_text_is_an_error() {
        for text in ["", "yesterday", "2025-07-22", "99999999999999"] {
            assert!(Timestamp::parse(text).is_err(), "{text}");
        }
    }
}
