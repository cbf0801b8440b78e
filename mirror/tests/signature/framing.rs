//! Files that `gpg` and `gpgv` accept, or nearly, and the library refuses:
//! clients would read what no signature covers.

use std::process::{Command, Stdio};

use fixtures::SigningKey;
use maas_mirror::signature::{FramingError, Keyring, VerifyError, check_clear_signed};
use proptest::prelude::*;

use super::{key, keyring_files, replace, trusting};

const BODY: &[u8] = b"{\"a\": 1}\n";

/// A signed file, and the keyring that trusts it.
fn signed() -> (SigningKey, Keyring, Vec<u8>) {
    let key = key();
    let keyring = trusting(&[&key]);
    let file = key.clear_sign(BODY).unwrap();
    (key, keyring, file)
}

#[track_caller]
fn assert_framing(keyring: &Keyring, file: &[u8], expected: FramingError) {
    match keyring.verify(file) {
        Err(VerifyError::Framing(found)) => assert_eq!(found, expected),
        other => panic!("{other:?}, not {expected:?}"),
    }
}

/// Whether `gpgv`, which clients run, exits 0 on `file`.
fn gpgv_accepts(key: &SigningKey, file: &[u8]) -> bool {
    let (dir, keyring) = keyring_files(&[key.keyring()]);
    let path = dir.path().join("file");
    std::fs::write(&path, file).unwrap();
    let mut gpgv = Command::new("gpgv");
    gpgv.args(["--homedir".as_ref(), dir.path()]).arg("--keyring").args(keyring).arg(path);
    gpgv.stderr(Stdio::null()).status().unwrap().success()
}

#[test]
fn text_before_or_after_is_refused_though_gpgv_takes_it() {
    let (key, keyring, file) = signed();
    let before = [b"{\"evil\": 1}\n".as_slice(), &file].concat();
    let after = [&file, b"{\"evil\": 1}\n".as_slice()].concat();
    assert!(gpgv_accepts(&key, &before) && gpgv_accepts(&key, &after));
    assert_framing(&keyring, &before, FramingError::TextBefore);
    assert_framing(&keyring, &after, FramingError::TextAfter);
}

/// GnuPG cuts a line off past 20,000 bytes and ignores spaces at its end: what
/// follows 20,000 spaces is in the file and not in what it checks.
#[test]
fn text_past_the_end_of_what_gnupg_reads_of_a_line_is_refused() {
    let (key, keyring, file) = signed();
    let evil = format!("\"a\": 1}}{}, \"evil\": 1}}", " ".repeat(20_000));
    let file = replace(&file, "\"a\": 1}", &evil);
    assert!(gpgv_accepts(&key, &file));
    assert_framing(&keyring, &file, FramingError::TextInLine);
}

#[test]
fn the_longest_line_that_gpg_signs_is_accepted() {
    let key = key();
    let body = format!("\"{}\"\n", "x".repeat(19_991));
    let verified = trusting(&[&key]).verify(&key.clear_sign(body.as_bytes()).unwrap()).unwrap();
    assert_eq!(verified.plaintext, body.as_bytes());
}

#[test]
fn two_messages_are_refused() {
    let (_key, keyring, file) = signed();
    assert_framing(&keyring, &[file.as_slice(), &file].concat(), FramingError::NotOne);
}

#[test]
fn a_header_that_is_not_hash_is_refused() {
    let (_key, keyring, file) = signed();
    let file = replace(&file, "MESSAGE-----\n", "MESSAGE-----\nComment: {\"evil\": 1}\n");
    assert_framing(&keyring, &file, FramingError::TextInHeader);
}

#[test]
fn a_binary_message_is_told_from_a_file_without_signature() {
    let (key, keyring, _) = signed();
    let binary = key.sign_binary(BODY).unwrap();
    assert_framing(&keyring, &binary, FramingError::NotClearSigned);
    for unsigned in [BODY, b"", b"\n", b"<html>404</html>"] {
        assert_framing(&keyring, unsigned, FramingError::NotSigned);
    }
}

#[test]
fn every_truncation_is_refused() {
    let (_key, keyring, file) = signed();
    for length in 0..file.len() - 1 {
        let result = keyring.verify(file.get(..length).unwrap());
        assert!(matches!(result, Err(VerifyError::Framing(_))), "{length}: {result:?}");
    }
}

proptest! {
    /// Whatever the text and the signature are, nothing beside them passes.
    #[test]
    fn one_message_passes_and_nothing_beside_it(
        body in any::<Vec<u8>>(), signature in any::<Vec<u8>>(), beside in "[a-z{}]{1,9}\n",
    ) {
        let dashes = |bytes: &[u8]| bytes.windows(5).any(|part| part == b"-----");
        prop_assume!(!dashes(&body) && !dashes(&signature));
        let message = [
            b"-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA512\n\n".as_slice(), &body,
            b"\n-----BEGIN PGP SIGNATURE-----\n\n", &signature,
            b"\n-----END PGP SIGNATURE-----\n",
        ].concat();
        let before = [beside.as_bytes(), &message].concat();
        let after = [&message, beside.as_bytes()].concat();
        prop_assert_eq!(check_clear_signed(&message), Ok(()));
        prop_assert_eq!(check_clear_signed(&before), Err(FramingError::TextBefore));
        prop_assert_eq!(check_clear_signed(&after), Err(FramingError::TextAfter));
    }
}

#[test]
fn garbage_where_the_signature_should_be_is_malformed() {
    let (_key, keyring, file) = signed();
    let text = String::from_utf8(file).unwrap();
    let (head, _) = text.split_once("SIGNATURE-----\n").unwrap();
    for garbage in ["", "\n", "\n!!!!\n", "\nAAAA\n=AAAA\n", "no: \0\n"] {
        let file = format!("{head}SIGNATURE-----\n{garbage}-----END PGP SIGNATURE-----\n");
        let error = keyring.verify(file.as_bytes()).unwrap_err();
        assert!(matches!(error, VerifyError::Malformed(_)), "{garbage:?}: {error:?}");
    }
}
