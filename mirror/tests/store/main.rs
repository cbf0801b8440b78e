//! The store: an OCI image layout that is never half written.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a helper of a test says where it failed by panicking"
)]

mod assembly;
mod blobs;
mod claim;
mod collect;
mod crash;
mod hostile;
mod join;
mod layout;
mod listing;
mod lock;
mod newest;
mod open;
mod properties;
mod prune;
mod publish;
mod support;
