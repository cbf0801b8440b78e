//! What comes back is the text that was signed, as GnuPG gives it.

use super::{key, replace, trusting};

/// Signs `body`, verifies it and returns the plaintext.
fn round_trip(body: &[u8]) -> Vec<u8> {
    let key = key();
    let file = key.clear_sign(body).unwrap();
    trusting(&[&key]).verify(&file).unwrap().plaintext
}

#[test]
fn dashes_at_the_start_of_lines_come_back_unescaped() {
    let body = b"{\n- one\n-- two\n-----BEGIN PGP SIGNATURE-----\nFrom me\n}\n";
    assert_eq!(round_trip(body), body);
}

#[test]
fn a_body_of_five_megabytes_comes_back_whole() {
    let lines = (0..100_000).map(|n| format!("  \"item {n}\": \"{:032x}\",\n", n * 7919));
    let body = lines.collect::<String>().into_bytes();
    assert!(body.len() > 5_000_000);
    // Not assert_eq: a failure would print ten megabytes.
    assert!(round_trip(&body) == body);
}

#[test]
fn an_empty_body_comes_back_as_the_line_end_that_gpg_signs() {
    assert_eq!(round_trip(b""), b"\n");
}

#[test]
fn a_missing_last_line_end_is_added_by_signing() {
    assert_eq!(round_trip(b"{}"), b"{}\n");
}

#[test]
fn text_that_is_not_ascii_comes_back_as_it_was() {
    let body = "{\"title\": \"Xenial Xérus 🐿 \u{2028}\"}\n".as_bytes();
    assert_eq!(round_trip(body), body);
}

/// OpenPGP signs a clear text without the spaces at the ends of its lines, so
/// they can be added later without breaking the signature; they come back
/// neither way. In JSON they mean nothing.
#[test]
fn spaces_at_line_ends_are_not_part_of_the_text() {
    let key = key();
    let keyring = trusting(&[&key]);
    let file = key.clear_sign(b"{ \t \n}\n").unwrap();
    assert_eq!(keyring.verify(&file).unwrap().plaintext, b"{\n}\n");
    let file = replace(&key.clear_sign(b"{\"a\": 1}\n").unwrap(), "1}", "1} \t ");
    assert_eq!(keyring.verify(&file).unwrap().plaintext, b"{\"a\": 1}\n");
}

/// A file that went through a tool that writes CRLF: GnuPG says it is good and
/// gives the text with those line ends.
#[test]
fn a_file_with_crlf_line_ends_is_good() {
    let key = key();
    let file = String::from_utf8(key.clear_sign(b"{\n}\n").unwrap()).unwrap();
    let file = file.replace('\n', "\r\n");
    let verified = trusting(&[&key]).verify(file.as_bytes()).unwrap();
    assert_eq!(verified.plaintext, b"{\r\n}\r\n");
}

#[test]
fn a_carriage_return_within_a_line_breaks_the_signature() {
    let key = key();
    let file = replace(&key.clear_sign(b"{\"a\": 1}\n").unwrap(), "1}", "1}\r{\"evil\": 1}");
    assert!(trusting(&[&key]).verify(&file).is_err());
}
