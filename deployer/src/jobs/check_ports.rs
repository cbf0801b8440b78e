//! `check-ports`: which ports of this network are taken. It needs no capability: it reads the
//! tables of Linux.

use std::path::Path;

use serde_json::json;

use super::error::JobError;
use super::files;
use super::report::Report;
use crate::ports::{Port, bound};

/// Which of `wanted` are taken.
///
/// # Errors
/// Where the tables cannot be read.
pub fn run(wanted: &[Port], tables: &Path) -> Result<Report, JobError> {
    let mut read = Vec::new();
    for (is_udp, name) in [(false, "tcp"), (false, "tcp6"), (true, "udp"), (true, "udp6")] {
        // A node without IPv6 has no such tables.
        if let Some(table) = files::read(&tables.join(name))? {
            read.push((is_udp, String::from_utf8_lossy(&table).into_owned()));
        }
    }
    let taken: Vec<String> = bound(wanted, &read).iter().map(ToString::to_string).collect();
    let mut report = Report::default();
    report.noted(match taken.as_slice() {
        [] => "all of these ports are free".to_owned(),
        taken => format!("taken: {}", taken.join(", ")),
    });
    report.facts = Some(json!({"taken": taken}));
    Ok(report)
}
