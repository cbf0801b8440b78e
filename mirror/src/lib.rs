//! Mirrors MAAS boot images: fetches maas.io's simplestreams, verifies every
//! byte, keeps it, and serves it.
//!
//! Dependencies point one way; each module may use those above it:
//!
//! | module | is |
//! |---|---|
//! | [`simplestreams`] | the format, pure |
//! | [`signature`] | OpenPGP: what a signature covers, who signed |
//! | [`store`] | blobs, snapshots, publish, lock: an OCI image layout |
//! | [`upstream`] | the client of HTTP servers and OCI registries |
//! | [`sync`] | verified metadata, selection, plan, download, publish |
//! | [`push`] | a snapshot on its way to a registry |
//! | [`verify`] | proof, without a network, that a store holds what was signed |
//! | [`bundle`] | a snapshot in one file or many: export, import |
//! | [`serve`] | the HTTP server |
//! | [`cli`] | verbs, output, exit codes |

pub mod bundle;
pub mod cli;
pub mod push;
pub mod serve;
pub mod signature;
pub mod simplestreams;
pub mod store;
pub mod sync;
pub mod upstream;
pub mod verify;

/// Bytes in all. Sizes come from upstream: their sum must not wrap.
fn total(sizes: impl IntoIterator<Item = u64>) -> u64 {
    sizes.into_iter().fold(0, u64::saturating_add)
}

/// ISO 8601 in UTC, to the second: how every record and report writes a time.
fn iso(time: jiff::Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// An error with all its causes, `: ` between them: what a log line can hold.
/// Each error says only its own part.
#[must_use]
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        let part = error.to_string();
        // A transparent error says what its source says.
        if !text.ends_with(&part) {
            text.push_str(": ");
            text.push_str(&part);
        }
        source = error.source();
    }
    text
}
