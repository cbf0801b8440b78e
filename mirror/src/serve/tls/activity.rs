//! What the clients of an HTTP/2 connection do, and whether it is enough.
//!
//! HTTP/1.1 has hyper's header timeout and the socket's stall timeout. On HTTP/2 a
//! client can answer pings for ever and ask for nothing, or give a stream no
//! window: then nothing waits to be written and no timer of the socket runs.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use http_body::{Body, Frame, SizeHint};
use tokio::time::Instant;

/// Shared by a connection and its responses.
#[derive(Clone, Debug)]
pub(super) struct Activity(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    /// When a request began or ended, or a response gave bytes.
    last: Instant,
    /// Requests whose response has not ended.
    requests: usize,
    /// Of these, those that wait for a disk: for us, not for the client.
    waiting: usize,
}

/// Why a connection has to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Overdue {
    /// No request for too long.
    Idle,
    /// There are responses, and the client takes nothing of any.
    Stalled,
}

impl Activity {
    pub(super) fn new() -> Self {
        Self(Arc::new(Mutex::new(State { last: Instant::now(), requests: 0, waiting: 0 })))
    }

    fn with<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// A request begins; it ends when what is returned is dropped.
    pub(super) fn request(&self) -> Request {
        self.with(|state| {
            state.requests += 1;
            state.last = Instant::now();
        });
        let mut request = Request { activity: self.clone(), waiting: false };
        // Until there is a body it is ours to answer.
        request.set_waiting(true);
        request
    }

    /// Waits until the connection has to end.
    pub(super) async fn overdue(&self, idle: Duration, stalled: Duration) -> Overdue {
        loop {
            let end = self.with(|state| match (state.requests, state.waiting) {
                (0, _) => Ok((state.last + idle, Overdue::Idle)),
                (_, 0) => Ok((state.last + stalled, Overdue::Stalled)),
                _ => Err(Instant::now() + stalled),
            });
            match end {
                Ok((end, why)) if end <= Instant::now() => return why,
                // Not before both may have changed: the shorter of the two.
                Ok((end, _)) => {
                    let soon = Instant::now() + idle.min(stalled);
                    tokio::time::sleep_until(end.min(soon)).await;
                }
                Err(later) => tokio::time::sleep_until(later).await,
            }
        }
    }
}

/// A request under way.
#[derive(Debug)]
pub(super) struct Request {
    activity: Activity,
    waiting: bool,
}

impl Request {
    fn set_waiting(&mut self, waiting: bool) {
        let before = std::mem::replace(&mut self.waiting, waiting);
        self.activity.with(|state| {
            state.waiting = state.waiting + usize::from(waiting) - usize::from(before);
            state.last = Instant::now();
        });
    }
}

impl Drop for Request {
    fn drop(&mut self) {
        self.set_waiting(false);
        self.activity.with(|state| state.requests -= 1);
    }
}

/// The body of a response, which tells what becomes of it.
#[derive(Debug)]
pub(super) struct Tracked<B> {
    body: B,
    request: Request,
}

impl<B> Tracked<B> {
    pub(super) fn new(body: B, mut request: Request) -> Self {
        request.set_waiting(false);
        Self { body, request }
    }
}

impl<B: Body + Unpin> Body for Tracked<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        self.request.set_waiting(polled.is_pending());
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const IDLE: Duration = Duration::from_secs(30);
    const STALLED: Duration = Duration::from_secs(120);

    #[tokio::test(start_paused = true)]
    async fn without_a_request_it_is_idle_and_with_one_it_stalls() {
        let (activity, start) = (Activity::new(), Instant::now());
        assert_eq!(activity.overdue(IDLE, STALLED).await, Overdue::Idle);
        assert_eq!(start.elapsed(), IDLE);

        let start = Instant::now();
        let body = Tracked::new(axum::body::Body::empty(), activity.request());
        assert_eq!(activity.overdue(IDLE, STALLED).await, Overdue::Stalled);
        assert_eq!(start.elapsed(), STALLED);
        drop(body);
        let start = Instant::now();
        assert_eq!(activity.overdue(IDLE, STALLED).await, Overdue::Idle);
        assert_eq!(start.elapsed(), IDLE);
    }

    #[tokio::test(start_paused = true)]
    async fn what_waits_for_us_does_not_stall() {
        let activity = Activity::new();
        let request = activity.request();
        let overdue = activity.overdue(IDLE, STALLED);
        assert!(tokio::time::timeout(STALLED * 10, overdue).await.is_err());
        let _body = Tracked::new(axum::body::Body::empty(), request);
        assert_eq!(activity.overdue(IDLE, STALLED).await, Overdue::Stalled);
    }
}
