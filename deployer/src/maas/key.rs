//! MAAS's API key, and how a request proves that it has it.

use std::fmt;
use std::str::FromStr;

use rand::RngExt as _;

use crate::secret::Secret;

/// An API key: `consumer:token:secret`.
#[derive(Clone, PartialEq, Eq)]
pub struct ApiKey {
    consumer: String,
    token: String,
    secret: Secret,
}

/// A text that is no API key. It is not repeated: it may be most of one.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("the API key is not of the form consumer:token:secret")]
pub struct KeyError;

impl FromStr for ApiKey {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        let parts: Vec<&str> = text.trim().split(':').collect();
        let whole =
            |part: &&str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric());
        match parts.as_slice() {
            [consumer, token, secret] if parts.iter().all(whole) => {
                Ok(Self::new(*consumer, *token, *secret))
            }
            _ => Err(KeyError),
        }
    }
}

impl ApiKey {
    /// A key of these parts.
    pub(super) fn new(
        consumer: impl Into<String>,
        token: impl Into<String>,
        secret: impl Into<String>,
    ) -> Self {
        Self { consumer: consumer.into(), token: token.into(), secret: Secret::new(secret) }
    }

    /// The key as it stands in its Secret.
    #[must_use]
    pub fn text(&self) -> Secret {
        Secret::new(format!("{}:{}:{}", self.consumer, self.token, self.secret.expose()))
    }

    /// `text` with the key's secret struck out.
    #[must_use]
    pub fn mask(&self, text: &str) -> String {
        self.secret.mask(text)
    }

    /// The value of the header `Authorization`, good for one request: MAAS
    /// remembers nonces. 128 random bits need no memory of those that were used.
    pub(super) fn header(&self, timestamp: u64) -> String {
        self.header_at(timestamp, rand::rng().random())
    }

    fn header_at(&self, timestamp: u64, nonce: u128) -> String {
        format!(
            "OAuth oauth_version=\"1.0\", oauth_signature_method=\"PLAINTEXT\", \
             oauth_consumer_key=\"{}\", oauth_token=\"{}\", oauth_signature=\"%26{}\", \
             oauth_nonce=\"{nonce:032x}\", oauth_timestamp=\"{timestamp}\"",
            self.consumer,
            self.token,
            self.secret.expose(),
        )
    }
}

impl fmt::Debug for ApiKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("ApiKey(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_has_three_parts() {
        let key: ApiKey = "abc:def:ghi\n".parse().unwrap();
        assert_eq!(key.text().expose(), "abc:def:ghi");
        for text in ["", "abc", "a:b", "a:b:c:d", "a::c", "a:b:", "a:b\":c", "a:b:c d"] {
            assert_eq!(text.parse::<ApiKey>(), Err(KeyError), "{text}");
        }
    }

    #[test]
    fn the_header_is_oauth_in_plain_text() {
        let key: ApiKey = "C:T:S".parse().unwrap();
        assert_eq!(
            key.header_at(1_700_000_000, 255),
            "OAuth oauth_version=\"1.0\", oauth_signature_method=\"PLAINTEXT\", \
             oauth_consumer_key=\"C\", oauth_token=\"T\", oauth_signature=\"%26S\", \
             oauth_nonce=\"000000000000000000000000000000ff\", oauth_timestamp=\"1700000000\""
        );
        assert_ne!(key.header(1), key.header(1));
    }

    #[test]
    fn a_key_does_not_show_itself() {
        let key: ApiKey = "C:T:Shhhh".parse().unwrap();
        assert_eq!(format!("{key:?}"), "ApiKey(…)");
        assert_eq!(key.mask("Expected &Shhhh"), "Expected &…");
    }
}
