//! What a status says of the mirrors, for people.

use serde_json::Value;

use super::colour::Colour;
use super::status_text::unknown;
use crate::counted::counted;
use crate::status::{MirrorState, days_until, failed_sync};

/// A mirror: whether it serves, what it holds, and how long its keys last.
pub(super) fn mirror(state: &MirrorState, with_room: bool) -> Vec<(Colour, String)> {
    let pod = &state.pod;
    let text = |value: &Value, pointer: &str| {
        value.pointer(pointer).and_then(Value::as_str).map(str::to_owned)
    };
    let first = match &state.ready {
        Err(reason) => unknown(&format!("{pod}: {reason}")),
        Ok(ready) if state.is_ready() == Some(true) => {
            let snapshot = text(ready, "/snapshot").unwrap_or_default();
            let snapshot = snapshot.trim_start_matches("sha256:").chars().take(12);
            (Colour::Green, format!("{pod}: serves snapshot {}", snapshot.collect::<String>()))
        }
        Ok(ready) => {
            let reason = text(ready, "/reason").unwrap_or_default();
            (Colour::Red, format!("{pod}: not ready: {reason}"))
        }
    };
    let second = match &state.status {
        Err(reason) => unknown(reason),
        Ok(status) => (Colour::Plain, mirror_holds(status, with_room)),
    };
    let mut lines = vec![first, second];
    for (fingerprint, when) in state.keys() {
        let days = days_until(when);
        let colour = if days < 90 { Colour::Yellow } else { Colour::Plain };
        let left = counted(days, "day");
        lines.push((colour, format!("signing key {fingerprint}: {left} left, until {when}")));
    }
    lines
}

/// What `maas-mirror status` says, in a line.
fn mirror_holds(status: &Value, with_room: bool) -> String {
    let number = |pointer: &str| status.pointer(pointer).and_then(Value::as_u64).unwrap_or(0);
    let text = |pointer: &str| status.pointer(pointer).and_then(Value::as_str);
    let mut parts = Vec::new();
    if status.get("current").is_some_and(Value::is_object) {
        let size = size(number("/current/bytes"));
        parts.push(format!("{}, {size}", counted(number("/current/items"), "item")));
    }
    let partials = number("/partials");
    if partials > 0 {
        let held = size(number("/partial_bytes"));
        parts.push(format!("{} under way, {held} here", counted(partials, "download")));
    }
    if let Some(finished) = text("/last_sync/finished") {
        parts.push(match failed_sync(status) {
            Some(reason) => format!("last sync at {finished} FAILED: {reason}"),
            None => format!("last sync at {finished}"),
        });
    }
    if let Some(command) = text("/locked_by/command") {
        parts.push(format!("{command} is under way"));
    }
    if with_room {
        parts.push(format!("{} free", size(number("/free_bytes"))));
    }
    parts.join("; ")
}

/// `1.2 GB`.
fn size(bytes: u64) -> String {
    let units = [(1_000_000_000_000, "TB"), (1_000_000_000, "GB"), (1_000_000, "MB"), (1000, "kB")];
    match units.into_iter().find(|(unit, _)| bytes >= *unit) {
        Some((unit, name)) => {
            let tenths = bytes / (unit / 10);
            format!("{}.{} {name}", tenths / 10, tenths % 10)
        }
        None => counted(bytes, "byte"),
    }
}
