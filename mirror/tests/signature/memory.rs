//! Files judged before are not judged again, and nothing else passes for one.

use std::time::Duration;

use fixtures::SigningKey;
use maas_mirror::signature::{Judgement, Keyring, Memory, VerifyError};
use maas_mirror::simplestreams::Digest;

use super::{key, replace, trusting};

const BODY: &[u8] = b"{\n- \"a\": 1\n}\n";

/// The memory of `keyring` having judged `file`, after a round trip to disk.
fn memory_of(keyring: &Keyring, file: &[u8]) -> Memory {
    let judgement = Judgement::from(&keyring.verify(file).unwrap());
    let memory = Memory::of(keyring, [(Digest::of(file), &judgement)].into_iter());
    serde_json::from_slice(&serde_json::to_vec(&memory).unwrap()).unwrap()
}

#[test]
fn what_is_recalled_is_what_was_judged() {
    let key = key();
    let keyring = trusting(&[&key]);
    let bodies: [&[u8]; 5] = [
        BODY,
        b"",
        b"\n\n",
        b"-----BEGIN PGP SIGNATURE-----\n",
        "{\"é\": \"\u{2028}\"}\n".as_bytes(),
    ];
    for body in bodies {
        let file = key.clear_sign(body).unwrap();
        let (memory, judged) = (memory_of(&keyring, &file), keyring.verify(&file).unwrap());
        // What cannot be recalled is judged again, with the same outcome.
        let again = memory.verify(&keyring, &file).unwrap();
        assert_eq!((&again.plaintext, &again.signers), (&judged.plaintext, &judged.signers));
        if let Some(recalled) = memory.recall(&keyring, &file) {
            assert_eq!(recalled.plaintext, judged.plaintext);
        }
    }
}

#[test]
fn an_ordinary_file_is_recalled() {
    let key = key();
    let keyring = trusting(&[&key]);
    let file = key.clear_sign(BODY).unwrap();
    let recalled = memory_of(&keyring, &file).recall(&keyring, &file).unwrap();
    assert_eq!(recalled.plaintext, BODY);
    assert_eq!(recalled.signers, keyring.verify(&file).unwrap().signers);
}

#[test]
fn any_other_bytes_are_judged() {
    let key = key();
    let keyring = trusting(&[&key]);
    let file = key.clear_sign(BODY).unwrap();
    let memory = memory_of(&keyring, &file);
    let tampered = replace(&file, "\"a\": 1", "\"a\": 2");
    let with_space = replace(&file, "\"a\": 1", "\"a\": 1 ");
    for other in [tampered.as_slice(), &with_space, &file[1..], b""] {
        assert!(memory.recall(&keyring, other).is_none());
    }
    let error = memory.verify(&keyring, &tampered).unwrap_err();
    assert!(matches!(error, VerifyError::Bad { .. }), "{error:?}");
}

#[test]
fn another_keyring_remembers_nothing_of_it() {
    let (key, other) = (key(), key());
    let file = key.clear_sign(BODY).unwrap();
    let memory = memory_of(&trusting(&[&key]), &file);
    for keyring in [trusting(&[&other]), trusting(&[&key, &other])] {
        assert!(memory.recall(&keyring, &file).is_none());
    }
    let error = memory.verify(&trusting(&[&other]), &file).unwrap_err();
    assert!(matches!(error, VerifyError::UnknownKey { .. }), "{error:?}");
}

/// An expired key that was allowed once is not allowed for good.
#[test]
fn a_file_by_an_expired_key_is_judged_each_time() {
    let key = SigningKey::generate_expired("Old <old@example.org>").unwrap();
    let file = key.clear_sign(BODY).unwrap();
    let memory = memory_of(&trusting(&[&key]).allow_expired(true), &file);
    assert!(memory.recall(&trusting(&[&key]), &file).is_none());
    let error = memory.verify(&trusting(&[&key]), &file).unwrap_err();
    assert!(matches!(error, VerifyError::ExpiredKey { .. }), "{error:?}");
}

#[test]
fn a_key_that_expires_later_is_recalled_until_then() {
    let key =
        SigningKey::generate_expiring("Soon <s@example.org>", Duration::from_secs(3600)).unwrap();
    let keyring = trusting(&[&key]);
    let file = key.clear_sign(BODY).unwrap();
    let memory = memory_of(&keyring, &file);
    assert!(memory.recall(&keyring, &file).is_some());

    let mut value = serde_json::to_value(&memory).unwrap();
    let files = value["files"].as_object_mut().unwrap();
    files.values_mut().for_each(|file| file["signers"][0]["expires"] = 1.into());
    let expired: Memory = serde_json::from_value(value).unwrap();
    assert!(expired.recall(&keyring, &file).is_none());
}

/// The plaintext is cut from the file, so it must be what GnuPG gave.
#[test]
fn a_memory_of_another_plaintext_is_not_believed() {
    let key = key();
    let keyring = trusting(&[&key]);
    let file = key.clear_sign(BODY).unwrap();
    let mut value = serde_json::to_value(memory_of(&keyring, &file)).unwrap();
    let files = value["files"].as_object_mut().unwrap();
    files.values_mut().for_each(|file| file["plaintext"] = Digest::of(b"{}").to_oci().into());
    let other: Memory = serde_json::from_value(value).unwrap();
    assert!(other.recall(&keyring, &file).is_none());
    assert_eq!(other.verify(&keyring, &file).unwrap().plaintext, BODY);
}
