//! Content types, by the kinds of file that streams have.

use crate::simplestreams::RelPath;

pub(super) const JSON: &str = "application/json";

/// The content type of a file. Compressed files are what they are: no
/// `Content-Encoding` stands beside it, and no client unpacks them on the way.
pub(super) fn of(path: &RelPath) -> &'static str {
    let name = path.file_name();
    let extension = name.rsplit_once('.').map(|(_, extension)| extension);
    match extension {
        Some("json") => JSON,
        // JSON inside a clear-signed message is not JSON.
        Some("sjson" | "manifest" | "txt") => "text/plain; charset=utf-8",
        Some("gpg" | "asc" | "sig") => "application/pgp-signature",
        Some("gz" | "tgz") => "application/gzip",
        Some("xz" | "txz") => "application/x-xz",
        Some("zst") => "application/zstd",
        Some("tar") => "application/x-tar",
        Some("squashfs") => "application/vnd.squashfs",
        _ if name == "squashfs" => "application/vnd.squashfs",
        _ => "application/octet-stream",
    }
}
