//! Items straight from an upstream, for an export that keeps no store.
//!
//! An item goes from the network into the archive as it comes. A connection
//! that breaks is resumed at the byte at which it broke; the digest of the
//! whole is checked where it is packed, so that other bytes end the export. An
//! item that is cut for parts must be hashed before its first part is begun:
//! it waits in a temporary file beside the target until its last range is out.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read, Seek as _, SeekFrom, Write as _};
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use tokio::runtime::Handle;
use tokio::sync::mpsc;

use super::export::hash_ranges;
use super::{BundleError, Items, Piece, Plan, Range};
use crate::simplestreams::Digest;
use crate::sync::{Event, Observer};
use crate::upstream::{FetchError, Resume, Upstream};

/// Pieces between the network and the archive; each is what one read of a
/// socket gave.
const QUEUE: usize = 64;

/// A download that got this much further starts counting its retries anew.
const PROGRESS: u64 = 64 * 1024;

/// The items of an upstream.
#[derive(Debug)]
pub struct UpstreamItems {
    upstream: Upstream,
    runtime: Handle,
    observer: Arc<dyn Observer>,
    /// Where items that are cut wait: beside the target.
    folder: PathBuf,
    waiting: BTreeMap<Digest, File>,
}

impl UpstreamItems {
    /// Fetches on `runtime`; `folder` takes the items that are cut.
    #[must_use]
    pub fn new(
        upstream: Upstream,
        runtime: Handle,
        observer: Arc<dyn Observer>,
        folder: PathBuf,
    ) -> Self {
        Self { upstream, runtime, observer, folder, waiting: BTreeMap::new() }
    }

    fn fetch(&self, piece: &Piece) -> Feed {
        let (sender, receiver) = mpsc::channel(QUEUE);
        let fetch = Fetch {
            upstream: self.upstream.clone(),
            observer: Arc::clone(&self.observer),
            piece: piece.clone(),
            sender,
        };
        self.runtime.spawn(fetch.run());
        Feed { receiver, rest: Bytes::new(), piece: piece.clone() }
    }
}

impl Items for UpstreamItems {
    fn open(&mut self, piece: &Piece) -> Result<Box<dyn Read + Send>, BundleError> {
        let Some(range) = piece.range else {
            return Ok(Box::new(self.fetch(piece)));
        };
        let last = range.offset + piece.size == range.size;
        let failed = |error| BundleError::io("read", &self.folder, error);
        let waiting = self.waiting.get(&range.whole);
        let mut file = match waiting.map(File::try_clone) {
            Some(file) => file.map_err(failed)?,
            None => return Err(failed(io::ErrorKind::NotFound.into())),
        };
        file.seek(SeekFrom::Start(range.offset)).map_err(failed)?;
        if last {
            self.waiting.remove(&range.whole);
        }
        Ok(Box::new(file))
    }

    fn hash(
        &mut self,
        piece: &Piece,
        ranges: &[Range],
    ) -> Result<BTreeMap<u64, Digest>, BundleError> {
        let failed = |error| BundleError::io("write beside the target in", &self.folder, error);
        // It has no name: nothing of it is left however the run ends.
        let mut file = tempfile::tempfile_in(&self.folder).map_err(failed)?;
        let whole = Piece { size: piece.whole_size(), range: None, ..piece.clone() };
        let mut feed = self.fetch(&whole);
        let mut buffer = vec![0; 256 * 1024];
        loop {
            let read = match feed.read(&mut buffer) {
                Ok(read) => read,
                Err(error) => return Err(error.downcast().unwrap_or_else(failed)),
            };
            let Some(bytes) = buffer.get(..read).filter(|bytes| !bytes.is_empty()) else {
                break;
            };
            file.write_all(bytes).map_err(failed)?;
        }
        file.rewind().map_err(failed)?;
        let again = file.try_clone().map_err(failed)?;
        let hashes = hash_ranges(piece, again, &self.folder, ranges)?;
        self.waiting.insert(piece.whole(), file);
        Ok(hashes)
    }

    fn waiting(&self, plan: &Plan) -> u64 {
        plan.most_cut()
    }

    fn wrong(&self, piece: &Piece) -> BundleError {
        BundleError::Upstream { path: piece.path.clone(), digest: piece.whole() }
    }
}

/// The bytes of one item, read by a thread that may wait.
struct Feed {
    receiver: mpsc::Receiver<Result<Bytes, FetchError>>,
    rest: Bytes,
    piece: Piece,
}

impl Feed {
    fn lost(&self, source: FetchError) -> BundleError {
        BundleError::Fetch { path: self.piece.path.clone(), source: Box::new(source) }
    }
}

impl Read for Feed {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.rest.is_empty() {
            match self.receiver.blocking_recv() {
                None => return Ok(0),
                Some(Ok(bytes)) => self.rest = bytes,
                Some(Err(error)) => return Err(io::Error::other(self.lost(error))),
            }
        }
        let length = self.rest.len().min(buffer.len());
        let now = self.rest.split_to(length);
        buffer.iter_mut().zip(&now).for_each(|(to, from)| *to = *from);
        Ok(length)
    }
}

/// One item on its way.
struct Fetch {
    upstream: Upstream,
    observer: Arc<dyn Observer>,
    piece: Piece,
    sender: mpsc::Sender<Result<Bytes, FetchError>>,
}

impl Fetch {
    async fn run(self) {
        if let Err(error) = self.stream().await {
            // Nobody waits for it where the export has failed already.
            let _ = self.sender.send(Err(error)).await;
        }
    }

    /// Sends every byte once, over as many connections as it takes.
    async fn stream(&self) -> Result<(), FetchError> {
        let Piece { path, size, .. } = &self.piece;
        let mut backoff = self.upstream.retry_policy().start();
        let mut resume = Resume::default();
        let (mut sent, mut furthest) = (0_u64, 0_u64);
        while sent < *size {
            resume.from = sent;
            let before = sent;
            let error = match self.once(&mut resume, &mut sent).await {
                Ok(()) if sent == *size || self.sender.is_closed() => return Ok(()),
                // It ended early and in good order, with something more: on.
                Ok(()) if sent >= before + PROGRESS => continue,
                // The packer finds that it is too short.
                Ok(()) => return Ok(()),
                Err(error) => error,
            };
            if sent >= furthest + PROGRESS {
                furthest = sent;
                backoff.progressed();
            }
            let Some(pause) = backoff.next(&error) else {
                return Err(error);
            };
            self.observer.event(&Event::Retrying { path, error: &error, pause });
            tokio::time::sleep(pause).await;
        }
        Ok(())
    }

    /// One connection. A server that knows no ranges sends what is there
    /// already once more: that is passed over.
    async fn once(&self, resume: &mut Resume, sent: &mut u64) -> Result<(), FetchError> {
        let Piece { path, size, .. } = &self.piece;
        let mut body = self.upstream.open(path, resume, Some(*size)).await?;
        resume.etag = body.etag().cloned();
        let mut at = body.start();
        while let Some(mut bytes) = body.chunk().await? {
            let passed = sent.saturating_sub(at).min(bytes.len() as u64);
            at += bytes.len() as u64;
            let _ = bytes.split_to(usize::try_from(passed).unwrap_or(bytes.len()));
            // More than is listed is not taken; the digest tells.
            let room = usize::try_from(*size - *sent).unwrap_or(usize::MAX);
            bytes.truncate(room);
            *sent += bytes.len() as u64;
            if !bytes.is_empty() && self.sender.send(Ok(bytes)).await.is_err() {
                return Ok(());
            }
            if *sent == *size {
                return Ok(());
            }
        }
        Ok(())
    }
}
