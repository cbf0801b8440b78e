//! The text of a record: JSON, gzip, base64. (The Secret's own base64 comes on top.)

use std::io::{self, Read as _, Write as _};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;

use super::Release;

/// What the API server takes as the data of one Secret, in bytes.
const SECRET_LIMIT: usize = 1024 * 1024;
/// More than any record has when unpacked, in bytes: a Secret's data cannot
/// pack what is larger than this into what it may have, but by malice.
const UNPACKED_LIMIT: u64 = 64 * 1024 * 1024;

/// Why a record cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// It is no base64.
    #[error("it is not base64")]
    Base64(#[source] base64::DecodeError),
    /// It cannot be unpacked.
    #[error("it cannot be unpacked")]
    Gzip(#[source] io::Error),
    /// It is larger than any record.
    #[error("it is more than {} MiB when unpacked", UNPACKED_LIMIT / 1024 / 1024)]
    Unpacked,
    /// It is not the JSON that Helm writes.
    #[error("it is not the JSON of a release")]
    Json(#[source] serde_json::Error),
    /// It does not fit into a Secret.
    #[error("the record has {size} bytes, and a Secret takes {SECRET_LIMIT} at most")]
    TooLarge {
        /// How many it has.
        size: usize,
    },
}

/// The text of a record.
///
/// # Errors
/// [`RecordError`] where it does not fit into a Secret.
pub fn encode(release: &Release) -> Result<String, RecordError> {
    let json = serde_json::to_vec(release).map_err(RecordError::Json)?;
    let mut packed = GzEncoder::new(Vec::new(), Compression::best());
    let packed =
        packed.write_all(&json).and_then(|()| packed.finish()).map_err(RecordError::Gzip)?;
    let text = STANDARD.encode(packed);
    if text.len() > SECRET_LIMIT {
        return Err(RecordError::TooLarge { size: text.len() });
    }
    Ok(text)
}

/// The release that a record's text holds.
///
/// # Errors
/// [`RecordError`].
pub fn decode(text: &[u8]) -> Result<Release, RecordError> {
    let bytes = STANDARD.decode(text).map_err(RecordError::Base64)?;
    // The first versions of Helm did not pack.
    if !bytes.starts_with(&[0x1f, 0x8b, 0x08]) {
        return serde_json::from_slice(&bytes).map_err(RecordError::Json);
    }
    serde_json::from_slice(&unpacked(&bytes, UNPACKED_LIMIT)?).map_err(RecordError::Json)
}

fn unpacked(bytes: &[u8], limit: u64) -> Result<Vec<u8>, RecordError> {
    let mut plain = Vec::new();
    let mut reader = GzDecoder::new(bytes).take(limit + 1);
    reader.read_to_end(&mut plain).map_err(RecordError::Gzip)?;
    if plain.len() as u64 > limit { Err(RecordError::Unpacked) } else { Ok(plain) }
}

#[cfg(test)]
mod tests {
    use super::super::{Candidate, Status};
    use super::*;

    fn release(manifest: String) -> Release {
        let candidate = Candidate { manifest, ..Candidate::default() };
        Release::next("maas", "ns", &candidate, None, Status::PendingInstall, "x")
    }

    #[test]
    fn a_record_comes_back() {
        let text = encode(&release("kind: Ä\n".into())).unwrap();
        let back = decode(text.as_bytes()).unwrap();
        assert_eq!(back.manifest, "kind: Ä\n");
        assert_eq!((back.version, back.info.status), (1, Status::PendingInstall));
        assert_eq!(back.info.first_deployed, back.info.last_deployed);
        let plain = STANDARD.encode(serde_json::to_vec(&back).unwrap());
        assert_eq!(decode(plain.as_bytes()).unwrap().name, "maas");
    }

    #[test]
    fn what_does_not_fit_is_told() {
        use rand::RngExt as _;
        let mut random = rand::rng();
        let noise: String =
            (0..1_200_000).map(|_| char::from(random.random_range(b'!'..=b'~'))).collect();
        let error = encode(&release(noise)).unwrap_err();
        assert!(error.to_string().ends_with("a Secret takes 1048576 at most"), "{error}");
    }

    #[test]
    fn a_record_that_grows_without_end_is_not_unpacked() {
        let text = encode(&release("a".repeat(100_000))).unwrap();
        let bytes = STANDARD.decode(text).unwrap();
        assert!(matches!(unpacked(&bytes, 100_000), Err(RecordError::Unpacked)));
        assert!(unpacked(&bytes, 200_000).is_ok());
    }

    #[test]
    fn what_is_no_record_is_told() {
        assert!(matches!(decode(b"!"), Err(RecordError::Base64(_))));
        assert!(matches!(decode(b"e30="), Err(RecordError::Json(_))));
        let cut = STANDARD.encode([0x1f, 0x8b, 0x08, 0, 0]);
        assert!(matches!(decode(cut.as_bytes()), Err(RecordError::Gzip(_))));
    }
}
