//! A keyring in a private GnuPG home.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{fs, io};

use gpgme::{Context, Protocol};
use tempfile::TempDir;

use super::framing::check_covered;
use super::{Signer, Verified, VerifyError, check_clear_signed};
use crate::simplestreams::{Digest, Hasher};

/// The keys that sign `images.maas.io`, from Debian's `ubuntu-keyring`.
const UBUNTU_CLOUDIMAGE: &[u8] = include_bytes!("../../keys/ubuntu-cloudimage-keyring.gpg");

/// Options of every `gpg` started in a private home. `no-autostart`:
/// verification needs no agent, and none must be left running.
const GPG_CONF: &str = "batch\nno-autostart\nno-auto-key-retrieve\nno-auto-check-trustdb\n\
    trust-model always\nlock-never\n";

/// The keys an operator trusts, imported into a GnuPG home of their own: a
/// private temporary folder, never the user's `~/.gnupg`, gone on drop.
#[derive(Debug)]
pub struct Keyring {
    home: TempDir,
    digest: Digest,
    keys: Vec<Signer>,
    allow_expired: bool,
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
    ///
    /// # Errors
    /// [`KeyringError::Home`] or [`KeyringError::Engine`].
    pub fn builtin() -> Result<Self, KeyringError> {
        Self::import([(
            "the built-in keyring".to_owned(),
            UBUNTU_CLOUDIMAGE.to_vec(),
        )])
    }

    /// The keys of `files` together; each may be binary or armored. No files
    /// means [`Keyring::builtin`].
    ///
    /// # Errors
    /// [`KeyringError`]; a file without a key in it is one.
    pub fn from_files(files: &[PathBuf]) -> Result<Self, KeyringError> {
        if files.is_empty() {
            return Self::builtin();
        }
        let read = |path: &PathBuf| match fs::read(path) {
            Ok(bytes) => Ok((path.display().to_string(), bytes)),
            Err(source) => Err(KeyringError::Read {
                path: path.clone(),
                source,
            }),
        };
        Self::import(files.iter().map(read).collect::<Result<Vec<_>, _>>()?)
    }

    /// Accepts signatures by keys that have expired since. For streams that
    /// nobody signs any more.
    #[must_use]
    pub fn allow_expired(mut self, allow: bool) -> Self {
        self.allow_expired = allow;
        self
    }

    /// The keys in it.
    #[must_use]
    pub fn keys(&self) -> &[Signer] {
        &self.keys
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
        let mut context = context(self.home.path()).map_err(VerifyError::Engine)?;
        let mut plaintext = Vec::with_capacity(file.len());
        let result = context
            .verify_opaque(file, &mut plaintext)
            .map_err(|error| match error.code() {
                code if code == gpgme::Error::NO_DATA.code() => VerifyError::Malformed(error),
                code if code == gpgme::Error::BAD_DATA.code() => VerifyError::Malformed(error),
                _ => VerifyError::Engine(error),
            })?;
        let mut signers = Vec::new();
        for signature in result.signatures() {
            signers.push(self.judge(&mut context, &signature)?);
        }
        if signers.is_empty() {
            return Err(VerifyError::Malformed(gpgme::Error::NO_DATA));
        }
        check_covered(file, &plaintext)?;
        Ok(Verified { plaintext, signers })
    }

    fn judge(
        &self,
        context: &mut Context,
        signature: &gpgme::Signature<'_>,
    ) -> Result<Signer, VerifyError> {
        let key = signature.fingerprint().unwrap_or("(unknown)").to_owned();
        match signature.status() {
            Ok(()) => {}
            Err(error) => {
                let is = |known: gpgme::Error| error.code() == known.code();
                if is(gpgme::Error::BAD_SIGNATURE) {
                    return Err(VerifyError::Bad { key });
                } else if is(gpgme::Error::NO_PUBKEY) {
                    return Err(VerifyError::UnknownKey { key });
                } else if is(gpgme::Error::CERT_REVOKED) {
                    return Err(VerifyError::RevokedKey { key });
                } else if is(gpgme::Error::SIG_EXPIRED) {
                    return Err(VerifyError::ExpiredSignature { key });
                } else if !is(gpgme::Error::KEY_EXPIRED) {
                    return Err(VerifyError::Malformed(error));
                } else if !self.allow_expired {
                    return Err(VerifyError::ExpiredKey { key });
                }
            }
        }
        match context.get_key(key.as_str()) {
            Ok(found) => Ok(signer(&found)),
            Err(_) => Err(VerifyError::UnknownKey { key }),
        }
    }

    fn import(sources: impl IntoIterator<Item = (String, Vec<u8>)>) -> Result<Self, KeyringError> {
        let home = tempfile::Builder::new()
            .prefix("maas-mirror-keys-")
            .tempdir()
            .map_err(KeyringError::Home)?;
        fs::write(home.path().join("gpg.conf"), GPG_CONF).map_err(KeyringError::Home)?;
        let mut context = context(home.path()).map_err(KeyringError::Engine)?;
        let mut hasher = Hasher::default();
        for (name, bytes) in sources {
            // GnuPG answers a file without keys with an error or with nothing
            // considered, depending on what is in it.
            let considered = context
                .import(bytes.as_slice())
                .map_or(0, |result| result.considered());
            if considered == 0 {
                return Err(KeyringError::NoKeys(name));
            }
            hasher.update(Digest::of(&bytes).as_bytes());
        }
        let keys = context
            .keys()
            .map_err(KeyringError::Engine)?
            .filter_map(Result::ok)
            .map(|key| signer(&key))
            .collect();
        Ok(Self {
            home,
            digest: hasher.finish(),
            keys,
            allow_expired: false,
        })
    }
}

/// A context on the GnuPG home `home`. Contexts cannot move between threads,
/// so each call makes its own; that costs microseconds.
fn context(home: &Path) -> gpgme::Result<Context> {
    let mut context = Context::from_protocol(Protocol::OpenPgp)?;
    context.set_engine_home_dir(home.to_string_lossy().into_owned())?;
    context.set_offline(true);
    Ok(context)
}

fn signer(key: &gpgme::Key) -> Signer {
    let mut user_id = String::new();
    if let Some(Ok(id)) = key.user_ids().next().map(|id| id.id().map(str::to_owned)) {
        let _ = write!(user_id, "{}", id.escape_debug());
    }
    Signer {
        fingerprint: key.fingerprint().unwrap_or_default().to_owned(),
        user_id,
        expires: key
            .primary_key()
            .and_then(|primary| primary.expiration_time()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_builtin_keyring_holds_ubuntus_two_keys() {
        let keyring = Keyring::builtin().expect("keyring");
        let mut fingerprints: Vec<_> = keyring
            .keys()
            .iter()
            .map(|k| k.fingerprint.as_str())
            .collect();
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
        let error = Keyring::from_files(&[file.path().to_owned()]).expect_err("no keys");
        assert!(
            error
                .to_string()
                .contains(&file.path().display().to_string()),
            "{error}"
        );
    }
}
