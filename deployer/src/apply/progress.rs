//! What is told while it goes on.

use std::time::Duration;

use super::phase::Phase;

/// A piece of news.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum News {
    /// A part of the work begins: `hook secrets`, `42 objects`.
    Begun(String),
    /// Something was done that stays done.
    Done(String),
    /// The first phase that is not over, and what it waits for.
    Waiting {
        /// The phase.
        phase: Phase,
        /// How many phases are over, and how many the release has.
        over: (usize, usize),
        /// What for: `StatefulSet maas-region: 0 of 1 ready`.
        what: String,
        /// How long that object has been waited for.
        waited: Duration,
        /// The last event of the release's pods.
        event: Option<String>,
    },
    /// A phase is over.
    Over(Phase),
    /// Something that a person should know, and that stops nothing.
    Warning(String),
}

/// Who is told.
pub trait Progress: Send + Sync {
    /// Tells a piece of news. Never waits.
    fn tell(&self, news: News);
}

/// Nobody.
impl Progress for () {
    fn tell(&self, _: News) {}
}
