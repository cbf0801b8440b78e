//! Blobs that are not what the store says: counted, and moved out of the way
//! so that the next sync fetches them again.

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, sleep};

use crate::simplestreams::Digest;
use crate::store::{Store, StoreError};
use crate::verify;

/// The pause before the store's lock is asked for again; it doubles up to
/// [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// How long a writer may keep the store: a first sync over a thin line.
const PATIENCE: Duration = Duration::from_secs(6 * 3600);

/// The blobs that were found damaged.
#[derive(Debug, Default)]
pub(in crate::serve) struct Damage {
    state: Mutex<State>,
    found: Notify,
}

#[derive(Debug, Default)]
struct State {
    /// Found damaged, and not found whole since. No more than the store has.
    known: HashSet<Digest>,
    /// Those of them that nobody has looked after yet.
    waiting: Vec<Digest>,
    count: u64,
}

impl Damage {
    /// A blob was found damaged. `None` where that is known already, else how
    /// many were found since the start.
    pub(super) fn report(&self, digest: Digest) -> Option<u64> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if !state.known.insert(digest) {
            return None;
        }
        state.count += 1;
        state.waiting.push(digest);
        self.found.notify_one();
        Some(state.count)
    }

    /// A blob was opened and has the length it should have.
    pub(super) fn opened(&self, digest: &Digest) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.known.remove(digest);
    }

    /// Times that a blob was found damaged since the start. One that was mended
    /// counts again.
    pub(in crate::serve) fn count(&self) -> u64 {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).count
    }

    /// Moves what is found to the store's quarantine, for ever.
    pub(in crate::serve) async fn look_after(&self, store: &Store) {
        loop {
            let waiting = {
                let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
                state.waiting.pop()
            };
            match waiting {
                Some(digest) => move_away(store, digest).await,
                None => self.found.notified().await,
            }
        }
    }
}

/// Moves a blob to quarantine. While a sync has the store's lock that is tried
/// again; nothing is served of the blob meanwhile.
async fn move_away(store: &Store, blob: Digest) {
    let (end, mut pause) = (Instant::now() + PATIENCE, FIRST_PAUSE);
    loop {
        let (there, digest) = (store.clone(), blob);
        let quarantined = tokio::task::spawn_blocking(move || quarantine(&there, &digest)).await;
        match quarantined {
            Ok(Ok(Some(to))) => {
                let to = to.display();
                tracing::warn!(%blob, %to, "a damaged blob was moved away; the next sync fetches it");
            }
            // It is whole, or not there: somebody mended it or moved it.
            Ok(Ok(None)) => tracing::info!(%blob, "a damaged blob was mended or moved"),
            Ok(Err(StoreError::Locked { .. })) if Instant::now() < end => {
                sleep(pause).await;
                pause = (pause * 2).min(LONGEST_PAUSE);
                continue;
            }
            // Whoever writes it puts it in the place of the damaged one.
            Ok(Err(StoreError::Busy(_))) => {
                tracing::info!(%blob, "a damaged blob is being fetched anew");
            }
            Ok(Err(error)) => {
                let reason = crate::chain(&error);
                tracing::error!(%blob, reason, "a damaged blob stays in the store; mend it by `maas-mirror verify --repair` and a sync");
            }
            Err(error) => tracing::error!(%blob, %error, "a damaged blob stays in the store"),
        }
        return;
    }
}

/// Looks again under the lock, so that no good blob is moved: a sync or a pull
/// may have mended it since it was found.
fn quarantine(store: &Store, digest: &Digest) -> Result<Option<PathBuf>, StoreError> {
    verify::set_aside(&store.writer("maas-mirror serve")?, digest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Claim;
    use crate::verify::is_of_blob;

    fn store_with(content: &[u8]) -> (tempfile::TempDir, Store, Digest) {
        let folder = tempfile::tempdir().expect("folder");
        let store = Store::open_or_create(folder.path().join("store")).expect("store");
        let digest = Digest::of(b"what it should hold");
        std::fs::write(store.blob_path(&digest), content).expect("blob");
        (folder, store, digest)
    }

    #[test]
    fn counts_a_blob_once_until_it_was_whole() {
        let (damage, blob) = (Damage::default(), Digest::of(b"x"));
        assert_eq!(damage.report(blob), Some(1));
        assert_eq!(damage.report(blob), None);
        damage.opened(&blob);
        assert_eq!(damage.report(blob), Some(2));
        assert_eq!(damage.count(), 2);
    }

    #[test]
    fn a_good_blob_stays() {
        let (_folder, store, digest) = store_with(b"what it should hold");
        assert!(matches!(quarantine(&store, &digest), Ok(None)));
        assert!(store.blob_path(&digest).exists());
    }

    #[test]
    fn a_blob_that_is_gone_is_no_error() {
        let (_folder, store, _) = store_with(b"");
        assert!(matches!(quarantine(&store, &Digest::of(b"other")), Ok(None)));
    }

    /// While another writes it waits, and then it moves.
    #[tokio::test]
    async fn waits_for_the_lock() {
        let (_folder, store, digest) = store_with(b"what it");
        let writer = store.writer("a test").expect("lock");
        assert!(matches!(quarantine(&store, &digest), Err(StoreError::Locked { .. })));
        let damage = Damage::default();
        damage.report(digest);
        let look = damage.look_after(&store);
        let mend = async {
            assert!(store.blob_path(&digest).exists());
            drop(writer);
            while store.blob_path(&digest).exists() {
                tokio::task::yield_now().await;
            }
        };
        tokio::select! {
            () = look => unreachable!("it goes on for ever"),
            () = mend => {}
        }
        let quarantined = store.root().join(".maas-mirror/quarantine").join(digest.to_string());
        assert_eq!(std::fs::read(quarantined).expect("kept"), b"what it");
    }

    /// A pull, which needs no lock of the store, mends it: what is good then
    /// stays, and no trace of the lock on it.
    #[test]
    fn a_blob_that_is_pulled_meanwhile_stays() {
        let (_folder, store, digest) = store_with(b"what it");
        let good = b"what it should hold";
        let Claim::Ours(mut pulled) = store.claim(digest, good.len() as u64).expect("claim") else {
            unreachable!("a short blob is not held")
        };
        assert!(matches!(quarantine(&store, &digest), Err(StoreError::Busy(_))));
        pulled.write(good).expect("write");
        pulled.finish().expect("finish");
        assert!(matches!(quarantine(&store, &digest), Ok(None)));
        assert_eq!(std::fs::read(store.blob_path(&digest)).expect("blob"), good);
        let partial = store.root().join(".maas-mirror/partial");
        assert_eq!(std::fs::read_dir(partial).expect("folder").count(), 0);
    }

    #[test]
    fn errors_that_say_nothing_of_the_blob() {
        for errno in [rustix::io::Errno::MFILE, rustix::io::Errno::NOENT, rustix::io::Errno::ACCESS]
        {
            assert!(!is_of_blob(&errno.into()), "{errno}");
        }
        assert!(is_of_blob(&rustix::io::Errno::IO.into()));
    }
}
