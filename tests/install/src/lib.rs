//! Helpers for tests that install the chart on a real Kubernetes.
//!
//! - [`Site`]: the cluster, its programs and images, as `scripts/test cluster` says them by
//!   environment variables.
//! - [`Kube`]: `kubectl` in one namespace; [`Objects`]: who was started when, to be compared.
//! - [`Release`]: one release of the chart, its upstream, and what is done with it by a [`Tool`].
//! - [`Use`]: what a run of a program took.
//! - [`Database`]: a PostgreSQL server that is no part of a release.
//! - [`Forward`] and [`Maas`]: the way into pods, and MAAS's API behind it.
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a helper that cannot do its work fails the test that asked for it"
)]

mod api;
mod database;
mod forward;
mod kube;
mod release;
mod run;
mod site;
mod tool;
mod usage;

pub use api::Maas;
pub use database::Database;
pub use forward::Forward;
pub use kube::{Kube, Objects};
pub use release::{Release, VALUES};
pub use run::{Output, run};
pub use site::Site;
pub use tool::Tool;
pub use usage::Use;

use std::time::{Duration, Instant};

/// The longest that a change on the cluster is waited for: two cores run all of Kubernetes, MAAS's
/// stand-in and these tests.
pub const PATIENCE: Duration = Duration::from_secs(600);

/// Asks every half second until there is an answer; `what` is what the failure is called.
///
/// # Panics
///
/// After [`PATIENCE`].
#[track_caller]
pub fn eventually<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + PATIENCE;
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(Instant::now() < end, "waited in vain: {what}");
        std::thread::sleep(Duration::from_millis(500));
    }
}
