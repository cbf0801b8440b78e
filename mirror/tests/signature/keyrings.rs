//! Keyring files.

use std::path::PathBuf;

use maas_mirror::signature::{Keyring, KeyringError, VerifyError};

use super::{key, keyring_files, keyring_from, trusting};

const BODY: &[u8] = b"{}\n";

#[test]
fn an_armored_keyring_is_as_good_as_a_binary_one() {
    let key = key();
    let keyring = keyring_from(&[&key.armored_keyring().unwrap()]);
    let [found] = keyring.keys().unwrap().try_into().unwrap();
    assert_eq!(found.fingerprint, key.fingerprint());
    keyring.verify(&key.clear_sign(BODY).unwrap()).unwrap();
}

#[test]
fn the_keys_of_several_files_count_together() {
    let keys = [key(), key(), key()];
    let [one, two, three] = &keys;
    let keyring = keyring_from(&[
        one.keyring(),
        &two.armored_keyring().unwrap(),
        &fixtures::keyring_of(&[two, three]),
    ]);
    assert_eq!(keyring.keys().unwrap().len(), 3);
    for key in &keys {
        keyring.verify(&key.clear_sign(BODY).unwrap()).unwrap();
    }
}

#[test]
fn one_file_without_keys_among_good_ones_is_named() {
    let key = key();
    let secret_like =
        b"-----BEGIN PGP PUBLIC KEY BLOCK-----\n\n-----END PGP PUBLIC KEY BLOCK-----\n";
    let signed = key.clear_sign(BODY).unwrap();
    for bad in [b"".as_slice(), b"hello\n", secret_like, &signed, &[0x99; 40]] {
        let (_dir, files) = keyring_files(&[key.keyring(), bad]);
        let error = Keyring::from_files(&files).unwrap().keys().unwrap_err();
        let KeyringError::NoKeys(named) = &error else {
            panic!("{error:?}");
        };
        assert!(named.ends_with("1.gpg"), "{named}");
    }
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let error = Keyring::from_files(&[PathBuf::from("/nowhere/keys.gpg")]).unwrap_err();
    assert!(matches!(error, KeyringError::Read { .. }), "{error:?}");
    assert!(error.to_string().contains("/nowhere/keys.gpg"), "{error}");
}

#[test]
fn no_files_means_the_builtin_keyring_and_it_trusts_no_other_key() {
    let key = key();
    let keyring = Keyring::from_files(&[]).unwrap();
    assert_eq!(keyring.digest(), Keyring::builtin().digest());
    let error = keyring.verify(&key.clear_sign(BODY).unwrap()).unwrap_err();
    assert!(matches!(error, VerifyError::UnknownKey { .. }), "{error:?}");
}

#[test]
fn the_digest_names_the_content() {
    let (one, two) = (key(), key());
    assert_eq!(trusting(&[&one]).digest(), trusting(&[&one]).digest());
    assert_ne!(trusting(&[&one]).digest(), trusting(&[&two]).digest());
    assert_ne!(trusting(&[&one]).digest(), trusting(&[&one, &two]).digest());
}
