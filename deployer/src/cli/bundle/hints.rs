//! Exit codes of what may go wrong with a bundle, and what to do next.

use oci::client::FetchError;

use super::super::failure::Exit;
use crate::bundle::{BundleError, Missing, Why};

/// The exit code.
pub(super) fn exit(error: &BundleError) -> Exit {
    match error {
        BundleError::Name(_)
        | BundleError::Clash { .. }
        | BundleError::NoSuchImage(_)
        | BundleError::NotWanted { .. }
        | BundleError::TwoFiles(_)
        | BundleError::FileName(_)
        | BundleError::Place { .. } => Exit::Usage,
        BundleError::Busy(_) => Exit::Locked,
        error if error.is_damage() => Exit::Unverified,
        BundleError::Space { .. }
        | BundleError::NotAMirrorBundle(_)
        | BundleError::NotAFile(_)
        | BundleError::Newer { .. } => Exit::Refused,
        BundleError::Missing(all) if all.iter().any(|one| one.why.is_absence()) => Exit::Refused,
        _ => Exit::Error,
    }
}

/// Lines that say more.
pub(super) fn details(error: &BundleError) -> Vec<String> {
    match error {
        BundleError::Missing(all) => all.iter().map(line).collect(),
        BundleError::NotWanted { holds, .. } => vec![format!("it holds {holds}")],
        _ => Vec::new(),
    }
}

fn line(missing: &Missing) -> String {
    format!("{}: {}", missing.image, crate::chain(&missing.why))
}

/// What to do where a file would take the place of something else.
pub(super) const NO_FILE: &str =
    "name another file: devices, pipes, folders and links are not replaced, not even with --force";

/// What to do next.
pub(super) fn hint(error: &BundleError) -> &'static str {
    match error {
        BundleError::Name(_) => "correct the image's name in the values",
        BundleError::Place { .. } => {
            "REGISTRY is HOST[:PORT][/PATH]; paths have lower-case letters, digits, '.', '_', '-', '/'"
        }
        BundleError::Clash { .. } => "give one of them another name or tag in the values",
        BundleError::NoSuchImage(_) | BundleError::NotWanted { .. } => {
            "'maas-deployer images' with the same values lists the release's images"
        }
        BundleError::TwoFiles(_) => "name each file once, or rename one",
        BundleError::FileName(_) => "rename it: letters, digits, '.', '_', '-', '+'",
        BundleError::NotAMirrorBundle(_) => "make one with 'maas-mirror export FILE'",
        BundleError::Space { .. } => {
            "make room, write to another disk, or leave out machines with --arch"
        }
        BundleError::NotAFile(_) => NO_FILE,
        BundleError::Busy(_) => "wait for it to end, or write to another file",
        BundleError::Missing(all) => missing(all),
        BundleError::Fetch { source, .. } => fetch(source),
        BundleError::Damaged { .. }
        | BundleError::Unreadable { .. }
        | BundleError::Contradiction { .. } => {
            "copy the bundle again and compare its sha256 with the one that was printed when it was made"
        }
        BundleError::Newer { .. } => "use the maas-deployer that is in the bundle, or a newer one",
        BundleError::Config(_) => "check --ca-file",
        BundleError::Io { .. } => "check the path, who may use it, and the free space",
        BundleError::Chart(_) | BundleError::Task(_) => {
            "this is an error of the program: report it"
        }
    }
}

fn missing(all: &[Missing]) -> &'static str {
    let of = |is: fn(&Why) -> bool| all.iter().any(|one| is(&one.why));
    if of(|why| matches!(why, Why::Fetch(FetchError::Transport { .. }))) {
        return "check the network, HTTPS_PROXY, and --plain-http where a registry has no TLS";
    }
    if of(|why| matches!(why, Why::Manifest(_))) {
        return "ask for machines that all images are there for, or leave --arch out";
    }
    if of(|why| matches!(why, Why::Layout { .. } | Why::Archive { .. } | Why::Tar { .. })) {
        return "give what 'docker save', 'podman save' or 'skopeo copy … oci-archive:' wrote";
    }
    "give an archive with --from-archive IMAGE=FILE, say where images are with --registry, or log in with 'docker login'"
}

fn fetch(error: &FetchError) -> &'static str {
    match error {
        FetchError::Unauthorized { file: Some(_), .. } => {
            "log in again with 'docker login' or 'podman login', as somebody who may write there"
        }
        FetchError::Unauthorized { .. } | FetchError::Credentials { .. } => {
            "log in with 'docker login' or 'podman login'"
        }
        FetchError::Transport { source, .. } if source.is_not_tls() => {
            "use --plain-http where the registry has no TLS"
        }
        FetchError::Transport { .. } => {
            "check the registry's name and the network, and --ca-file for a CA of your own; then run it again: it goes on from there"
        }
        FetchError::Status { status, .. } if status.as_u16() == 403 => {
            "ask for the right to write there, or name another path"
        }
        FetchError::Status { status, .. } if !status.is_server_error() => {
            "check the registry's name and path"
        }
        FetchError::NotARegistry { .. } => "check the registry's name and path",
        _ => "look at the registry's log, then run it again: it goes on from there",
    }
}
