//! Helpers for tests that run the program `maas-mirror` from outside.
//!
//! - [`World`]: a signed upstream that a test can break, its server, and a store beside it.
//! - [`Mirror`], [`Running`], [`Run`]: the program before, while and after it runs.
//! - [`Serving`]: the program as a server; [`http`]: a client that sees every byte.
//! - [`Held`]: what a store held at one moment, and must still serve after a failure.
//! - [`Registry`]: Debian's docker-registry; [`Proxy`]: what cuts connections to it.
//! - [`read_tar`], [`write_tar`]: archives that are wrong on purpose.
//! - [`Tmpfs`]: a small disk.
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a helper that cannot do its work fails the test that asked for it"
)]

mod held;
pub mod http;
mod program;
mod proxy;
mod registry;
mod serving;
mod tar;
mod text;
mod tmpfs;
mod world;

use std::time::{Duration, Instant};

pub use held::Held;
pub use program::{Mirror, Run, Running, binary, children};
pub use proxy::Proxy;
pub use registry::{PASSWORD, Registry, USER};
pub use serving::Serving;
pub use tar::{TarEntry, read_tar, tar_header, write_tar};
pub use text::sha256;
pub use tmpfs::Tmpfs;
pub use world::{World, blobs_in, files_below};

/// The longest that anything is waited for. Never slept through: a test that passes does not take
/// it, and one on a busy machine needs it.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Waits until `condition` holds; `what` is what the failure is called.
#[track_caller]
pub fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < end, "waited in vain: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}
