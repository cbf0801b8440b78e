//! Which signatures are accepted, and how the refused ones are told apart.

use std::time::{Duration, SystemTime};

use fixtures::SigningKey;
use maas_mirror::signature::VerifyError;

use super::{key, replace, trusting};

const BODY: &[u8] = b"{\"a\": 1}\n";

#[test]
fn a_good_signature_gives_plaintext_and_signer() {
    let key = key();
    let verified = trusting(&[&key]).verify(&key.clear_sign(BODY).unwrap()).unwrap();
    assert_eq!(verified.plaintext, BODY);
    let [signer] = verified.signers.as_slice() else {
        panic!("{:?}", verified.signers);
    };
    assert_eq!(signer.fingerprint, key.fingerprint());
    assert_eq!(signer.user_id, "Test <test@example.org>");
    assert_eq!(signer.expires, None);
}

#[test]
fn a_key_that_expires_later_is_good_and_says_when() {
    let day = Duration::from_secs(24 * 60 * 60);
    let key = SigningKey::generate_expiring("Soon <soon@example.org>", day).unwrap();
    let verified = trusting(&[&key]).verify(&key.clear_sign(BODY).unwrap()).unwrap();
    let expires = verified.signers.first().unwrap().expires.unwrap();
    assert!(expires > SystemTime::now() && expires < SystemTime::now() + 2 * day);
}

#[test]
fn an_unknown_key_is_named() {
    let (ours, theirs) = (key(), key());
    let error = trusting(&[&ours]).verify(&theirs.clear_sign(BODY).unwrap()).unwrap_err();
    let VerifyError::UnknownKey { key } = &error else {
        panic!("{error:?}");
    };
    assert!(theirs.fingerprint().ends_with(key), "{key}");
    assert!(error.to_string().contains(key), "{error}");
}

/// GnuPG hands out the plaintext of a tampered file; the library must not.
#[test]
fn a_tampered_body_is_bad_and_gives_no_plaintext() {
    let key = key();
    let file = replace(&key.clear_sign(BODY).unwrap(), "\"a\": 1", "\"a\": 2");
    let error = trusting(&[&key]).verify(&file).unwrap_err();
    assert!(matches!(error, VerifyError::Bad { .. }), "{error:?}");
    assert!(!format!("{error:?} {error}").contains("\"a\""), "{error:?}");
}

#[test]
fn every_flipped_letter_of_the_body_is_noticed() {
    let key = key();
    let keyring = trusting(&[&key]);
    let file = key.clear_sign(b"{\"release\": \"xenial\"}\n").unwrap();
    let body = file.windows(6).position(|part| part == b"xenial").unwrap();
    for at in body..body + 6 {
        let mut flipped = file.clone();
        *flipped.get_mut(at).unwrap() ^= 1;
        let error = keyring.verify(&flipped).unwrap_err();
        assert!(matches!(error, VerifyError::Bad { .. }), "{at}: {error:?}");
    }
}

#[test]
fn the_signature_of_another_file_is_bad() {
    let key = key();
    let (one, two) = (key.clear_sign(b"one\n").unwrap(), key.clear_sign(b"two\n").unwrap());
    let (one, two) = (String::from_utf8(one).unwrap(), String::from_utf8(two).unwrap());
    let marker = "-----BEGIN PGP SIGNATURE-----";
    let (body, _) = one.split_once(marker).unwrap();
    let (_, signature) = two.split_once(marker).unwrap();
    let error = trusting(&[&key]).verify(format!("{body}{marker}{signature}").as_bytes());
    assert!(matches!(error, Err(VerifyError::Bad { .. })), "{error:?}");
}

#[test]
fn an_expired_key_is_refused_unless_that_is_allowed() {
    let key = SigningKey::generate_expired("Old <old@example.org>").unwrap();
    let file = key.clear_sign(BODY).unwrap();
    let error = trusting(&[&key]).verify(&file).unwrap_err();
    let VerifyError::ExpiredKey { key: named } = &error else {
        panic!("{error:?}");
    };
    assert!(key.fingerprint().ends_with(named), "{named}");

    let verified = trusting(&[&key]).allow_expired(true).verify(&file).unwrap();
    assert_eq!(verified.plaintext, BODY);
    let signer = verified.signers.first().unwrap();
    assert_eq!(signer.fingerprint, key.fingerprint());
    assert!(signer.expires.unwrap() < SystemTime::now());
}

#[test]
fn allowing_expired_keys_allows_nothing_else() {
    let expired = SigningKey::generate_expired("Old <old@example.org>").unwrap();
    let (good, stranger) = (key(), key());
    let keyring = trusting(&[&expired, &good]).allow_expired(true);
    let sign = |key: &SigningKey| key.clear_sign(BODY).unwrap();

    for key in [&expired, &good] {
        let error = keyring.verify(&replace(&sign(key), "\"a\": 1", "\"a\": 2")).unwrap_err();
        assert!(matches!(error, VerifyError::Bad { .. }), "{error:?}");
    }
    let error = keyring.verify(&sign(&stranger)).unwrap_err();
    assert!(matches!(error, VerifyError::UnknownKey { .. }), "{error:?}");
}

#[test]
fn a_revoked_key_is_refused_even_where_expired_ones_are_not() {
    let key = SigningKey::generate_revoked("Gone <gone@example.org>").unwrap();
    let file = key.clear_sign(BODY).unwrap();
    for allow in [false, true] {
        let error = trusting(&[&key]).allow_expired(allow).verify(&file).unwrap_err();
        assert!(matches!(error, VerifyError::RevokedKey { .. }), "{error:?}");
    }
}

#[test]
fn two_known_signers_are_both_reported() {
    let (one, two) = (key(), key());
    let file = one.clear_sign_with(&[&two], BODY).unwrap();
    let verified = trusting(&[&one, &two]).verify(&file).unwrap();
    let mut signers: Vec<_> = verified.signers.iter().map(|s| s.fingerprint.as_str()).collect();
    let mut keys = [one.fingerprint(), two.fingerprint()];
    signers.sort_unstable();
    keys.sort_unstable();
    assert_eq!(signers, keys);
}

/// `gpgv` refuses such a file, so clients would.
#[test]
fn one_unknown_signer_of_two_is_enough_to_refuse() {
    let (known, unknown) = (key(), key());
    let keyring = trusting(&[&known]);
    let first = known.clear_sign_with(&[&unknown], BODY).unwrap();
    let second = unknown.clear_sign_with(&[&known], BODY).unwrap();
    for file in [first, second] {
        let error = keyring.verify(&file).unwrap_err();
        let VerifyError::UnknownKey { key } = &error else {
            panic!("{error:?}");
        };
        assert!(unknown.fingerprint().ends_with(key), "{key}");
    }
}

#[test]
fn a_damaged_signature_is_not_good() {
    let key = key();
    let file = String::from_utf8(key.clear_sign(BODY).unwrap()).unwrap();
    let (head, signature) = file.split_once("SIGNATURE-----\n\n").unwrap();
    let damaged = [
        format!("{head}SIGNATURE-----\n\n-----END PGP SIGNATURE-----\n"),
        format!("{head}SIGNATURE-----\n\nAAAA\n-----END PGP SIGNATURE-----\n"),
        format!("{head}SIGNATURE-----\n\n{}", signature.replacen(char::is_alphabetic, "9", 1)),
    ];
    for file in damaged {
        let error = trusting(&[&key]).verify(file.as_bytes()).unwrap_err();
        let expected = matches!(error, VerifyError::Malformed(_) | VerifyError::Bad { .. });
        assert!(expected, "{error:?}: {file}");
    }
}
