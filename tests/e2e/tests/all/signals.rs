//! Runs that are ended from outside go on where they were.

use e2e::{Running, World, blobs_in, eventually};
use fixtures::{Fault, Gate};
use rustix::process::Signal;

const SQUASHFS: &str = "xenial/amd64/20210928/squashfs";

/// A first sync of which everything is fetched but a part of the squashfs.
fn nearly_done(world: &World, gate: &Gate) -> Running {
    world.server.fault(Fault::on(SQUASHFS).hold_after(60_000, gate));
    let running = world.sync().spawn();
    let digest = world.stream.items[SQUASHFS].sha256();
    let partial = world.store().join(".maas-mirror/partial").join(digest);
    eventually("a part of the squashfs", || {
        std::fs::metadata(&partial).is_ok_and(|meta| meta.len() == 60_000)
    });
    let selected = world.sync().args(["--dry-run", "-o", "json"]).run().expect(0).json();
    let items = selected["item_count"].as_u64().expect("count");
    eventually("all else", || blobs_in(&world.store()).len() as u64 == items - 1);
    running
}

#[track_caller]
fn ended_by(signal: Signal, code: i32) {
    let world = World::new();
    let gate = Gate::new();
    let running = nearly_done(&world, &gate);
    running.signal(signal);
    let run = running.wait().expect(code);
    assert!(run.stderr.contains("interrupted: what was fetched is kept"), "{}", run.stderr);
    world.server.clear_faults();
    world.server.clear_log();
    world.sync().run().expect(0);
    assert_eq!(world.items_requested(), [SQUASHFS]);
    let requests = world.server.requests();
    let squashfs = requests.iter().find(|request| request.path == SQUASHFS).expect("request");
    assert_eq!(squashfs.range.as_deref(), Some("bytes=60000-"));
    assert_eq!(squashfs.status, 206);
    world.verify().run().expect(0);
}

#[test]
fn interrupted() {
    ended_by(Signal::INT, 130);
}

#[test]
fn terminated() {
    ended_by(Signal::TERM, 143);
}

/// What an earlier run left is not believed: here upstream's file has changed meanwhile.
#[test]
fn a_partial_that_is_wrong_is_fetched_again() {
    let world = World::new();
    let gate = Gate::new();
    let running = nearly_done(&world, &gate);
    running.signal(Signal::KILL);
    running.wait().expect(137);
    let digest = world.stream.items[SQUASHFS].sha256();
    let partial = world.store().join(".maas-mirror/partial").join(digest);
    std::fs::write(&partial, vec![7; 60_000]).expect("write");
    world.server.clear_faults();
    world.sync().run().expect(0);
    world.verify().run().expect(0);
    assert_eq!(world.server.count(SQUASHFS), 3);
}

/// Longer than the file ever was, or as long and wrong.
#[test]
fn a_partial_of_another_length_is_fetched_again() {
    for length in [0, 190_000_000, 0] {
        let world = World::new();
        world.sync().args(["ftype=manifest"]).run().expect(0);
        let item = &world.stream.items[SQUASHFS];
        let length = if length == 0 { item.len() } else { length };
        let partial = world.store().join(".maas-mirror/partial").join(item.sha256());
        let file = std::fs::File::create(partial).expect("partial");
        file.set_len(length).expect("length");
        world.sync().run().expect(0);
        world.verify().run().expect(0);
    }
}
