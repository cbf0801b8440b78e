//! The program as a process, with what it needs around it.

mod api_server;
mod gate;
mod http;
mod maas;
mod run;
mod world;

use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::Value;

pub(crate) use api_server::{ApiServer, Fault};
pub(crate) use gate::{Gate, Spoil};
pub(crate) use http::{Answer, Asked, HttpServer};
pub(crate) use maas::Maas;
pub(crate) use run::{Job, Run, Running};
pub(crate) use world::World;

/// The longest that anything is waited for. Never slept through: a test that passes does not take
/// it, and one on a busy machine needs it.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

/// What is turned off of the chart, so that a small part is left: hooks, the database, and what
/// makes a role in it.
pub(crate) fn small_part() -> Value {
    let off = [
        "region_statefulset",
        "rack_statefulset",
        "syslog_statefulset",
        "syslog_service",
        "ingress_region",
        "job_db_sync",
        "job_seed_secret",
        "job_create_admin",
        "job_tls",
        "job_configure",
        "job_export_api_key",
        "job_import_images",
        "job_quiesce",
        "test_maas_api",
    ];
    off.iter().map(|name| ((*name).to_owned(), Value::Bool(false))).collect()
}

/// Makes a pipe that has a name.
#[track_caller]
pub(crate) fn fifo(path: &Path) {
    let mode = rustix::fs::Mode::from_raw_mode(0o600);
    let kind = rustix::fs::FileType::Fifo;
    rustix::fs::mknodat(rustix::fs::CWD, path, kind, mode, 0).expect("a pipe");
}

/// Whether it still is one.
pub(crate) fn is_fifo(path: &Path) -> bool {
    use std::os::unix::fs::FileTypeExt as _;
    std::fs::symlink_metadata(path).is_ok_and(|meta| meta.file_type().is_fifo())
}

/// Waits until `condition` holds; `what` is what the failure is called.
#[track_caller]
pub(crate) fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < end, "waited in vain: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}
