//! `verify` finds every damage, and `--repair` with a sync mends it.

use std::path::PathBuf;

use e2e::{Held, World};
use fixtures::SigningKey;
use serde_json::Value;

const SQUASHFS: &str = "xenial/amd64/20210928/squashfs";

fn blob(world: &World, path: &str) -> PathBuf {
    let digest = world.stream.items[path].sha256();
    world.store().join("blobs/sha256").join(digest)
}

/// Flips one byte; the length stays.
fn flip(path: &std::path::Path) {
    let mut bytes = std::fs::read(path).expect("blob");
    bytes[1000] ^= 1;
    std::fs::write(path, bytes).expect("write");
}

/// Subjects of the problems that `verify` reports.
#[track_caller]
fn problems(world: &World, args: &[&str], code: i32) -> Vec<String> {
    let report = world.verify().args(["-o", "json"]).args(args).run().expect(code).json();
    assert_eq!(report["intact"], code == 0);
    let problems = report["problems"].as_array().expect("problems").iter();
    problems.map(|problem| problem["subject"].as_str().expect("subject").to_owned()).collect()
}

#[test]
fn an_intact_store() {
    let (world, old) = World::held();
    let file = world.dir().join("report.json");
    let run = world.verify().args(["--report".as_ref(), file.as_os_str()]).run().expect(0);
    assert!(run.stdout.ends_with("intact: every signature and digest holds\n"), "{}", run.stdout);
    let report: Value =
        serde_json::from_slice(&std::fs::read(file).expect("report")).expect("JSON");
    assert_eq!(report["intact"], true);
    assert_eq!(report["blobs"], old.blobs.len());
    let signed = report["snapshots"][0]["metadata"].as_array().expect("metadata");
    assert_eq!(signed.len(), 3);
    for file in signed {
        assert_eq!(file["signed_by"][0], world.key.fingerprint());
    }
    assert_eq!(report["trusted_keys"][0], world.key.fingerprint());
}

#[test]
fn a_flipped_byte() {
    let (world, old) = World::held();
    flip(&blob(&world, SQUASHFS));
    let file = world.dir().join("report.json");
    let run = world.verify().args(["--report".as_ref(), file.as_os_str()]).run().expect(4);
    assert!(run.stdout.contains(&format!("NOT RIGHT: {SQUASHFS}: ")), "{}", run.stdout);
    let report: Value =
        serde_json::from_slice(&std::fs::read(file).expect("report")).expect("JSON");
    assert_eq!(report["intact"], false);
    assert_eq!(report["problems"][0]["subject"], SQUASHFS);

    // Only lengths are compared.
    assert!(problems(&world, &["--quick"], 0).is_empty());
    assert_eq!(problems(&world, &["--repair"], 4), [SQUASHFS]);
    assert!(!blob(&world, SQUASHFS).exists());
    let digest = world.stream.items[SQUASHFS].sha256();
    assert!(world.store().join(".maas-mirror/quarantine").join(digest).exists());
    world.server.clear_log();
    world.sync().run().expect(0);
    assert_eq!(world.items_requested(), [SQUASHFS]);
    old.assert_stands(&world);
}

#[test]
fn a_truncated_blob() {
    let (world, old) = World::held();
    let path = blob(&world, SQUASHFS);
    let bytes = std::fs::read(&path).expect("blob");
    std::fs::write(&path, &bytes[..1000]).expect("write");
    assert_eq!(problems(&world, &["--quick"], 4), [SQUASHFS]);
    assert_eq!(problems(&world, &[], 4), [SQUASHFS]);
    // A sync sees the length by itself.
    world.server.clear_log();
    world.sync().run().expect(0);
    assert_eq!(world.items_requested(), [SQUASHFS]);
    old.assert_stands(&world);
}

#[test]
fn a_missing_blob() {
    let (world, old) = World::held();
    std::fs::remove_file(blob(&world, SQUASHFS)).expect("remove");
    assert_eq!(problems(&world, &["--quick"], 4), [SQUASHFS]);
    assert_eq!(problems(&world, &[], 4), [SQUASHFS]);
    world.sync().run().expect(0);
    old.assert_stands(&world);
}

/// Each kind of file that a snapshot is made of: the store must be mendable whatever is damaged.
#[test]
fn every_blob_can_be_mended() {
    let (world, old) = World::held();
    for name in &old.blobs {
        let path = world.store().join("blobs/sha256").join(name);
        let mut bytes = std::fs::read(&path).expect("blob");
        bytes[0] ^= 1;
        std::fs::write(&path, bytes).expect("write");
        world.verify().run().expect(4);
        world.verify().args(["--repair"]).run().expect(4);
        let run = world.sync().run();
        assert_eq!(run.code, 0, "after damage to {name}: {}", run.stderr);
        world.verify().run().expect(0);
        assert_eq!(Held::by(&world).snapshot, old.snapshot);
    }
}

#[test]
fn damage_of_metadata_is_named_once() {
    let (world, _) = World::held();
    let path = world.products_path();
    let digest = e2e::sha256(&std::fs::read(world.upstream().join(&path)).expect("products"));
    flip(&world.store().join("blobs/sha256").join(digest));
    let found = problems(&world, &[], 4);
    assert!(!found.is_empty() && found.iter().all(|subject| *subject == path), "{found:?}");
    // A metadata file is read whatever is asked for.
    assert!(!problems(&world, &["--quick"], 4).is_empty());
}

#[test]
fn another_keyring() {
    let (world, old) = World::held();
    let other = SigningKey::generate("Other <o@example.org>").expect("key");
    let keyring = world.dir().join("other.gpg");
    other.write_keyring(&keyring).expect("keyring");
    let verify = world.mirror("verify").args(["--keyring".as_ref(), keyring.as_os_str()]);
    let run = verify.run().expect(4);
    assert!(run.stdout.contains("which is not in the keyring"), "{}", run.stdout);
    // The built-in one does not know the test's key either, and nothing is repaired away.
    world.mirror("verify").args(["--repair"]).run().expect(4);
    world.assert_serves_old(&old);
}

#[test]
fn strangers_in_the_store() {
    let (world, _) = World::held();
    let stranger = world.store().join("blobs/sha256/notes.txt");
    std::fs::write(&stranger, "mine").expect("write");
    assert_eq!(problems(&world, &[], 4), [stranger.display().to_string()]);
}

#[test]
fn an_empty_store() {
    let world = World::new();
    world.server.fault(fixtures::Fault::on("index.sjson").status(404));
    world.sync().run().expect(1);
    let run = world.verify().run().expect(0);
    assert!(
        run.stdout.ends_with("intact, and empty: there is no snapshot yet\n"),
        "{}",
        run.stdout
    );
    world.mirror("list").run().failed(1, "no-snapshot-list");
}

/// A snapshot that was replaced and cannot be read serves nobody. It must not keep a sync from
/// ending well, and a repair forgets it.
#[test]
fn a_damaged_snapshot_that_was_replaced() {
    let (mut world, old) = World::held_and_newer();
    world.sync().run().expect(0);
    let replaced = old.snapshot.trim_start_matches("sha256:").to_owned();
    flip(&world.store().join("blobs/sha256").join(replaced));
    world.stream.add_version("20270101").expect("version");
    world.publish();
    let run = world.sync().args(["--grace", "0s"]).run().expect(0);
    assert!(run.stderr.contains("warning: old snapshots could not be removed"), "{}", run.stderr);
    world.verify().run().expect(4);
    world.verify().args(["--repair"]).run().expect(4);
    let held = Held::by(&world);
    world.verify().run().expect(0);
    world.sync().run().expect(0);
    held.assert_stands(&world);
}
