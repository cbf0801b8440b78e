//! What a store lives through: first sync, nothing new, a new version, prune.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use e2e::{Held, Serving, World, blobs_in, files_below, sha256};
use fixtures::{Fault, StreamSpec};

/// What tells an untouched file: path, inode, time of change, length.
fn tree(folder: &Path) -> Vec<(PathBuf, u64, i64, i64, u64)> {
    let look = |path: PathBuf| {
        let meta = std::fs::metadata(&path).expect("file");
        (path, meta.ino(), meta.mtime(), meta.mtime_nsec(), meta.len())
    };
    files_below(folder).into_iter().map(look).collect()
}

#[test]
fn nothing_new() {
    let (world, old) = World::held();
    let index = world.store().join("index.json");
    let before =
        (tree(&world.store().join("blobs")), std::fs::metadata(&index).expect("index").ino());
    world.server.clear_log();
    let run = world.sync().run().expect(0);
    assert!(run.stdout.starts_with("nothing new: snapshot "), "{}", run.stdout);
    assert_eq!(run.stdout.lines().count(), 1);
    assert!(world.items_requested().is_empty());
    assert_eq!(world.server.requests().len(), 3);
    let report = world.sync().args(["-o", "json"]).run().expect(0).json();
    assert_eq!((&report["changed"], &report["fetched_bytes"]), (&false.into(), &0.into()));
    let after =
        (tree(&world.store().join("blobs")), std::fs::metadata(&index).expect("index").ino());
    assert_eq!(before, after);
    assert_eq!(world.sync().args(["--quiet"]).run().expect(0).stdout, "");
    world.assert_serves_old(&old);
}

#[test]
fn the_first_sync_fetches_each_content_once() {
    let world = World::new();
    let report = world.sync().args(["-o", "json"]).run().expect(0).json();
    let mut requested = world.items_requested();
    assert_eq!(report["fetched_items"], requested.len());
    requested.sort();
    requested.dedup();
    assert_eq!(report["fetched_items"], requested.len());
    let digests = requested.iter().map(|path| world.stream.items[path].sha256());
    assert!(
        digests.collect::<std::collections::BTreeSet<_>>().is_subset(&blobs_in(&world.store()))
    );
    // All that was asked said who asks, and for bytes as they are.
    for request in world.server.requests() {
        assert!(request.user_agent.unwrap_or_default().starts_with("maas-mirror/"));
    }
}

#[test]
fn a_dry_run_changes_nothing() {
    let world = World::new();
    let plan = world.sync().args(["--dry-run", "-o", "json"]).run().expect(0).json();
    assert!(!world.store().exists());
    assert_eq!(plan["dry_run"], true);
    assert_eq!(plan["fetch_bytes"], plan["bytes"]);
    assert!(world.items_requested().is_empty());
    world.sync().run().expect(0);
    let before = tree(&world.store());
    let plan = world.sync().args(["--dry-run", "-o", "json", "--max-versions", "all"]).run();
    let plan = plan.expect(0).json();
    assert_eq!(plan["fetch_bytes"], 0);
    let text = world.sync().args(["--dry-run"]).run().expect(0).stdout;
    assert!(text.contains("held ") && !text.contains("fetch "), "{text}");
    assert_eq!(before, tree(&world.store()));
}

#[test]
fn a_new_version_within_the_grace_period() {
    let (world, old) = World::held_and_newer();
    world.server.clear_log();
    world.sync().run().expect(0);
    let new = Held::by(&world);
    assert_ne!(old.snapshot, new.snapshot);
    // Bootloaders did not change.
    assert!(world.items_requested().iter().all(|path| path.contains("20211015")));
    let serving = Serving::ready(world.serve());
    new.assert_served_by(&serving);
    // A client that holds yesterday's index can finish.
    for (path, bytes) in old.files.iter().filter(|(path, _)| !path.starts_with("streams/")) {
        let answer = serving.get(&format!("/images/{path}"));
        assert!(answer.status == 200 && answer.body == *bytes, "{path}");
    }
    serving.stop();
    world.verify().run().expect(0);
    world.mirror("prune").run().expect(0);
    assert!(old.blobs.is_subset(&blobs_in(&world.store())));
}

#[test]
fn a_new_version_without_grace() {
    let (world, old) = World::held_and_newer();
    world.server.clear_log();
    let run = world.sync().args(["--grace", "0s"]).run().expect(0);
    assert!(run.stdout.contains("removed 1 snapshot past the grace period"), "{}", run.stdout);
    assert!(world.items_requested().iter().all(|path| path.contains("20211015")));
    let new = Held::by(&world);
    let gone = &world.stream.items["xenial/amd64/20210928/squashfs"].sha256();
    assert!(old.blobs.contains(gone) && !new.blobs.contains(gone));
    let list = world.verify().args(["-o", "json"]).run().expect(0).json();
    assert_eq!(list["snapshots"].as_array().expect("snapshots").len(), 1);
    assert_eq!(list["removable"]["unreferenced_blobs"], 0, "{list}");
    let serving = Serving::ready(world.serve());
    new.assert_served_by(&serving);
    assert_eq!(serving.get("/images/xenial/amd64/20210928/squashfs").status, 404);
    serving.stop();
}

#[test]
fn a_removed_version_goes_only_with_the_grace_period() {
    let world = World::of(&StreamSpec::new().version_count(2));
    let sync = || world.sync().args(["--max-versions", "all"]);
    sync().run().expect(0);
    let old = Held::by(&world);
    let versions: Vec<_> = StreamSpec::new().version_count(2).version_names();
    let mut stream = world.stream.clone();
    stream.remove_version(&versions[1]);
    stream.set_updated("Wed, 23 Jul 2025 11:01:49 +0000");
    world.publish_as(&stream);
    sync().run().expect(0);
    assert!(old.blobs.is_subset(&blobs_in(&world.store())));
    let new = Held::by(&world);
    assert!(new.files.len() < old.files.len());
}

#[test]
fn a_failed_sync_is_told_by_status() {
    let (world, _) = World::held_and_newer();
    world.server.fault(Fault::on("20211015/squashfs").status(404));
    world.sync().run().expect(3);
    let status = world.mirror("status").args(["-o", "json"]).run().expect(0).json();
    assert_eq!(status["last_sync"]["outcome"]["failed"], "1 of 6 items could not be fetched");
    assert!(status["last_sync"]["succeeded"].is_string());
    let text = world.mirror("status").run().expect(0).stdout;
    assert!(text.contains("FAILED: 1 of 6 items"), "{text}");
}

/// Writes a file that is as old as a number of hours.
fn aged(path: &Path, bytes: &[u8], hours: u64) {
    std::fs::write(path, bytes).expect("write");
    let then = SystemTime::now() - Duration::from_secs(hours * 3600);
    let file = std::fs::File::options().write(true).open(path).expect("open");
    file.set_modified(then).expect("age");
}

#[test]
fn prune_removes_what_is_old_and_not_needed() {
    let (world, old) = World::held();
    let blobs = world.store().join("blobs/sha256");
    let partials = world.store().join(".maas-mirror/partial");
    let (stale, fresh) = (b"stale orphan", b"fresh orphan");
    aged(&blobs.join(sha256(stale)), stale, 30);
    aged(&blobs.join(sha256(fresh)), fresh, 1);
    aged(&partials.join(sha256(b"a")), b"stale", 30);
    aged(&partials.join(sha256(b"b")), b"fresh", 1);
    let report = world.verify().args(["-o", "json"]).run().expect(0).json();
    assert_eq!(report["removable"]["unreferenced_blobs"], 2);
    assert_eq!(report["removable"]["partials"], 2);

    let before = tree(&world.store());
    let dry = world.mirror("prune").args(["--dry-run", "-o", "json"]).run().expect(0).json();
    assert_eq!((&dry["removed"]["blobs"], &dry["removed"]["partials"]), (&1.into(), &1.into()));
    // The lock is taken, so its file is written to.
    let lock = |tree: Vec<(PathBuf, u64, i64, i64, u64)>| -> Vec<_> {
        tree.into_iter().filter(|(path, ..)| !path.ends_with("lock")).collect()
    };
    assert_eq!(lock(before), lock(tree(&world.store())));

    let text = world.mirror("prune").run().expect(0).stdout;
    assert_eq!(text, "removed 0 snapshots, 1 blob and 1 unfinished download, 17 B\n");
    assert!(!blobs.join(sha256(stale)).exists() && blobs.join(sha256(fresh)).exists());
    assert!(!partials.join(sha256(b"a")).exists() && partials.join(sha256(b"b")).exists());

    world.mirror("prune").args(["--grace", "0s"]).run().expect(0);
    assert_eq!(blobs_in(&world.store()), old.blobs);
    assert_eq!(files_below(&partials), Vec::<PathBuf>::new());
    old.assert_stands(&world);
}

#[test]
fn prune_removes_replaced_snapshots_past_their_grace() {
    let (world, old) = World::held_and_newer();
    world.sync().run().expect(0);
    let new = Held::by(&world);
    world.mirror("prune").run().expect(0);
    assert_eq!(blobs_in(&world.store()), new.blobs);
    let removed =
        world.mirror("prune").args(["--grace", "0s", "-o", "json"]).run().expect(0).json();
    assert_eq!(removed["removed"]["snapshots"][0], old.snapshot.as_str());
    new_alone_stands(&world, &new);
}

fn new_alone_stands(world: &World, new: &Held) {
    let report = world.verify().args(["-o", "json"]).run().expect(0).json();
    assert_eq!(report["snapshots"].as_array().expect("snapshots").len(), 1);
    assert_eq!(report["snapshots"][0]["digest"], new.snapshot.as_str());
    let serving = Serving::ready(world.serve());
    new.assert_served_by(&serving);
    serving.stop();
}
