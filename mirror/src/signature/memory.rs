//! What has been judged before.
//!
//! GnuPG takes some hundred milliseconds for a stream, and metadata seldom
//! changes: bytes that were judged good under one keyring are good under the
//! same keyring, as long as the signing key has not expired since.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use super::{Keyring, Signer, Verified, VerifyError, check_clear_signed};
use crate::simplestreams::Digest;

/// Files that a keyring has judged good, by the digest of their bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Memory {
    keyring: Option<Digest>,
    files: BTreeMap<String, Remembered>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Remembered {
    /// Digest of the plaintext that GnuPG gave.
    plaintext: Digest,
    signers: Vec<RememberedSigner>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct RememberedSigner {
    fingerprint: String,
    user_id: String,
    /// Seconds since the epoch.
    expires: Option<u64>,
}

impl Memory {
    /// What is remembered of `file`, if it was judged good under `keyring` and
    /// no key that signed it has expired since.
    #[must_use]
    pub fn recall(&self, keyring: &Keyring, file: &[u8]) -> Option<Verified> {
        if self.keyring != Some(keyring.digest()) {
            return None;
        }
        let remembered = self.files.get(&Digest::of(file).to_string())?;
        let signers: Vec<Signer> =
            remembered.signers.iter().map(RememberedSigner::signer).collect();
        let now = SystemTime::now();
        if signers.iter().any(|signer| signer.expires.is_some_and(|expires| expires <= now)) {
            return None;
        }
        // Cut by ourselves, and only if that gives what GnuPG gave.
        let plaintext = cut(file)?;
        (Digest::of(&plaintext) == remembered.plaintext).then_some(Verified { plaintext, signers })
    }

    /// The keys that signed these files, each once.
    #[must_use]
    pub fn signers(&self) -> Vec<Signer> {
        let all = self.files.values().flat_map(|file| &file.signers);
        let once: BTreeMap<&String, &RememberedSigner> =
            all.map(|signer| (&signer.fingerprint, signer)).collect();
        once.into_values().map(RememberedSigner::signer).collect()
    }

    /// Judges `file`, by memory or by GnuPG.
    ///
    /// # Errors
    /// As [`Keyring::verify`].
    pub fn verify(&self, keyring: &Keyring, file: &[u8]) -> Result<Verified, VerifyError> {
        match self.recall(keyring, file) {
            Some(verified) => Ok(verified),
            None => keyring.verify(file),
        }
    }

    /// A memory of exactly these files, each with what [`Memory::verify`]
    /// gave: what is no longer published is forgotten.
    #[must_use]
    pub fn of<'a>(keyring: &Keyring, files: impl Iterator<Item = (Digest, &'a Judgement)>) -> Self {
        let files = files.map(|(digest, judgement)| {
            let signers = judgement.signers.iter().map(RememberedSigner::of).collect();
            (digest.to_string(), Remembered { plaintext: judgement.plaintext, signers })
        });
        Self { keyring: Some(keyring.digest()), files: files.collect() }
    }
}

/// What is kept of a [`Verified`] file when its plaintext is done with.
#[derive(Clone, Debug)]
pub struct Judgement {
    /// Digest of the plaintext.
    pub plaintext: Digest,
    /// Who signed it.
    pub signers: Vec<Signer>,
}

impl From<&Verified> for Judgement {
    fn from(verified: &Verified) -> Self {
        Self { plaintext: Digest::of(&verified.plaintext), signers: verified.signers.clone() }
    }
}

impl RememberedSigner {
    fn of(signer: &Signer) -> Self {
        let since = |time: SystemTime| time.duration_since(SystemTime::UNIX_EPOCH).ok();
        Self {
            fingerprint: signer.fingerprint.clone(),
            user_id: signer.user_id.clone(),
            expires: signer.expires.and_then(since).map(|duration| duration.as_secs()),
        }
    }

    fn signer(&self) -> Signer {
        let time = |seconds| SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(seconds));
        Signer {
            fingerprint: self.fingerprint.clone(),
            user_id: self.user_id.clone(),
            expires: self.expires.and_then(time),
        }
    }
}

/// What a clear-signed file says, without asking who signed it: to tell people
/// of, never to rely on. `None` where it is no clear-signed message.
#[must_use]
pub fn unverified_text(file: &[u8]) -> Option<Vec<u8>> {
    cut(file)
}

/// The text of a clear-signed file, its dashes unescaped (RFC 4880 section
/// 7.1), as GnuPG writes it: with the line end before the signature.
fn cut(file: &[u8]) -> Option<Vec<u8>> {
    check_clear_signed(file).ok()?;
    let text = std::str::from_utf8(file).ok()?;
    let (_, body) = text.split_once("\n\n")?;
    let end = body.find("-----BEGIN PGP SIGNATURE-----")?;
    let mut plaintext = Vec::with_capacity(end);
    for line in body.get(..end)?.split_inclusive('\n') {
        plaintext.extend_from_slice(line.strip_prefix("- ").unwrap_or(line).as_bytes());
    }
    Some(plaintext)
}
