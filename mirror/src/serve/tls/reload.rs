//! The pair in use, and how a new one takes its place.

use std::io;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use rustls::ServerConfig;
use tokio::task::spawn_blocking;

use super::Files;
use super::pair::{self, Identity, PairError, PairProblem};

/// How often the files are looked at: two `stat` each time. By looking, not by
/// being told: mounts of secrets swap links above the names, some network file
/// systems tell nobody.
const LOOK: Duration = Duration::from_secs(1);

/// Certificate and key in use. New handshakes take what is in it; connections
/// under way keep what they began with.
#[derive(Debug)]
pub(in crate::serve) struct Pair {
    files: Files,
    config: RwLock<Arc<ServerConfig>>,
    /// Which files [`Pair::open`] read.
    first: [Option<Identity>; 2],
}

impl Pair {
    /// Reads the pair, which has to be good.
    pub(in crate::serve) async fn open(files: Files) -> Result<Arc<Self>, PairError> {
        let path = files.cert.clone();
        let read = spawn_blocking(move || {
            // Before the content: a change meanwhile is then seen later.
            let first = pair::identities(&files);
            let config = pair::load(&files)?;
            warn_if_open(&files);
            Ok(Arc::new(Self { files, config: RwLock::new(config), first }))
        });
        read.await.unwrap_or_else(|error| {
            let problem = PairProblem::Read(io::Error::other(error));
            Err(PairError { what: "certificate", path, problem })
        })
    }

    /// What a new handshake takes.
    pub(in crate::serve) fn config(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.config.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Takes up new pairs until it is dropped.
    pub(in crate::serve) async fn watch(self: Arc<Self>) {
        let mut looker = Looker { seen: Some(self.first), complaint: None };
        loop {
            tokio::time::sleep(LOOK).await;
            let pair = Arc::clone(&self);
            let looked = spawn_blocking(move || {
                looker.look(&pair);
                looker
            });
            match looked.await {
                Ok(back) => looker = back,
                Err(error) => {
                    tracing::error!(%error, "the TLS files are no longer watched");
                    return;
                }
            }
        }
    }
}

/// What was found when the files were last looked at.
struct Looker {
    /// The files that the pair in use was read from; `None` while they are bad.
    seen: Option<[Option<Identity>; 2]>,
    /// What was last said of them.
    complaint: Option<String>,
}

impl Looker {
    fn look(&mut self, pair: &Pair) {
        let now = pair::identities(&pair.files);
        // A bad pair is read again at each look: a file that is written in
        // place may change twice within the clock's tick.
        if self.seen == Some(now) {
            return;
        }
        let (cert, key) = (pair.files.cert.display(), pair.files.key.display());
        match pair::load(&pair.files) {
            Ok(config) => {
                *pair.config.write().unwrap_or_else(PoisonError::into_inner) = config;
                (self.seen, self.complaint) = (Some(now), None);
                tracing::info!(%cert, %key, "a new TLS certificate is in use");
                warn_if_open(&pair.files);
            }
            Err(error) => {
                self.seen = None;
                let reason = crate::chain(&error);
                if self.complaint.as_ref() != Some(&reason) {
                    tracing::error!(
                        reason,
                        "the new TLS certificate and key cannot be used; the old ones stay in use"
                    );
                    self.complaint = Some(reason);
                }
            }
        }
    }
}

fn warn_if_open(files: &Files) {
    if pair::key_is_open(files) {
        let key = files.key.display();
        tracing::warn!(%key, "every user of this machine can read the TLS key: chmod o-r");
    }
}
