//! The one place that prints errors.

use std::error::Error;

use serde_json::json;

use super::output::Output;
use crate::signature::{FramingError, KeyringError, VerifyError};
use crate::store::StoreError;
use crate::sync::{Kind, MetadataError, SyncError};
use crate::upstream::FetchError;

/// Exit codes; the same in all verbs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Exit {
    Done = 0,
    Error = 1,
    Partial = 3,
    Unverified = 4,
    Refused = 5,
    Locked = 6,
    Usage = 64,
    Interrupted = 130,
    Terminated = 143,
}

impl Exit {
    pub(super) fn code(self) -> u8 {
        self as u8
    }
}

/// Why a verb failed: what was being done, the chain of causes, what to do
/// next, and the exit code.
#[derive(Debug)]
pub(super) struct Failure {
    doing: String,
    causes: Vec<String>,
    details: Vec<String>,
    hint: Option<String>,
    exit: Exit,
}

impl Failure {
    /// `doing` failed because of `error` and its causes.
    pub(super) fn new(doing: impl Into<String>, error: impl Error) -> Self {
        Self {
            doing: doing.into(),
            causes: causes(&error),
            details: Vec::new(),
            hint: None,
            exit: Exit::Error,
        }
    }

    /// `doing` failed for a reason that is no error of another layer.
    pub(super) fn message(doing: impl Into<String>, reason: impl Into<String>) -> Self {
        let (doing, causes) = (doing.into(), vec![reason.into()]);
        Self { doing, causes, details: Vec::new(), hint: None, exit: Exit::Error }
    }

    pub(super) fn exit(mut self, exit: Exit) -> Self {
        self.exit = exit;
        self
    }

    pub(super) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// `doing` failed in the store.
    pub(super) fn store(doing: impl Into<String>, error: &StoreError) -> Self {
        let exit = match error {
            StoreError::Locked { .. } => Exit::Locked,
            StoreError::ReadOnly { .. }
            | StoreError::NewerFormat { .. }
            | StoreError::NotAStore(_) => Exit::Refused,
            _ => Exit::Error,
        };
        let failure = Self::new(doing, error).exit(exit);
        match store_hint(error) {
            Some(hint) => failure.hint(hint),
            None => failure,
        }
    }

    /// `doing` failed for want of a usable keyring.
    pub(super) fn keyring(error: &KeyringError) -> Self {
        Self::new("cannot use the keyring", error).hint(keyring_hint(error))
    }

    /// A sync failed.
    pub(super) fn sync(doing: impl Into<String>, error: &SyncError) -> Self {
        let mut failure = Self::new(doing, error).exit(exit_of(error.kind()));
        failure.hint = sync_hint(error);
        if let SyncError::Items { failures, .. } = error {
            failure.details = failures
                .iter()
                .map(|item| format!("{}: {}", item.path, crate::chain(&item.error)))
                .collect();
        }
        failure
    }

    /// Prints on stderr for people, and with `-o json` on stdout for programs.
    pub(super) fn print(&self, output: &Output) -> Exit {
        const SHOWN: usize = 10;
        output.error(&format!("error: {}", self.doing));
        for cause in &self.causes {
            output.error(&format!("  because {cause}"));
        }
        for detail in self.details.iter().take(SHOWN) {
            output.error(&format!("  - {detail}"));
        }
        if self.details.len() > SHOWN {
            output.error(&format!("  - and {} more", self.details.len() - SHOWN));
        }
        if let Some(hint) = &self.hint {
            output.error(&format!("hint: {hint}"));
        }
        if output.is_json() {
            output.json(&json!({
                "schema": "maas-mirror/error/1",
                "error": self.doing,
                "causes": self.causes,
                "details": self.details,
                "hint": self.hint,
                "exit_code": self.exit.code(),
            }));
        }
        self.exit
    }
}

/// The exit code of a kind of failure.
pub(super) fn exit_of(kind: Kind) -> Exit {
    match kind {
        Kind::Locked => Exit::Locked,
        Kind::Refused => Exit::Refused,
        Kind::Unverified => Exit::Unverified,
        Kind::Partial => Exit::Partial,
        Kind::Other => Exit::Error,
    }
}

/// What each error of the chain says, without what it repeats of its source.
fn causes(error: &dyn Error) -> Vec<String> {
    let mut causes = Vec::new();
    let mut next = Some(error);
    while let Some(error) = next {
        let text = error.to_string().trim_end().to_owned();
        if causes.last() != Some(&text) {
            causes.push(text);
        }
        next = error.source();
    }
    causes
}

pub(super) fn store_hint(error: &StoreError) -> Option<String> {
    let hint = match error {
        StoreError::Missing(_) => {
            "run 'maas-mirror sync' first, or name the store with --store DIR"
        }
        StoreError::NotAStore(_) => "name an empty or new folder with --store DIR",
        StoreError::NewerFormat { .. } => "use the maas-mirror that made the store, or a newer one",
        StoreError::Busy(_) => "wait for it to end and run it again",
        StoreError::Locked { .. } => "wait for it to end; a store has one writer at a time",
        StoreError::ReadOnly { .. } => {
            "check the owner and the mount of the store; serving needs no write access"
        }
        StoreError::Damaged { .. } => {
            "run 'maas-mirror verify' to see what else is damaged; 'verify --repair' and 'sync' mend it"
        }
        StoreError::Io { source, .. } if source.kind() == std::io::ErrorKind::StorageFull => {
            "free some space and run it again: what was fetched is kept"
        }
        StoreError::NoSnapshot(_) | StoreError::Io { .. } => return None,
    };
    Some(hint.to_owned())
}

pub(super) fn sync_hint(error: &SyncError) -> Option<String> {
    let hint = match error {
        SyncError::Store(error) => return store_hint(error),
        SyncError::Metadata { source, .. } => return metadata_hint(source),
        SyncError::Registry(error) => return fetch_hint(error),
        SyncError::NothingSelected => {
            "check --release, --arch, --kernel and the filters; nothing was changed"
        }
        SyncError::Space { .. } => {
            "free some space, select less, or name another --store; nothing was fetched"
        }
        SyncError::Items { failures, .. } if failures.iter().any(|f| f.error.is_verification()) => {
            "upstream serves content that its own signed metadata does not list; the earlier snapshot stands"
        }
        SyncError::Items { .. } => {
            "run it again: what was fetched is kept, and the earlier snapshot stands"
        }
        SyncError::Selection(_) => "tell the publisher of the stream; the earlier snapshot stands",
        SyncError::TooManyFiles { .. } | SyncError::Task(_) => return None,
    };
    Some(hint.to_owned())
}

pub(super) fn metadata_hint(error: &MetadataError) -> Option<String> {
    let hint = match error {
        MetadataError::Fetch(error) => return fetch_hint(error),
        MetadataError::Verify(VerifyError::UnknownKey { .. }) => {
            "if you trust that key, name its keyring with --keyring FILE"
        }
        MetadataError::Verify(VerifyError::ExpiredKey { .. }) => {
            "get the publisher's new key, or accept the old one with --allow-expired-key"
        }
        MetadataError::Verify(VerifyError::Framing(FramingError::NotSigned)) => {
            "the upstream must publish clear-signed .sjson files"
        }
        MetadataError::Verify(VerifyError::Keyring(error)) => keyring_hint(error),
        MetadataError::Verify(VerifyError::Engine(_)) => "check that GnuPG works: gpg --version",
        MetadataError::Verify(_) => {
            "do not use this upstream until its publisher explains it; the earlier snapshot stands"
        }
        MetadataError::Older { .. } | MetadataError::NoAge { .. } => {
            "an old, validly signed file may be replayed to you; if upstream really went back, use --allow-older"
        }
        MetadataError::Document(_)
        | MetadataError::NotAnIndex
        | MetadataError::ContentId { .. }
        | MetadataError::MissingProduct { .. } => {
            "tell the publisher of the stream; the earlier snapshot stands"
        }
    };
    Some(hint.to_owned())
}

pub(super) fn fetch_hint(error: &FetchError) -> Option<String> {
    let hint = match error {
        FetchError::Html { .. } => "log in to the network, or set HTTPS_PROXY",
        FetchError::TooLarge { .. } => {
            "check --upstream: no metadata file of a real stream is that large"
        }
        FetchError::Status { status, .. } if status.is_server_error() => {
            "the upstream has trouble of its own; run it again later"
        }
        FetchError::Transport { source, .. } if source.is_redirect() => {
            "name the address that it redirects to with --upstream, if you trust it"
        }
        FetchError::Transport { source, .. } if source.is_not_tls() => {
            "name an http:// address, or, for a registry without TLS, use --plain-http"
        }
        FetchError::Status { status, .. } if status.as_u16() == 403 => {
            "the login may not do that: ask the owner of the upstream or registry"
        }
        FetchError::Status { .. } => "check --upstream: it is the folder above 'streams'",
        FetchError::NoSuchTag(_) => "check the name and the tag: oci://REGISTRY/NAME:TAG",
        FetchError::Unauthorized { file: Some(_), .. } => {
            "log in again, with 'skopeo login', 'podman login' or 'docker login'"
        }
        FetchError::Unauthorized { .. } | FetchError::Credentials { .. } => {
            "log in first, with 'skopeo login', 'podman login' or 'docker login'"
        }
        FetchError::NotARegistry { .. } => "check the address: oci://REGISTRY[:PORT]/NAME:TAG",
        FetchError::Foreign { .. } | FetchError::NotHeld { .. } => {
            "name a tag that 'maas-mirror export' or 'skopeo copy --all' made of a store"
        }
        FetchError::Digest { .. } => {
            "do not use this registry until its owner explains it; the earlier snapshot stands"
        }
        _ => "check the network, the proxy (HTTPS_PROXY) and --ca-file",
    };
    Some(hint.to_owned())
}

fn keyring_hint(error: &KeyringError) -> &'static str {
    match error {
        KeyringError::Engine(_) => "install GnuPG (Debian: apt-get install gnupg)",
        KeyringError::Home(_) => "set TMPDIR to a folder that can be written to",
        KeyringError::Read { .. } | KeyringError::NoKeys(_) => {
            "name a file made by: gpg --export KEYID > FILE"
        }
    }
}
