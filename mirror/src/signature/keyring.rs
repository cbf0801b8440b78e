//! The keys an operator trusts.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::{fs, io};

use super::engine::Engine;
use super::framing::check_covered;
use super::{Signer, Verified, VerifyError, check_clear_signed};
use crate::simplestreams::{Digest, Hasher};

/// The keys that sign `images.maas.io`, from Debian's `ubuntu-keyring`.
const UBUNTU_CLOUDIMAGE: &[u8] = include_bytes!("../../keys/ubuntu-cloudimage-keyring.gpg");

/// The keys an operator trusts.
///
/// They are imported into a private GnuPG home, never the user's `~/.gnupg`,
/// when the first file is judged: a run whose files were all judged before
/// starts no `gpg` at all.
#[derive(Debug)]
pub struct Keyring {
    /// A name for messages, and the bytes, of each keyring file.
    sources: Vec<(String, Vec<u8>)>,
    digest: Digest,
    allow_expired: bool,
    engine: Mutex<Option<Arc<Engine>>>,
}

/// Why a keyring cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyringError {
    /// A keyring file cannot be read.
    #[error("cannot read the keyring {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// A file without a public key in it.
    #[error("there is no OpenPGP public key in {0}")]
    NoKeys(String),
    /// The private folder cannot be made.
    #[error("cannot make a private folder for the keyring")]
    Home(#[source] io::Error),
    /// GnuPG is missing or does not work.
    #[error("GnuPG cannot be used")]
    Engine(#[source] gpgme::Error),
}

impl Keyring {
    /// The keyring that comes with the program: Ubuntu's cloud image keys.
    #[must_use]
    pub fn builtin() -> Self {
        Self::new(vec![("the built-in keyring".to_owned(), UBUNTU_CLOUDIMAGE.to_vec())])
    }

    /// The keys of `files` together; each may be binary or armored. No files
    /// means [`Keyring::builtin`].
    ///
    /// # Errors
    /// [`KeyringError::Read`]. That a file holds no key is known once GnuPG
    /// has looked at it: see [`Keyring::keys`].
    pub fn from_files(files: &[PathBuf]) -> Result<Self, KeyringError> {
        if files.is_empty() {
            return Ok(Self::builtin());
        }
        let read = |path: &PathBuf| match fs::read(path) {
            Ok(bytes) => Ok((path.display().to_string(), bytes)),
            Err(source) => Err(KeyringError::Read { path: path.clone(), source }),
        };
        Ok(Self::new(files.iter().map(read).collect::<Result<_, _>>()?))
    }

    fn new(sources: Vec<(String, Vec<u8>)>) -> Self {
        let mut hasher = Hasher::default();
        for (_, bytes) in &sources {
            hasher.update(Digest::of(bytes).as_bytes());
        }
        let digest = hasher.finish();
        Self { sources, digest, allow_expired: false, engine: Mutex::default() }
    }

    /// Accepts signatures by keys that have expired since. For streams that
    /// nobody signs any more.
    #[must_use]
    pub fn allow_expired(mut self, allow: bool) -> Self {
        self.allow_expired = allow;
        self
    }

    /// The keys in it.
    ///
    /// # Errors
    /// [`KeyringError`]; a file without a key in it is one.
    pub fn keys(&self) -> Result<Vec<Signer>, KeyringError> {
        Ok(self.engine()?.keys().cloned().collect())
    }

    /// A digest over its content, the same for the same files.
    #[must_use]
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// Checks a clear-signed file: one message, every signature good and by a
    /// key of this keyring. Starts `gpg` and blocks for some milliseconds.
    ///
    /// # Errors
    /// [`VerifyError`] tells the cases apart.
    pub fn verify(&self, file: &[u8]) -> Result<Verified, VerifyError> {
        check_clear_signed(file)?;
        let verified = self.engine()?.verify(file, self.allow_expired)?;
        check_covered(file, &verified.plaintext)?;
        Ok(verified)
    }

    fn engine(&self) -> Result<Arc<Engine>, KeyringError> {
        let mut engine = self.engine.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(engine) = engine.as_ref() {
            return Ok(Arc::clone(engine));
        }
        let started = Arc::new(Engine::start(self.sources.clone())?);
        *engine = Some(Arc::clone(&started));
        Ok(started)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_builtin_keyring_holds_ubuntus_two_keys() {
        let keys = Keyring::builtin().keys().expect("keys");
        let mut fingerprints: Vec<_> = keys.iter().map(|key| key.fingerprint.as_str()).collect();
        fingerprints.sort_unstable();
        assert_eq!(
            fingerprints,
            [
                "4A3CE3CD565D7EB5C810E2B97FF3F408476CF100",
                "D2EB44626FDDC30B513D5BB71A5D6C4C7DB87C81"
            ]
        );
    }

    #[test]
    fn a_file_without_keys_is_named() {
        let file = tempfile::NamedTempFile::new().expect("file");
        fs::write(file.path(), "hello").expect("write");
        let keyring = Keyring::from_files(&[file.path().to_owned()]).expect("readable");
        let error = keyring.keys().expect_err("no keys");
        assert!(error.to_string().contains(&file.path().display().to_string()), "{error}");
    }
}
