//! Tests that run the program `maas-deployer` against a real PostgreSQL, the stand-in MAAS, and
//! stand-ins for what cannot be had here.
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a helper that cannot do its work fails the test that asked for it"
)]

mod bundle;
mod bundles;
mod calls;
mod checks;
mod database;
mod drift;
mod guide;
mod images;
mod kubernetes;
mod life;
mod maas_settings;
mod messages;
mod migrations;
mod phases;
mod quiesce;
mod real_bundle;
mod real_check;
mod real_cluster;
mod real_guide;
mod real_release;
mod real_see;
mod region;
mod release_faults;
mod release_rules;
mod releases;
mod rendering;
mod see;
mod support;
mod tls;
