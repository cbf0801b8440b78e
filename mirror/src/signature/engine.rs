//! GnuPG, on a thread of its own.

use std::path::Path;
use std::sync::mpsc::{self, Receiver, SyncSender};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime};

use gpgme::{Context, Protocol};

use super::{KeyringError, Signer, Verified, VerifyError, home};

/// Options of every `gpg` started in a private home. `no-autostart`:
/// verification needs no agent, and none must be left running.
const GPG_CONF: &str = "batch\nno-autostart\nno-auto-key-retrieve\nno-auto-check-trustdb\n\
    trust-model always\nlock-never\n";

/// No file takes GnuPG nearly as long.
const PATIENCE: Duration = Duration::from_secs(120);

/// A GnuPG home with the keys of one keyring in it, and the thread that alone
/// talks to it.
///
/// A gpgme context cannot move between threads, and making one starts
/// `gpg --version`: one context for all files saves a process for each. The
/// home is a private temporary folder, gone when this is dropped.
#[derive(Debug)]
pub(super) struct Engine {
    jobs: Option<SyncSender<Job>>,
    thread: Option<JoinHandle<()>>,
    keys: Vec<Key>,
}

/// A key of the keyring.
#[derive(Clone, Debug)]
struct Key {
    signer: Signer,
    /// Fingerprint and expiry of the primary key and its subkeys, any of which
    /// may sign.
    parts: Vec<(String, Option<SystemTime>)>,
}

/// A file to judge, and where the answer goes.
struct Job {
    file: Vec<u8>,
    answer: SyncSender<Answer>,
}

/// The plaintext, not to be looked at before every signature is judged.
type Answer = Result<(Vec<u8>, Vec<Judged>), gpgme::Error>;

/// A signature, as gpgme judges it.
struct Judged {
    key: String,
    status: Result<(), gpgme::Error>,
    expires: Option<SystemTime>,
}

impl Engine {
    /// Imports `sources` (a name for messages, and the bytes of a keyring).
    pub(super) fn start(sources: Vec<(String, Vec<u8>)>) -> Result<Self, KeyringError> {
        let (jobs, receiver) = mpsc::sync_channel(0);
        let (ready, started) = mpsc::sync_channel(1);
        let thread = std::thread::Builder::new()
            .name("gnupg".into())
            .spawn(move || work(&sources, &ready, &receiver))
            .map_err(KeyringError::Home)?;
        // The thread answers once, whatever happens; a panic closes the channel.
        let keys = started.recv_timeout(PATIENCE);
        let keys = keys.unwrap_or(Err(KeyringError::Engine(gpgme::Error::TIMEOUT)))?;
        Ok(Self { jobs: Some(jobs), thread: Some(thread), keys })
    }

    pub(super) fn keys(&self) -> impl Iterator<Item = &Signer> {
        self.keys.iter().map(|key| &key.signer)
    }

    /// Judges a file whose framing was checked. Every signature in it must be
    /// good; until then the plaintext is not looked at.
    pub(super) fn verify(&self, file: &[u8], allow_expired: bool) -> Result<Verified, VerifyError> {
        let (plaintext, judged) = self.ask(file.to_vec()).map_err(|error| {
            let malformed = [gpgme::Error::NO_DATA, gpgme::Error::BAD_DATA];
            match malformed.iter().any(|known| known.code() == error.code()) {
                true => VerifyError::Malformed(error),
                false => VerifyError::Engine(error),
            }
        })?;
        if judged.is_empty() {
            return Err(VerifyError::Malformed(gpgme::Error::NO_DATA));
        }
        let judge = |judged| self.judge(judged, allow_expired);
        let signers = judged.into_iter().map(judge).collect::<Result<_, _>>()?;
        Ok(Verified { plaintext, signers })
    }

    fn ask(&self, file: Vec<u8>) -> Answer {
        let (answer, answered) = mpsc::sync_channel(1);
        let sent = self.jobs.as_ref().and_then(|jobs| jobs.send(Job { file, answer }).ok());
        match sent.map(|()| answered.recv_timeout(PATIENCE)) {
            Some(Ok(result)) => result,
            _ => Err(gpgme::Error::TIMEOUT),
        }
    }

    fn judge(&self, judged: Judged, allow_expired: bool) -> Result<Signer, VerifyError> {
        let Judged { key, status, expires } = judged;
        if let Err(error) = status {
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
            } else if !allow_expired {
                return Err(VerifyError::ExpiredKey { key });
            }
        }
        // A bad signature names its key by id, a good one by fingerprint.
        let parts = self.keys.iter().flat_map(|key| key.parts.iter().map(move |part| (key, part)));
        let mut parts = parts.filter(|(_, (fingerprint, _))| *fingerprint == key);
        let Some((known, (_, part_expires))) = parts.next() else {
            return Err(VerifyError::UnknownKey { key });
        };
        let mut signer = known.signer.clone();
        // The first of primary key, signing key and signature to expire.
        signer.expires = [signer.expires, *part_expires, expires].into_iter().flatten().min();
        Ok(signer)
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.jobs = None;
        // So that the home is gone when this is.
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// The thread: sets up, answers once on `ready`, then judges file after file.
fn work(
    sources: &[(String, Vec<u8>)],
    ready: &SyncSender<Result<Vec<Key>, KeyringError>>,
    jobs: &Receiver<Job>,
) {
    let (home, _lock) = match home::make(GPG_CONF) {
        Ok(made) => made,
        Err(error) => return drop(ready.send(Err(KeyringError::Home(error)))),
    };
    let mut context = match import(home.path(), sources) {
        Ok((context, keys)) => {
            if ready.send(Ok(keys)).is_err() {
                return;
            }
            context
        }
        Err(error) => return drop(ready.send(Err(error))),
    };
    while let Ok(Job { file, answer }) = jobs.recv() {
        let mut plaintext = Vec::with_capacity(file.len());
        let result = context.verify_opaque(file, &mut plaintext).map(|result| {
            let judged = result.signatures().map(|signature| Judged {
                key: signature.fingerprint().unwrap_or("(unknown)").to_owned(),
                status: signature.status(),
                expires: signature.expiration_time(),
            });
            judged.collect::<Vec<_>>()
        });
        // Whoever asked may have given up.
        let _ = answer.send(result.map(|judged| (plaintext, judged)));
    }
}

fn import(home: &Path, sources: &[(String, Vec<u8>)]) -> Result<(Context, Vec<Key>), KeyringError> {
    let mut context = Context::from_protocol(Protocol::OpenPgp).map_err(KeyringError::Engine)?;
    let home = home.to_string_lossy().into_owned();
    context.set_engine_home_dir(home).map_err(KeyringError::Engine)?;
    context.set_offline(true);
    for (name, bytes) in sources {
        // GnuPG answers a file without keys with an error or with nothing
        // considered, depending on what is in it.
        let considered = context.import(bytes.as_slice()).map_or(0, |result| result.considered());
        if considered == 0 {
            return Err(KeyringError::NoKeys(name.clone()));
        }
    }
    let keys = context.keys().map_err(KeyringError::Engine)?;
    let keys = keys.filter_map(Result::ok).map(|key| describe(&key)).collect();
    Ok((context, keys))
}

fn describe(key: &gpgme::Key) -> Key {
    let user_id = key.user_ids().next().and_then(|id| id.id().ok().map(str::to_owned));
    let part =
        |sub: gpgme::Subkey<'_>| Some((sub.fingerprint().ok()?.to_owned(), sub.expiration_time()));
    let expires = key.primary_key().and_then(|primary| primary.expiration_time());
    Key {
        signer: Signer {
            fingerprint: key.fingerprint().unwrap_or_default().to_owned(),
            user_id: user_id.unwrap_or_default().escape_debug().to_string(),
            expires,
        },
        parts: key.subkeys().filter_map(part).collect(),
    }
}
