//! Runs the program `maas-mirror` against upstreams, disks and clients of every kind.
//!
//! One program for all themes: they run side by side.
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

mod bundle;
mod cli;
mod container;
mod disk;
mod engine;
mod http_semantics;
mod items;
mod json;
mod kill;
mod lifecycle;
mod limits;
mod pull;
mod redirects;
mod registry;
mod registry_faults;
mod registry_hostile;
mod rollback;
mod serve;
mod serve_sync;
mod signals;
mod signatures;
mod tls;
mod verify;
