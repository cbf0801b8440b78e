//! Threads that each serve connections of their own.
//!
//! A connection stays on the thread that it was given to, and with it its
//! socket's readiness, its timers and its part of the processor's cache: no
//! thread wakes another for a request. On tokio's runtime of many threads that
//! waking, and the stealing of work, cost about as much as the rest of a small
//! request. What waits for a disk still goes to threads that may wait, so a
//! connection has nobody to wait for but the answers under way beside it.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;

/// The threads that serve. [`Workers::end`] ends them, and so does a drop.
#[derive(Debug)]
pub(super) struct Workers(Vec<Worker>);

#[derive(Debug)]
struct Worker {
    handle: Handle,
    /// Connections that it has now.
    load: Arc<AtomicUsize>,
    thread: JoinHandle<()>,
    /// Dropped to end the thread.
    _stop: oneshot::Sender<()>,
}

/// A connection's share in its worker's load, given back on drop.
struct Share(Arc<AtomicUsize>);

impl Drop for Share {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Workers {
    /// A thread for each processor that this process may use.
    ///
    /// # Errors
    /// The system has no thread or no descriptor left.
    pub(super) fn start() -> io::Result<Self> {
        let count = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        (0..count).map(Worker::start).collect::<io::Result<_>>().map(Self)
    }

    /// Runs a connection on the thread that has the fewest. `connection` is
    /// called on that thread, where a socket is to be registered.
    pub(super) fn spawn<F>(&self, connection: impl FnOnce() -> F + Send + 'static)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let least = self.0.iter().min_by_key(|worker| worker.load.load(Ordering::Relaxed));
        let Some(worker) = least else { return };
        worker.load.fetch_add(1, Ordering::Relaxed);
        let share = Share(Arc::clone(&worker.load));
        worker.handle.spawn(async move {
            let _share = share;
            connection().await;
        });
    }

    /// Cuts the connections that there are and waits for the threads, for
    /// `limit` at the most.
    pub(super) async fn end(self, limit: Duration) {
        let threads = self.0.into_iter().map(|worker| worker.thread).collect::<Vec<_>>();
        // They stop as soon as they look. Nothing should block them, but a
        // network file system that is gone does, in `stat` and `sendfile`.
        let join = move || threads.into_iter().for_each(|thread| drop(thread.join()));
        let joined = tokio::task::spawn_blocking(join);
        match tokio::time::timeout(limit, joined).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::error!(%error, "a thread did not end"),
            Err(_) => tracing::error!("a thread waits for the store's disk and is left behind"),
        }
    }
}

impl Worker {
    fn start(index: usize) -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let handle = runtime.handle().clone();
        let (stop, stopped) = oneshot::channel::<()>();
        let thread =
            std::thread::Builder::new().name(format!("serve-{index}")).spawn(move || {
                // An error says that the sender is gone, which is the signal.
                let _ = runtime.block_on(stopped);
                // Reads of a slow disk are not waited for.
                runtime.shutdown_background();
            })?;
        Ok(Self { handle, load: Arc::default(), thread, _stop: stop })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn connections_are_spread_and_cut_at_the_end() {
        let workers = Workers::start().expect("threads");
        let count = workers.0.len();
        let (seen, mut all) = tokio::sync::mpsc::unbounded_channel();
        for _ in 0..2 * count {
            let seen = seen.clone();
            workers.spawn(move || async move {
                seen.send(std::thread::current().id()).expect("the test waits");
                std::future::pending::<()>().await;
            });
        }
        drop(seen);
        let mut threads = Vec::new();
        for _ in 0..2 * count {
            threads.push(all.recv().await.expect("each one runs"));
        }
        for thread in &threads {
            assert_eq!(threads.iter().filter(|other| *other == thread).count(), 2);
        }
        workers.end(Duration::from_secs(60)).await;
        // Each held a sender until it was cut.
        assert_eq!(all.recv().await, None);
    }

    #[tokio::test]
    async fn a_connection_that_ended_makes_room() {
        let workers = Workers::start().expect("threads");
        let (done, waited) = oneshot::channel();
        workers.spawn(|| async move { done.send(()).expect("the test waits") });
        waited.await.expect("it ran");
        let load = || workers.0.iter().map(|w| w.load.load(Ordering::Relaxed)).sum::<usize>();
        while load() > 0 {
            tokio::task::yield_now().await;
        }
        workers.end(Duration::from_secs(60)).await;
    }

    /// As by a network file system that is gone.
    #[tokio::test]
    async fn a_thread_that_is_blocked_is_left_behind() {
        let workers = Workers::start().expect("threads");
        let (release, held) = std::sync::mpsc::channel::<()>();
        let (begun, waited) = oneshot::channel();
        workers.spawn(|| async move {
            begun.send(()).expect("the test waits");
            let _ = held.recv();
        });
        waited.await.expect("it ran");
        workers.end(Duration::from_millis(10)).await;
        assert!(release.send(()).is_ok(), "it waits still");
    }
}
