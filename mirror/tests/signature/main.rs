//! Signatures made by the real `gpg`, judged by the library.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a helper of a test says where it failed by panicking"
)]

mod engine;
mod framing;
mod judged;
mod keyrings;
mod memory;
mod text;

use std::path::PathBuf;

use fixtures::SigningKey;
use maas_mirror::signature::Keyring;
use tempfile::TempDir;

/// A throwaway key that is good.
fn key() -> SigningKey {
    SigningKey::generate("Test <test@example.org>").unwrap()
}

/// The keyring that holds exactly `keys`.
fn trusting(keys: &[&SigningKey]) -> Keyring {
    keyring_from(&[&fixtures::keyring_of(keys)])
}

/// The keyring made from one file for each of `contents`.
fn keyring_from(contents: &[&[u8]]) -> Keyring {
    let (_dir, files) = keyring_files(contents);
    Keyring::from_files(&files).unwrap()
}

/// Writes one keyring file for each of `contents`.
fn keyring_files(contents: &[&[u8]]) -> (TempDir, Vec<PathBuf>) {
    let dir = tempfile::tempdir().unwrap();
    let write = |(number, bytes): (usize, &&[u8])| {
        let path = dir.path().join(format!("{number}.gpg"));
        std::fs::write(&path, bytes).unwrap();
        path
    };
    let files = contents.iter().enumerate().map(write).collect();
    (dir, files)
}

/// Replaces the one occurrence of `from` in a text file.
fn replace(file: &[u8], from: &str, to: &str) -> Vec<u8> {
    let text = std::str::from_utf8(file).unwrap();
    assert_eq!(text.matches(from).count(), 1, "{from:?} once in {text}");
    text.replace(from, to).into_bytes()
}
