//! Content codings of metadata (RFC 9110 section 8.4).
//!
//! Index and products files are text that shrinks to a tenth. They are
//! compressed once, after a snapshot is taken up, off the runtime; until that
//! is done they are sent as they are. Items are compressed already.

use std::io::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::ACCEPT_ENCODING;
use http::{HeaderMap, HeaderValue};

use crate::simplestreams::Digest;

/// A file in one content coding.
#[derive(Debug)]
pub(super) struct Encoded {
    /// Its name in `Content-Encoding`.
    pub(super) coding: &'static str,
    pub(super) bytes: Bytes,
    pub(super) etag: HeaderValue,
    pub(super) digest: HeaderValue,
}

/// zstd level: metadata is compressed once and sent often.
const ZSTD_LEVEL: i32 = 12;

/// The codings of `plain`, best first. Each has an ETag of its own: bytes that
/// differ must not share a strong one.
pub(super) fn encode(plain: &[u8], digest: Digest) -> Vec<Encoded> {
    let encoded = |coding: &'static str, bytes: std::io::Result<Vec<u8>>| {
        let bytes = Bytes::from(bytes.ok()?);
        let etag = HeaderValue::from_str(&format!("\"{digest}-{coding}\"")).ok()?;
        let digest = repr_digest(Digest::of(&bytes));
        // What does not shrink is not worth the client's time.
        (bytes.len() < plain.len()).then_some(Encoded { coding, bytes, etag, digest })
    };
    let zstd = encoded("zstd", zstd::bulk::compress(plain, ZSTD_LEVEL));
    let gzip = encoded("gzip", gzip(plain));
    zstd.into_iter().chain(gzip).collect()
}

fn gzip(plain: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(plain)?;
    encoder.finish()
}

/// `Repr-Digest` (RFC 9530 section 3).
pub(super) fn repr_digest(digest: Digest) -> HeaderValue {
    let text = format!("sha-256=:{}:", STANDARD.encode(digest.as_bytes()));
    HeaderValue::from_str(&text).unwrap_or(HeaderValue::from_static(""))
}

/// The coding that a client takes and likes best; `None`: the bytes as they
/// are. Of codings it likes the same, the first offered.
pub(super) fn choose<'a>(headers: &HeaderMap, offered: &'a [Encoded]) -> Option<&'a Encoded> {
    if offered.is_empty() || !headers.contains_key(ACCEPT_ENCODING) {
        return None;
    }
    let accepted = Accepted::read(headers);
    let quality = |encoded: &&Encoded| accepted.quality(encoded.coding);
    let best = offered.iter().rev().max_by_key(quality)?;
    let (best_quality, plain) = (quality(&best), accepted.identity());
    (best_quality > 0 && best_quality >= plain).then_some(best)
}

/// `Accept-Encoding`: names with qualities in thousandths.
struct Accepted(Vec<(String, u32)>);

impl Accepted {
    fn read(headers: &HeaderMap) -> Self {
        let values = headers.get_all(ACCEPT_ENCODING).iter().filter_map(|v| v.to_str().ok());
        let list = values.flat_map(|value| value.split(',')).filter_map(|member| {
            let (name, parameters) = member.split_once(';').unwrap_or((member, ""));
            let quality = match parameters.trim().strip_prefix("q=") {
                Some(text) => thousandths(text.trim())?,
                None => 1000,
            };
            Some((name.trim().to_ascii_lowercase(), quality))
        });
        Self(list.filter(|(name, _)| !name.is_empty()).collect())
    }

    fn of(&self, name: &str) -> Option<u32> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, quality)| *quality)
    }

    /// A coding that is not listed is not accepted, unless `*` is.
    fn quality(&self, coding: &str) -> u32 {
        self.of(coding).or_else(|| self.of("*")).unwrap_or(0)
    }

    /// No coding at all is accepted unless it is ruled out; where nothing is
    /// said of it, any coding asked for is liked better.
    fn identity(&self) -> u32 {
        self.of("identity").unwrap_or(1)
    }
}

/// `0.5` as 500; `None` where it is no quality.
fn thousandths(text: &str) -> Option<u32> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    if fraction.len() > 3 || !fraction.bytes().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    let whole = whole.parse::<u32>().ok().filter(|whole| *whole <= 1)?;
    let fraction: u32 = format!("{fraction:0<3}").parse().ok()?;
    Some((whole * 1000 + fraction).min(1000))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(accept: &str) -> Option<&'static str> {
        let plain = "the same text again and again, ".repeat(50);
        let offered = encode(plain.as_bytes(), Digest::of(plain.as_bytes()));
        let value = HeaderValue::from_str(accept).expect("header");
        choose(&[(ACCEPT_ENCODING, value)].into_iter().collect(), &offered).map(|e| e.coding)
    }

    #[test]
    fn the_client_decides() {
        for (accept, coding) in [
            ("", None),
            ("identity", None),
            ("gzip", Some("gzip")),
            ("gzip, deflate", Some("gzip")),
            ("GZIP", Some("gzip")),
            ("gzip, deflate, br, zstd", Some("zstd")),
            ("zstd;q=0.5, gzip;q=0.8", Some("gzip")),
            ("gzip;q=0", None),
            ("gzip;q=0.000", None),
            ("*", Some("zstd")),
            ("*;q=0", None),
            ("zstd;q=0, *", Some("gzip")),
            ("gzip;q=0.5, identity", None),
            ("gzip;q=1, identity;q=0.5", Some("gzip")),
            ("br", None),
            ("gzip;q=nonsense", None),
            ("gzip;q=5000000", None),
            ("gzip;q=99999999999", None),
        ] {
            assert_eq!(chosen(accept), coding, "{accept}");
        }
    }

    #[test]
    fn codings_give_back_the_bytes_and_have_etags_of_their_own() {
        use std::io::Read as _;
        let plain = b"abc".repeat(1000);
        let encoded = encode(&plain, Digest::of(&plain));
        let [zstd, gzip] = encoded.as_slice() else { panic!("two codings") };
        assert_eq!(zstd::bulk::decompress(&zstd.bytes, plain.len()).expect("zstd"), plain);
        let mut text = Vec::new();
        flate2::read::GzDecoder::new(&*gzip.bytes).read_to_end(&mut text).expect("gzip");
        assert_eq!(text, plain);
        assert_ne!(zstd.etag, gzip.etag);
        assert!(encode(b"x", Digest::of(b"x")).is_empty());
    }

    #[test]
    fn the_digest_of_the_example_in_rfc_9530() {
        // Section 2 and appendix D: {"title": "hello"} and a line end.
        let value = repr_digest(Digest::of(b"{\"title\": \"hello\"}\n"));
        assert!(value.to_str().expect("text").starts_with("sha-256=:") && value.len() == 54);
        let value = repr_digest(Digest::of(b"{\"hello\": \"world\"}\n"));
        assert_eq!(value, "sha-256=:RK/0qy18MlBSVnWgjwz6lZEWjP/lF5HF9bvEF8FabDg=:");
    }
}
