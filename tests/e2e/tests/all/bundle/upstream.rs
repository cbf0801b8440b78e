//! Straight from an upstream, with no store.

use std::fs;

use e2e::{Held, Mirror, World};
use fixtures::Fault;

const SQUASHFS: &str = "xenial/amd64/20210928/squashfs";

fn export(world: &World, name: &str) -> Mirror {
    world
        .export(name)
        .args(["--from", &world.server.url()])
        .args(world.keyring_args())
        .env("MAAS_MIRROR_RETRIES", "0")
}

#[test]
fn the_same_bundle_as_by_a_store() {
    let (world, _) = World::held();
    for (args, names) in
        [(&[][..], &["x.tar"][..]), (&["--split", "200kB"], &["x.1-of-2.tar", "x.2-of-2.tar"])]
    {
        world.server.clear_log();
        export(&world, "x.tar").args(args).run().expect(0);
        let mut asked = world.items_requested();
        asked.sort();
        let before = asked.len();
        asked.dedup();
        assert_eq!(asked.len(), before, "nothing is fetched twice");
        let read = || names.iter().map(|name| fs::read(world.dir().join(name)).expect("bundle"));
        let direct: Vec<_> = read().collect();
        world.export("x.tar").args(args).args(["--overwrite"]).run().expect(0);
        assert!(read().collect::<Vec<_>>() == direct);
    }
}

#[test]
fn no_store_is_made() {
    let world = World::new();
    export(&world, "x.tar").run().expect(0);
    assert!(!world.store().exists());
    let there = world.dir().join("there");
    world.import_to(&there, &["x.tar"]).run().expect(0);
    Held::at(&world, &there).assert_stands_at(&world, &there);
    let left = fs::read_dir(world.dir()).expect("folder").flatten();
    let left: Vec<_> = left.map(|entry| entry.file_name()).collect();
    assert!(left.iter().all(|name| !name.to_string_lossy().contains("new")), "{left:?}");
}

#[test]
fn a_connection_that_breaks_is_resumed() {
    let world = World::new();
    let there = world.dir().join("there");
    let cut = || Fault::on(SQUASHFS).drop_after(70_000).times(1);
    for fault in [cut(), cut().no_ranges()] {
        world.server.clear_log();
        world.server.fault(fault);
        let run = export(&world, "x.tar").args(["--retries", "2", "--overwrite"]);
        let run = run.run().expect(0);
        assert!(run.stderr.contains("trying again"), "{}", run.stderr);
        world.import_to(&there, &["x.tar"]).run().expect(0);
        let asked = world.items_requested().into_iter().filter(|path| path == SQUASHFS);
        assert_eq!(asked.count(), 2);
        world.server.clear_faults();
    }
    // One that knows no ranges at all, when it is asked to go on.
    world.server.fault(Fault::on(SQUASHFS).no_ranges());
    world.server.fault(cut());
    export(&world, "x.tar").args(["--retries", "2", "--overwrite"]).run().expect(0);
    world.verify().args([world.dir().join("x.tar")]).run().expect(0);
}

#[test]
fn content_that_is_not_what_is_listed() {
    let world = World::new();
    world.server.fault(Fault::on(SQUASHFS).flip_byte(1000));
    for args in [&[][..], &["--split", "150kB"]] {
        let run = export(&world, "x.tar").args(args).run().expect(4);
        assert!(run.stderr.contains("that upstream serves is not sha256:"), "{}", run.stderr);
        let left = fs::read_dir(world.dir()).expect("folder").flatten();
        let left: Vec<_> = left.map(|entry| entry.file_name()).collect();
        assert!(left.iter().all(|name| !name.to_string_lossy().starts_with("x.")), "{left:?}");
    }
}

#[test]
fn an_item_that_is_not_there() {
    let world = World::new();
    world.server.fault(Fault::on(SQUASHFS).status(404));
    let run = export(&world, "x.tar").run().expect(3);
    assert!(run.stderr.contains("404"), "{}", run.stderr);
    assert!(!world.dir().join("x.tar").exists());
    world.server.clear_faults();
    export(&world, "x.tar").run().expect(0);
}

#[test]
fn metadata_that_does_not_hold() {
    let world = World::new();
    let run = world.export("x.tar").args(["--from", &world.server.url()]).run().expect(4);
    assert!(run.stderr.contains("which is not in the keyring"), "{}", run.stderr);
    assert!(world.items_requested().is_empty());
    assert!(!world.dir().join("x.tar").exists());
}

/// An item that is cut waits beside the parts, and has to fit there too.
#[test]
fn a_disk_without_room_for_what_waits() {
    let world = World::synced();
    let split = ["--split", "200kB", "-o", "json"];
    let parts = world.export("x.tar").args(split).run().expect(0).json();
    let parts = parts["files"].as_array().expect("files").iter();
    let sizes: u64 = parts.map(|part| part["size"].as_u64().expect("size")).sum();
    let Some(disk) = e2e::Tmpfs::mount(&format!("{}k", sizes / 1024 + 64)) else {
        return;
    };
    let to = disk.path().join("x.tar");
    let from = ["--from", &world.server.url()];
    let direct = world.mirror("export").args([&to]).args(from).args(split);
    let run = direct.args(world.keyring_args()).run().expect(5);
    assert!(run.stderr.contains("bytes are free in"), "{}", run.stderr);
    assert!(fs::read_dir(disk.path()).expect("folder").next().is_none());
    // From a store nothing waits.
    world.mirror("export").args([&to]).args(split).run().expect(0);
}
