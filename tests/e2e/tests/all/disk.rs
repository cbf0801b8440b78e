//! Disks that are full or take no writes, and stores that are not ours to write to.

use std::path::Path;

use e2e::{Held, Serving, Tmpfs, World, eventually, files_below};
use fixtures::{Fault, Gate};

const SQUASHFS: &str = "xenial/amd64/20210928/squashfs";

#[test]
fn a_disk_too_small_for_the_plan() {
    let Some(disk) = Tmpfs::mount("256k") else {
        return;
    };
    let world = World::new();
    let store = disk.path().join("store");
    let sync = || world.sync_to(&store, &world.server.url());
    let run = sync().named(disk.path().display().to_string(), "DISK").run().expect(5);
    assert!(run.stderr.contains("bytes are free in the store"), "{}", run.stderr);
    assert!(run.stderr.contains("hint: free some space, select less"), "{}", run.stderr);
    assert!(world.items_requested().is_empty());
    let error = sync().args(["-o", "json"]).run().expect(5).json();
    assert_eq!(error["exit_code"], 5);
    assert!(world.items_requested().is_empty());
    // A smaller selection fits.
    sync().args(["--arch", "amd64", "ftype=manifest"]).run().expect(0);
}

#[test]
fn a_disk_that_fills_while_items_are_fetched() {
    let Some(disk) = Tmpfs::mount("8m") else {
        return;
    };
    let mut world = World::new();
    let store = disk.path().join("store");
    let url = world.server.url();
    world.sync_to(&store, &url).run().expect(0);
    let old = Held::at(&world, &store);
    world.stream.add_version("20211015").expect("version");
    world.publish();
    let gate = Gate::new();
    world.server.fault(Fault::on("20211015/squashfs").hold_after(50_000, &gate));
    let running =
        world.sync_to(&store, &url).named(disk.path().display().to_string(), "DISK").spawn();
    eventually("the partial squashfs", || partial_bytes(&store) > 0);
    let filler = disk.fill();
    gate.open();
    running.wait().failed(1, "disk-full");
    // What was served is served on, with no byte free.
    old.assert_stands_at(&world, &store);
    std::fs::remove_file(filler).expect("remove");
    world.server.clear_faults();
    world.sync_to(&store, &url).run().expect(0);
    world.at("verify", &store).args(world.keyring_args()).run().expect(0);
}

/// Bytes in unfinished downloads.
fn partial_bytes(store: &Path) -> u64 {
    let entries = std::fs::read_dir(store.join(".maas-mirror/partial")).into_iter().flatten();
    entries.flatten().filter_map(|entry| entry.metadata().ok()).map(|meta| meta.len()).sum()
}

#[test]
fn a_read_only_file_system() {
    let Some(disk) = Tmpfs::mount("8m") else {
        return;
    };
    let world = World::new();
    let store = disk.path().join("store");
    let url = world.server.url();
    world.sync_to(&store, &url).run().expect(0);
    let old = Held::at(&world, &store);
    disk.read_only(true);
    world.server.clear_log();
    let sync = world.sync_to(&store, &url).named(disk.path().display().to_string(), "DISK");
    sync.run().failed(5, "disk-read-only");
    assert!(world.server.requests().is_empty());
    old.assert_stands_at(&world, &store);
    world.at("status", &store).run().expect(0);
    world.at("prune", &store).run().expect(5);
    // A folder that cannot be made either.
    let sync = world.sync_to(&disk.path().join("other"), &url);
    sync.named(disk.path().display().to_string(), "DISK").run().failed(5, "disk-read-only-new");
    disk.read_only(false);
    world.sync_to(&store, &url).run().expect(0);
}

#[test]
fn a_store_that_a_newer_version_made() {
    let (world, old) = World::held();
    let format = world.store().join(".maas-mirror/format");
    std::fs::write(&format, "99\n").expect("write");
    world.server.clear_log();
    world.sync().run().failed(5, "newer-sync");
    assert!(world.server.requests().is_empty());
    world.verify().run().failed(5, "newer-verify");
    world.serve().run().failed(5, "newer-serve");
    world.mirror("status").run().failed(5, "newer-status");
    world.mirror("list").run().expect(5);
    world.mirror("prune").run().expect(5);
    assert_eq!(std::fs::read_to_string(&format).expect("format"), "99\n");
    std::fs::write(&format, "1\n").expect("write");
    world.assert_serves_old(&old);
}

#[test]
fn a_folder_that_holds_other_files() {
    let world = World::new();
    std::fs::create_dir(world.store()).expect("folder");
    let precious = world.store().join("thesis.txt");
    std::fs::write(&precious, "years of work").expect("write");
    world.sync().run().failed(5, "other-files-sync");
    world.serve().run().failed(5, "other-files-serve");
    world.verify().run().expect(5);
    world.mirror("status").run().expect(5);
    world.mirror("prune").run().expect(5);
    assert_eq!(files_below(&world.store()), [precious]);
    assert!(world.server.requests().is_empty());
}

#[test]
fn a_store_that_is_not_there() {
    let world = World::new();
    for verb in ["status", "list", "prune"] {
        world.mirror(verb).run().failed(1, &format!("no-store-{verb}"));
    }
    world.verify().run().failed(1, "no-store-verify");
    assert!(!world.store().exists());
}

#[test]
fn a_file_system_with_lost_and_found_is_empty() {
    let world = World::new();
    std::fs::create_dir_all(world.store().join("lost+found")).expect("folder");
    world.sync().run().expect(0);
    world.verify().run().expect(0);
}

#[test]
fn a_store_whose_making_was_cut_short_is_made_again() {
    for left in ["nothing", "index.json.new", "oci-layout.new"] {
        let world = World::new();
        std::fs::create_dir_all(world.store().join("blobs/sha256")).expect("folder");
        std::fs::create_dir_all(world.store().join(".maas-mirror/partial")).expect("folder");
        if left != "nothing" {
            std::fs::write(world.store().join(left), "{\"im").expect("write");
        }
        world.sync().run().expect(0);
        world.verify().run().expect(0);
    }
}

#[test]
fn two_syncs_at_once() {
    let world = World::new();
    let gate = Gate::new();
    world.server.fault(Fault::on(SQUASHFS).hold_after(1000, &gate));
    let first = world.sync().spawn();
    assert!(world.server.wait_for(SQUASHFS, 1, e2e::PATIENCE));
    let second = world.sync().run().expect(6);
    let holder = format!("'maas-mirror sync' (process {} on ", first.pid());
    assert!(second.stderr.contains(&holder), "{}", second.stderr);
    assert!(second.stderr.contains("hint: wait for it to end"), "{}", second.stderr);
    let status = world.mirror("status").args(["-o", "json"]).run().expect(0).json();
    assert_eq!(status["locked_by"]["pid"], first.pid());
    world.mirror("prune").run().expect(6);
    // One that only looks needs no lock, and a server starts beside it.
    world.sync().args(["--dry-run"]).run().expect(0);
    let serving = Serving::start(world.serve());
    assert_eq!(serving.get("/readyz").status, 503);
    gate.open();
    first.wait().expect(0);
    serving.wait_ready();
    serving.stop();
    world.verify().run().expect(0);
}
