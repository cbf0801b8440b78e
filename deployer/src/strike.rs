//! Strikes secrets out of texts, in the forms in which they are likely to be written.
//!
//! Forms are: as it is; each of its longer lines; escaped as in JSON, YAML or a shell; for
//! URLs; in base64, also where it is part of what was encoded.

use std::collections::BTreeSet;

use aho_corasick::{AhoCorasick, BuildError, MatchKind};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use serde_json::Value;
use url::form_urlencoded;

use crate::values::{HIDDEN, is_password};

/// Shorter texts are struck out only where they stand as a word: they would be part of others.
const SHORT: usize = 4;
/// A part of a secret, as a line of a private key, counts from this length on.
const PART: usize = 8;
/// A longer one is looked for in pieces. A multiple of three: so is it encoded.
const PIECE: usize = 255;
/// How many bytes of secrets can be looked for at once.
const MOST: usize = 4 * 1024 * 1024;
/// Keys of Secrets whose values are public. A user's name in every object's name is no secret.
const PUBLIC: [&str; 6] =
    ["DATABASE_USERNAME", "USERNAME", "username", "namespace", "ca.crt", "tls.crt"];
/// Keys of a registry's login, in the JSON of such a Secret.
const LOGIN: [&str; 4] = ["password", "auth", "identitytoken", "registrytoken"];

/// Secrets, before there is anything to strike them out of.
#[derive(Clone, Default)]
pub struct Secrets {
    texts: BTreeSet<Vec<u8>>,
}

/// Why secrets cannot be struck out.
#[derive(Debug, thiserror::Error)]
pub enum StrikeError {
    /// They are too large.
    #[error("they have {bytes} bytes in all, which is too much to look for")]
    TooLarge {
        /// How many bytes.
        bytes: usize,
    },
    /// They are too many.
    #[error("they are too many to look for")]
    TooMany(#[from] BuildError),
}

/// What strikes them out.
pub struct Strike {
    forms: AhoCorasick,
    words: Vec<String>,
}

impl Secrets {
    /// How many there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.texts.len()
    }

    /// Adds one.
    pub fn add(&mut self, secret: &[u8]) {
        let secret = secret.trim_ascii();
        if secret.is_empty() {
            return;
        }
        if secret.len() <= 4 * PIECE {
            self.texts.insert(secret.to_vec());
        }
        // Logs and folded texts have a line at a time; an API key is three words.
        let parts = secret.split(|byte| matches!(byte, b'\n' | b':')).map(<[u8]>::trim_ascii);
        let long = parts.filter(|part| part.len() >= PART && !part.starts_with(b"-----"));
        let pieces = long
            .flat_map(|part| part.chunks(if part.len() > 4 * PIECE { PIECE } else { part.len() }));
        self.texts.extend(pieces.map(<[u8]>::to_vec));
    }

    /// Adds what a Secret of Kubernetes holds.
    pub fn add_object(&mut self, secret: &Value) {
        let of = |part: &str| secret.get(part).and_then(Value::as_object).into_iter().flatten();
        for (key, value) in of("data") {
            let bytes = value.as_str().and_then(|text| STANDARD.decode(text).ok());
            self.add_entry(key, &bytes.unwrap_or_default());
        }
        for (key, value) in of("stringData") {
            self.add_entry(key, value.as_str().unwrap_or_default().as_bytes());
        }
    }

    fn add_entry(&mut self, key: &str, value: &[u8]) {
        if PUBLIC.contains(&key) {
            return;
        }
        self.add(value);
        if let Ok(json @ Value::Object(_)) = serde_json::from_slice(value) {
            self.add_logins(&json, &mut Vec::new());
        }
    }

    /// Adds what is a password by its key in a tree of values.
    pub fn add_values(&mut self, values: &Value) {
        self.add_logins(values, &mut Vec::new());
    }

    fn add_logins(&mut self, value: &Value, path: &mut Vec<String>) {
        let mut below = |key: &str, value: &Value| {
            path.push(key.to_owned());
            self.add_logins(value, path);
            path.pop();
        };
        match value {
            Value::Object(map) => map.iter().for_each(|(key, value)| below(key, value)),
            Value::Array(list) => list.iter().for_each(|value| below("0", value)),
            Value::String(text) => {
                let is_login = path.last().is_some_and(|key| LOGIN.contains(&key.as_str()));
                if is_login || is_password(path) {
                    self.add(text.as_bytes());
                }
                // `auth` is base64 of user:password.
                if is_login && let Ok(both) = STANDARD.decode(text) {
                    self.add(&both);
                }
                if let Some(login) = login_of(text) {
                    self.add(login.as_bytes());
                }
            }
            _ => {}
        }
    }

    /// What strikes all of them out.
    ///
    /// # Errors
    /// Where they are too many to be looked for at once.
    pub fn strike(&self) -> Result<Strike, StrikeError> {
        let bytes = self.texts.iter().map(Vec::len).sum();
        if bytes > MOST {
            return Err(StrikeError::TooLarge { bytes });
        }
        let mut forms = BTreeSet::new();
        let mut words = Vec::new();
        for secret in &self.texts {
            match std::str::from_utf8(secret) {
                Ok(text) if secret.len() < SHORT => words.push(text.to_owned()),
                Ok(text) => forms.extend(escaped(text).into_iter().map(String::into_bytes)),
                // Texts have no bytes that are none, only what encodes them.
                Err(_) => {}
            }
            if secret.len() >= SHORT {
                forms.extend(encoded(secret).into_iter().map(String::into_bytes));
            }
        }
        let forms = AhoCorasick::builder().match_kind(MatchKind::Standard).build(forms)?;
        Ok(Strike { forms, words })
    }
}

/// The password in `scheme://user:password@host`.
fn login_of(text: &str) -> Option<&str> {
    let (_, rest) = text.split_once("://")?;
    let authority = rest.split(['/', '?', '#', ' ']).next()?;
    let (login, _) = authority.rsplit_once('@')?;
    login.split_once(':').map(|(_, password)| password)
}

/// The forms of a secret in which it is likely to be written, its lines apart.
pub(crate) fn forms(secret: &str) -> Vec<String> {
    let mut forms = escaped(secret);
    if secret.len() >= SHORT {
        forms.extend(encoded(secret.as_bytes()));
    }
    forms
}

/// A text as JSON, YAML, shells and URLs write it, and as it is.
fn escaped(text: &str) -> Vec<String> {
    let json = serde_json::to_string(text).unwrap_or_default();
    let json = json.trim_matches('"').to_owned();
    let of_url: String = form_urlencoded::byte_serialize(text.as_bytes()).collect();
    let strict = of_url.replace('+', "%20");
    let mut forms = vec![
        text.to_owned(),
        json.replace('<', "\\u003c").replace('>', "\\u003e").replace('&', "\\u0026"),
        ascii(&json),
        text.replace('\'', "''"),
        text.replace('\'', "'\\''"),
        lowercase(&strict),
        lowercase(&of_url),
        percent_all(text),
        json,
        strict,
        of_url,
    ];
    forms.retain(|form| form.len() >= SHORT);
    forms
}

/// `%2f` of `%2F`.
fn lowercase(escapes: &str) -> String {
    let mut parts = escapes.split('%');
    let mut text = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (digits, rest) = part.split_at_checked(2).unwrap_or((part, ""));
        text.push('%');
        text.push_str(&digits.to_ascii_lowercase());
        text.push_str(rest);
    }
    text
}

/// As RFC 3986 has it: all but letters, digits and `-._~`.
fn percent_all(text: &str) -> String {
    let one = |byte: u8| {
        let plain = byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
        if plain { char::from(byte).to_string() } else { format!("%{byte:02X}") }
    };
    text.bytes().map(one).collect()
}

/// JSON without a character that is not ASCII, as Python writes it.
fn ascii(json: &str) -> String {
    let mut out = String::new();
    for c in json.chars() {
        if c.is_ascii() {
            out.push(c);
            continue;
        }
        let mut units = [0; 2];
        for unit in c.encode_utf16(&mut units) {
            out.push_str(&format!("\\u{unit:04x}"));
        }
    }
    out
}

/// A secret in base64: alone, and what is sure of it where it is encoded with what stands
/// before and behind it.
fn encoded(secret: &[u8]) -> Vec<String> {
    let mut forms = vec![STANDARD.encode(secret), STANDARD_NO_PAD.encode(secret)];
    for before in 0..3 {
        let mut bytes = vec![0; before];
        bytes.extend_from_slice(secret);
        for text in [STANDARD_NO_PAD.encode(&bytes), URL_SAFE_NO_PAD.encode(&bytes)] {
            let (start, end) = ((before * 8).div_ceil(6), bytes.len() * 8 / 6);
            forms
                .extend(text.get(start..end).filter(|part| part.len() >= SHORT).map(str::to_owned));
        }
    }
    forms
}

impl Strike {
    /// `text` without any of the secrets.
    #[must_use]
    pub fn text(&self, text: &str) -> String {
        let mut ranges: Vec<(usize, usize)> = self
            .forms
            .find_overlapping_iter(text)
            .map(|found| (found.start(), found.end()))
            .collect();
        for word in &self.words {
            ranges.extend(standing(text, word));
        }
        ranges.sort_unstable();
        let mut out = String::with_capacity(text.len());
        let mut at = 0;
        for (start, end) in ranges {
            if end <= at {
                continue;
            }
            // What overlaps is one: of neither a part may stay.
            if start >= at {
                out.push_str(text.get(at..start).unwrap_or_default());
                out.push_str(HIDDEN);
            }
            at = end;
        }
        out.push_str(text.get(at..).unwrap_or_default());
        out
    }

    /// Strikes them out of all texts of a value, and of its keys.
    pub fn value(&self, value: &mut Value) {
        match value {
            Value::String(text) => *text = self.text(text),
            Value::Array(list) => list.iter_mut().for_each(|one| self.value(one)),
            Value::Object(map) => {
                let old = std::mem::take(map);
                for (key, mut below) in old {
                    self.value(&mut below);
                    map.insert(self.text(&key), below);
                }
            }
            _ => {}
        }
    }

    /// Whether any of them is in `text`.
    #[must_use]
    pub fn finds(&self, text: &str) -> bool {
        self.forms.find_overlapping_iter(text).next().is_some()
            || self.words.iter().any(|word| standing(text, word).next().is_some())
    }
}

/// Where `word` stands with no letter or digit beside it.
fn standing<'a>(text: &'a str, word: &'a str) -> impl Iterator<Item = (usize, usize)> + 'a {
    let is_beside = |c: Option<char>| c.is_some_and(char::is_alphanumeric);
    text.match_indices(word).filter_map(move |(start, found)| {
        let end = start + found.len();
        let before = text.get(..start).and_then(|part| part.chars().next_back());
        let behind = text.get(end..).and_then(|part| part.chars().next());
        (!is_beside(before) && !is_beside(behind)).then_some((start, end))
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn strike(secrets: &[&str]) -> Strike {
        let mut all = Secrets::default();
        for secret in secrets {
            all.add(secret.as_bytes());
        }
        all.strike().unwrap()
    }

    #[test]
    fn a_secret_goes_in_every_form() {
        let secret = "pä$ \"q'\\/+&<word>";
        let struck = strike(&[secret]);
        let json = serde_json::to_string(secret).unwrap();
        let form: String = form_urlencoded::byte_serialize(secret.as_bytes()).collect();
        let basic = STANDARD.encode(format!("admin:{secret}!"));
        let forms = [
            secret.to_owned(),
            json.clone(),
            ascii(&json),
            secret.replace('\'', "''"),
            form.replace('+', "%20"),
            lowercase(&form),
            form,
            percent_all(secret),
            STANDARD.encode(secret),
            basic,
        ];
        for form in forms {
            let text = format!("before {form} behind");
            let out = struck.text(&text);
            assert!(out.contains(HIDDEN) && !struck.finds(&out), "{text}: {out}");
        }
        assert_eq!(struck.text("nothing"), "nothing");
    }

    #[test]
    fn parts_of_a_key_go_too() {
        let key =
            "-----BEGIN PRIVATE KEY-----\nMIIEvQIBADAN\nBgkqhkiG9w0B\n-----END PRIVATE KEY-----\n";
        let struck = strike(&[key, "consumerx:tokentoken:secretsecret"]);
        assert_eq!(struck.text("log: BgkqhkiG9w0B"), "log: (hidden)");
        assert_eq!(struck.text("&secretsecret"), "&(hidden)");
    }

    #[test]
    fn long_ones_go_in_pieces() {
        let long: String =
            (0..3000_u32).map(|n| char::from(b'a' + u8::try_from(n * 7 % 26).unwrap())).collect();
        let struck = strike(&[&long]);
        assert!(!struck.text(&format!("x {long} y")).contains(&long[..300]));
        let packed = STANDARD.encode(format!("1{long}"));
        assert!(!struck.text(&packed).contains(&packed[10..300]));
        let mut much = Secrets::default();
        for n in 0..5000 {
            much.add(format!("{n:01000}").as_bytes());
        }
        assert!(matches!(much.strike(), Err(StrikeError::TooLarge { .. })));
    }

    #[test]
    fn short_ones_go_as_words_and_overlapping_ones_whole() {
        let struck = strike(&["abc", "12345", "34567"]);
        assert_eq!(struck.text("abc abcd xabc, abc."), "(hidden) abcd xabc, (hidden).");
        assert_eq!(struck.text("1234567"), "(hidden)");
    }

    #[test]
    fn what_a_secret_holds_is_taken_but_for_what_is_public() {
        let login = json!({"auths": {"r.example": {"username": "bob", "password": "pullpull",
            "auth": STANDARD.encode("bob:otherpass")}}});
        let data = json!({"DATABASE_USERNAME": STANDARD.encode("maas"),
            "DATABASE_PASSWORD": STANDARD.encode("hunter22\n"),
            ".dockerconfigjson": STANDARD.encode(login.to_string())});
        let mut all = Secrets::default();
        all.add_object(&json!({"kind": "Secret", "data": data, "stringData": {"x": "plainplain"}}));
        let struck = all.strike().unwrap();
        assert_eq!(struck.text("maas hunter22 plainplain"), "maas (hidden) (hidden)");
        assert_eq!(struck.text("pullpull otherpass"), "(hidden) (hidden)");
    }

    #[test]
    fn passwords_of_values_are_taken() {
        let mut all = Secrets::default();
        all.add_values(&json!({"a": {"password": "hunter22"}, "name": "harmless",
            "proxy": "http://u:loginlogin@proxy:3128/"}));
        let struck = all.strike().unwrap();
        assert_eq!(struck.text("hunter22 harmless"), "(hidden) harmless");
        assert_eq!(struck.text("http://u:loginlogin@p"), "http://u:(hidden)@p");
    }

    #[test]
    fn nothing_of_a_secret_stays_beside_other_text() {
        let struck = strike(&["s3cr3t-text", "t-text-more"]);
        for (before, behind) in [("", ""), ("a", "b"), ("ab", ""), ("abc", "-more"), ("ä", "%")] {
            let plain = format!("{before}s3cr3t-text{behind}");
            let out = struck.text(&format!("{plain} {}", STANDARD.encode(&plain)));
            assert!(!out.contains("s3cr3t") && !out.contains("text"), "{out}");
            let parts = out.split([' ', '(']).filter_map(|part| STANDARD_NO_PAD.decode(part).ok());
            for part in parts {
                assert!(!String::from_utf8_lossy(&part).contains("s3cr3t"), "{out}");
            }
        }
    }
}
