//! Signatures that do not hold: exit 4, and the earlier snapshot stands.

use e2e::World;
use fixtures::{SigningKey, StreamSpec, keyring_of};

/// Mirrors, lets `break_it` change the upstream, and checks that the next sync refuses.
#[track_caller]
fn refused(message: &str, break_it: impl FnOnce(&World)) {
    let (world, old) = World::held();
    break_it(&world);
    world.sync().run().failed(4, message);
    world.assert_serves_old(&old);
}

fn stranger() -> SigningKey {
    SigningKey::generate("Stranger <s@example.org>").expect("key")
}

#[test]
fn an_unsigned_index() {
    refused("signature-none", |world| {
        world.put_index(&world.stream.index_text().expect("index"));
    });
}

#[test]
fn an_unsigned_products_file() {
    refused("signature-none-products", |world| {
        let path = world.products_path();
        world.put(&path, &world.stream.products_text(&path).expect("products"));
    });
}

#[test]
fn the_signature_of_another_key() {
    refused("signature-other-key", |world| {
        let index = world.stream.index_text().expect("index");
        world.put_index(&stranger().clear_sign(&index).expect("sign"));
    });
}

#[test]
fn a_tampered_index() {
    refused("signature-tampered", |world| {
        world.put_index(world.index().replacen("image-ids", "image-IDs", 1).as_bytes());
    });
}

#[test]
fn a_tampered_products_file() {
    refused("signature-tampered-products", |world| {
        let path = world.products_path();
        let text = std::fs::read_to_string(world.upstream().join(&path)).expect("products");
        world.put(&path, text.replacen("squashfs", "squashFS", 1).as_bytes());
    });
}

#[test]
fn text_before_the_signed_part() {
    refused("signature-text-before", |world| {
        world.put_index(format!("{{\"index\": {{}}}}\n{}", world.index()).as_bytes());
    });
}

#[test]
fn text_after_the_signed_part() {
    refused("signature-text-after", |world| {
        world.put_index(format!("{}{{\"index\": {{}}}}\n", world.index()).as_bytes());
    });
}

#[test]
fn text_in_the_header_of_the_signed_part() {
    refused("signature-text-in-header", |world| {
        let smuggled = world.index().replacen("\nHash:", "\n{\"index\": {}}\nHash:", 1);
        assert_ne!(smuggled, world.index());
        world.put_index(smuggled.as_bytes());
    });
}

/// GnuPG calls this signature good: it reads only the first 19,995 bytes of a line.
#[test]
fn text_far_out_in_a_signed_line() {
    refused("signature-text-in-line", |world| {
        let spaces = " ".repeat(20_000);
        let smuggled = format!("{{{spaces}\"evil\": 1,\n");
        let index = world.index().replacen("{\n", &smuggled, 1);
        assert_ne!(index, world.index());
        world.put_index(index.as_bytes());
    });
}

#[test]
fn two_signatures_of_which_one_is_unknown() {
    refused("signature-one-of-two", |world| {
        let index = world.stream.index_text().expect("index");
        let signed = world.key.clear_sign_with(&[&stranger()], &index);
        world.put_index(&signed.expect("sign"));
    });
}

#[test]
fn two_signatures_that_are_both_known() {
    let world = World::new();
    let second = stranger();
    let index = world.stream.index_text().expect("index");
    let signed = world.key.clear_sign_with(&[&second], &index);
    world.put_index(&signed.expect("sign"));
    let both = keyring_of(&[&world.key, &second]);
    std::fs::write(world.dir().join("keyring.gpg"), both).expect("keyring");
    world.sync().run().expect(0);
}

#[test]
fn a_binary_message() {
    refused("signature-binary", |world| {
        let index = world.stream.index_text().expect("index");
        world.put_index(&world.key.sign_binary(&index).expect("sign"));
    });
}

#[test]
fn a_truncated_index() {
    refused("signature-truncated", |world| {
        let index = world.index();
        let end = index.find("-----END").expect("end");
        world.put_index(&index.as_bytes()[..end]);
    });
}

#[test]
fn an_expired_key() {
    let key = SigningKey::generate_expired("Old <o@example.org>").expect("key");
    let world = World::signed_by(key, &StreamSpec::new());
    world.sync().run().failed(4, "signature-expired");
    assert!(world.items_requested().is_empty());
    world.sync().args(["--allow-expired-key"]).run().expect(0);
    world.verify().run().expect(4);
    world.verify().args(["--allow-expired-key"]).run().expect(0);
}

#[test]
fn a_revoked_key() {
    let key = SigningKey::generate_revoked("Gone <g@example.org>").expect("key");
    let world = World::signed_by(key, &StreamSpec::new());
    world.sync().run().failed(4, "signature-revoked");
    // Expired is not revoked.
    world.sync().args(["--allow-expired-key"]).run().expect(4);
    assert!(world.items_requested().is_empty());
}

#[test]
fn a_keyring_that_is_missing_or_garbage() {
    let (world, old) = World::held();
    world.sync().args(["--keyring", "/nonexistent.gpg"]).run().failed(1, "keyring-missing");
    let garbage = world.dir().join("garbage.gpg");
    std::fs::write(&garbage, "no key at all").expect("write");
    let with_garbage = world.sync().args(["--keyring".as_ref(), garbage.as_os_str()]);
    with_garbage.run().failed(1, "keyring-garbage");
    world.assert_serves_old(&old);
}

#[test]
fn the_built_in_keyring_does_not_know_the_test_key() {
    let world = World::new();
    let store = world.store();
    let sync = world.at("sync", &store);
    sync.args(["--upstream", &world.server.url()]).run().failed(4, "signature-builtin");
}
