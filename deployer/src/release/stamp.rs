//! Times as Helm writes them: RFC 3339 with what a second has of fractions, or
//! an empty text for none.

use jiff::Timestamp;
use serde::{Deserialize, Deserializer, Serialize};

/// A time. The text that was read is the text that is written.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Stamp(String);

impl Stamp {
    /// This moment.
    #[must_use]
    pub fn now() -> Self {
        Self(Timestamp::now().to_string())
    }

    /// The text; empty for no time.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.0
    }

    /// The time; `None` where there is none.
    #[must_use]
    pub fn time(&self) -> Option<Timestamp> {
        self.0.parse().ok()
    }

    /// How long ago that was, in seconds; none where it is no time or to come.
    #[must_use]
    pub fn age_s(&self) -> Option<u64> {
        let age = Timestamp::now().as_second() - self.time()?.as_second();
        u64::try_from(age).ok()
    }
}

impl<'de> Deserialize<'de> for Stamp {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        Ok(Self(Option::<String>::deserialize(from)?.unwrap_or_default()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_with_any_offset() {
        let stamp: Stamp = serde_json::from_str(r#""2026-01-02T03:04:05.5+02:00""#).unwrap();
        assert_eq!(stamp.time().unwrap().to_string(), "2026-01-02T01:04:05.5Z");
        let none: Stamp = serde_json::from_str(r#""""#).unwrap();
        assert_eq!((none.time(), none.text()), (None, ""));
        assert!(Stamp::now().age_s().unwrap() < 60);
    }
}
