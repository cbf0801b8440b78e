//! Texts that are the same in every run.

use sha2::{Digest as _, Sha256};

/// SHA-256 in lower-case hexadecimal.
#[must_use]
pub fn sha256(bytes: &[u8]) -> String {
    let digest = Sha256::digest(bytes);
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// `text` with the given names, and with names for ports, keys and digests.
pub(crate) fn normalised(text: &str, names: &[(String, String)]) -> String {
    let mut text = text.to_owned();
    for (from, to) in names {
        text = text.replace(from, to);
    }
    let mut out = String::new();
    let mut rest = text.as_str();
    while let Some(first) = rest.chars().next() {
        let end = rest
            .find(|c: char| !c.is_ascii_alphanumeric())
            .unwrap_or(rest.len())
            .max(first.len_utf8());
        let (word, after) = rest.split_at(end);
        rest = after;
        let hex = word.bytes().all(|byte| byte.is_ascii_hexdigit());
        out.push_str(match word.len() {
            64 if hex => "DIGEST",
            16 | 40 if hex => "KEY",
            _ => word,
        });
        if out.ends_with("127.0.0.1") && rest.starts_with(':') {
            rest = rest[1..].trim_start_matches(|c: char| c.is_ascii_digit());
            out.push_str(":PORT");
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_differs_gets_a_name() {
        let names = [("/tmp/x".to_owned(), "DIR".to_owned())];
        let text = format!("http://127.0.0.1:80/ /tmp/x/store {} 'é'", "aB".repeat(20));
        assert_eq!(normalised(&text, &names), "http://127.0.0.1:PORT/ DIR/store KEY 'é'");
    }
}
