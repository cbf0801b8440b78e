//! OpenPGP signatures through gpgme: which plaintext a signature covers, and
//! who signed it.
//!
//! Knows nothing of HTTP or storage. What gpgme 1.18 with GnuPG 2.2 answers
//! was measured; three answers shape this module:
//!
//! - For a tampered body gpgme reports "Bad signature" *and returns the
//!   plaintext all the same*: here no plaintext leaves before every signature
//!   is judged.
//! - A summary is empty and a validity unknown for any key outside a web of
//!   trust: a signature is judged by its status alone, against a keyring that
//!   holds nothing but the keys the operator trusts.
//! - Text before or after the signed message is accepted by gpgme and `gpgv`,
//!   but clients that cut from the first `{` would read it: the framing is
//!   checked first, see [`FramingError`].
//! - Text past byte 19,995 of a line is dropped, and spaces before it too, so
//!   that a line made longer keeps its good signature: the file's own text is
//!   compared with the plaintext.

mod engine;
mod framing;
mod home;
mod keyring;
mod memory;

use std::time::SystemTime;

pub use framing::{FramingError, check_clear_signed};
pub use keyring::{Keyring, KeyringError};
pub use memory::{Judgement, Memory, unverified_text};

/// What a set of good signatures covers.
#[derive(Clone, Debug)]
pub struct Verified {
    /// The plaintext, and nothing that was not signed.
    pub plaintext: Vec<u8>,
    /// One for each signature, all of them good.
    pub signers: Vec<Signer>,
}

/// The key that made a signature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signer {
    /// Fingerprint of the primary key, 40 hex digits.
    pub fingerprint: String,
    /// Its first user id.
    pub user_id: String,
    /// When it expires, if ever; of a signature: when the first of primary key,
    /// signing key and signature does.
    pub expires: Option<SystemTime>,
}

/// Why a signed file is not accepted.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// It is not one clear-signed message and nothing else.
    #[error(transparent)]
    Framing(#[from] FramingError),
    /// The content is not what was signed.
    #[error(
        "the signature by key {key} does not match the content: it was changed after it was signed"
    )]
    Bad {
        /// Key id or fingerprint as the signature gives it.
        key: String,
    },
    /// The signing key is not in the keyring.
    #[error("it is signed by key {key}, which is not in the keyring")]
    UnknownKey {
        /// Key id or fingerprint as the signature gives it.
        key: String,
    },
    /// The signing key has expired.
    #[error("it is signed by key {key}, which has expired")]
    ExpiredKey {
        /// Fingerprint.
        key: String,
    },
    /// The signing key was revoked.
    #[error("it is signed by key {key}, which was revoked")]
    RevokedKey {
        /// Fingerprint.
        key: String,
    },
    /// The signature itself has expired.
    #[error("its signature by key {key} has expired")]
    ExpiredSignature {
        /// Fingerprint.
        key: String,
    },
    /// The OpenPGP data is damaged.
    #[error("its signature cannot be read")]
    Malformed(#[source] gpgme::Error),
    /// The keyring cannot be used.
    #[error(transparent)]
    Keyring(#[from] KeyringError),
    /// The engine failed for a reason that says nothing about the file.
    #[error("GnuPG failed while checking it")]
    Engine(#[source] gpgme::Error),
}
