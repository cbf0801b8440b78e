//! Tests of the chart, in one program: the value files are rendered once.
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

mod changes;
mod cluster;
mod effects;
mod faults;
mod hooks;
mod invariants;
mod mounted;
mod notes;
mod numbers;
mod rendered;
mod schema;
mod secrets;
mod settings;
mod syslog;
mod templates;
mod tls;
mod upgrades;
