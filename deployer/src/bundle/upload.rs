//! One blob on its way into a registry.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read as _};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use oci::client::FetchError;
use oci::digest::{Digest, Hasher};
use oci::reader::{LayoutReader, Piece};
use oci::registry::{Target, Upload};
use tokio::sync::mpsc;

use super::read::Pushable;
use super::{BundleError, Event, Observer};

/// Bytes read at a time.
const CHUNK: usize = 256 * 1024;

/// Pieces between the disk and the network of one upload.
const QUEUE: usize = 4;

/// What a request is about.
#[derive(Clone, Copy)]
pub(super) struct Call<'a> {
    pub(super) of: &'a str,
    pub(super) target: &'a Target,
    pub(super) observer: &'a dyn Observer,
}

impl Call<'_> {
    /// Tries again where that may help.
    pub(super) async fn retrying<T, F: Future<Output = Result<T, FetchError>>>(
        &self,
        attempt: impl Fn() -> F,
    ) -> Result<T, BundleError> {
        let on_retry = |error: &FetchError, pause: Duration| {
            self.observer.event(&Event::Retrying { of: self.of, error, pause });
        };
        let result = self.target.retry_policy().run(on_retry, attempt).await;
        result.map_err(|error| BundleError::fetch(self.of, error))
    }

    /// Brings one blob there: from another repository of the registry where it has
    /// it, else from the bundle, over as many tries as it may take.
    pub(super) async fn blob(
        &self,
        reader: &LayoutReader,
        here: &Here,
        digest: Digest,
        size: u64,
    ) -> Result<(), BundleError> {
        let Call { of, target, observer } = *self;
        observer.event(&Event::Started { digest, of, size });
        let mounted = match here.repository(&digest) {
            Some(from) => self.retrying(|| target.mount_blob(&digest, &from)).await?,
            None => false,
        };
        if mounted {
            observer.event(&Event::Moved { digest, done: size });
            observer.event(&Event::Finished { digest });
            return Ok(());
        }
        let mut backoff = target.retry_policy().start();
        let mut has_login = false;
        loop {
            let error = match self.upload(reader, digest, size).await? {
                Ok(Upload::Done) => break,
                Ok(Upload::LoggedIn) if !has_login => {
                    has_login = true;
                    continue;
                }
                Ok(Upload::LoggedIn) => {
                    let registry = target.reference().registry().to_owned();
                    FetchError::Unauthorized { registry, file: None }
                }
                Err(error) => error,
            };
            let Some(pause) = backoff.next(&error) else {
                return Err(BundleError::fetch(of, error));
            };
            observer.event(&Event::Retrying { of, error: &error, pause });
            tokio::time::sleep(pause).await;
            observer.event(&Event::Started { digest, of, size });
        }
        observer.event(&Event::Finished { digest });
        Ok(())
    }

    /// Sends a blob, once.
    async fn upload(
        &self,
        reader: &LayoutReader,
        digest: Digest,
        size: u64,
    ) -> Result<Result<Upload, FetchError>, BundleError> {
        let unreadable =
            |source| BundleError::Unreadable { path: reader.path().to_owned(), source };
        let piece = reader.open_blob(&digest).map_err(unreadable)?;
        let (sender, receiver) = mpsc::channel(QUEUE);
        let (moved, mut seen) = mpsc::unbounded_channel();
        let reading = tokio::task::spawn_blocking(move || send(piece, digest, &sender, &moved));
        let content = futures_util::stream::unfold(receiver, |mut receiver| async {
            Some((receiver.recv().await?, receiver))
        });
        let sent = self.target.put_blob(&digest, size, content);
        tokio::pin!(sent);
        let sent = loop {
            tokio::select! {
                sent = &mut sent => break sent,
                Some(done) = seen.recv() => {
                    self.observer.event(&Event::Moved { digest, done });
                }
            }
        };
        match reading.await.map_err(BundleError::Task)? {
            Ok(true) => Ok(sent),
            Ok(false) => Err(BundleError::Damaged { of: self.of.to_owned(), digest }),
            Err(error) => Err(BundleError::io("read", reader.path(), error)),
        }
    }
}

/// Which repository has which blob, of those that this run has seen.
#[derive(Debug, Default)]
pub(super) struct Here(Mutex<BTreeMap<String, BTreeSet<Digest>>>);

impl Here {
    pub(super) fn note(&self, repository: &str, what: &Pushable) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let blobs = what.blobs.iter().map(|(digest, _)| *digest);
        all.entry(repository.to_owned()).or_default().extend(blobs);
    }

    fn repository(&self, digest: &Digest) -> Option<String> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.iter().find(|(_, blobs)| blobs.contains(digest)).map(|(name, _)| name.clone())
    }
}

/// Reads a blob and hashes it, on a thread that may wait. The last piece is given
/// out when the digest holds. Whether it does; also `true` where nobody takes the
/// bytes any more, who then says why.
fn send(
    mut piece: Piece,
    digest: Digest,
    sender: &mpsc::Sender<io::Result<Bytes>>,
    moved: &mpsc::UnboundedSender<u64>,
) -> io::Result<bool> {
    let (mut hasher, mut done, mut held_back) = (Hasher::default(), 0, None);
    loop {
        let mut buffer = vec![0; CHUNK];
        let read = match piece.read(&mut buffer) {
            Ok(read) => read,
            Err(error) => {
                let _ = sender.blocking_send(Err(error.kind().into()));
                return Err(error);
            }
        };
        if read == 0 {
            break;
        }
        buffer.truncate(read);
        hasher.update(&buffer);
        done += read as u64;
        if let Some(piece) = held_back.replace(Bytes::from(buffer)) {
            if sender.blocking_send(Ok(piece)).is_err() {
                return Ok(true);
            }
            let _ = moved.send(done);
        }
    }
    if hasher.finish() != digest {
        let _ = sender.blocking_send(Err(io::ErrorKind::InvalidData.into()));
        return Ok(false);
    }
    if let Some(piece) = held_back {
        let _ = sender.blocking_send(Ok(piece));
    }
    Ok(true)
}
