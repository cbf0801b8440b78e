//! Upstreams, disks and clients that fail.

use std::thread::spawn;

use e2e::http;
use e2e::{Held, PATIENCE, Serving, Tmpfs, World, blobs_in, eventually};
use fixtures::{Fault, Gate, StreamSpec};
use rustix::process::Signal;

use super::{
    Client, SQUASHFS, URL, code, digest, partial, pull, pulling, requests, stop_and_check, world,
};

/// Nothing is kept, nobody gets a complete response, and the next request tries again.
#[track_caller]
fn is_cut(fault: Fault, status: u16) {
    let (world, bytes) = world();
    let serving = pulling(&world);
    world.server.fault(fault);
    let clients: Vec<_> = [&[][..], &["Range: bytes=0-149999"], &["Range: bytes=0-9,20-29"]]
        .into_iter()
        .map(|headers| {
            let address = serving.address().to_owned();
            spawn(move || http::request(&address, "GET", URL, headers))
        })
        .collect();
    for client in clients {
        // Where the end comes before the head has left, there is no answer at all.
        let Ok(answer) = client.join().expect("client") else { continue };
        if answer.status == status {
            assert_eq!(code(&answer), "upstream-mismatch");
        } else {
            assert!(matches!(answer.status, 200 | 206), "{}", answer.status);
            assert!(!answer.whole, "a complete response of wrong bytes");
        }
    }
    assert!(!blobs_in(&world.store()).contains(&digest(&world)));
    assert!(!partial(&world).exists());
    let soon = serving.get(URL);
    assert_eq!((soon.status, code(&soon).as_str()), (502, "upstream-mismatch"));
    assert!(soon.header("retry-after").parse::<u32>().is_ok_and(|seconds| seconds > 0));
    let asked = requests(&world);
    assert_eq!(serving.get(URL).status, 502);
    assert_eq!(requests(&world), asked, "a broken upstream is not asked at once again");
    let stderr = serving.process().stderr();
    assert!(stderr.contains("an item could not be pulled"), "{stderr}");
    world.server.clear_faults();
    eventually("the next try", || {
        let answer = serving.get(URL);
        answer.status == 200 && answer.whole && answer.body == bytes
    });
    stop_and_check(&world, serving, &bytes);
}

#[test]
fn a_wrong_byte() {
    is_cut(Fault::on(SQUASHFS).flip_byte(50_000), 502);
}

#[test]
fn a_wrong_last_byte() {
    is_cut(Fault::on(SQUASHFS).flip_byte(180_000), 502);
}

#[test]
fn too_long() {
    is_cut(Fault::on(SQUASHFS).longer(10).chunked(), 502);
    is_cut(Fault::on(SQUASHFS).longer(10), 502);
}

#[test]
fn too_short() {
    is_cut(Fault::on(SQUASHFS).shorter(10).chunked(), 502);
    is_cut(Fault::on(SQUASHFS).shorter(10), 502);
}

#[test]
fn upstream_dies_and_comes_back() {
    let (world, bytes) = world();
    let gate = Gate::new();
    world.server.fault(Fault::on(SQUASHFS).drop_after(120_000).times(1));
    world.server.fault(Fault::on(SQUASHFS).hold_after(10_000, &gate).skip(1).times(1));
    let serving = Serving::ready(pull(&world).env("MAAS_MIRROR_RETRIES", "3"));
    let mut client = Client::ask(&serving, &[]);
    let head = client.head();
    client.read_to(100_000);
    assert!(world.server.wait_for(SQUASHFS, 2, PATIENCE));
    gate.open();
    let answer = client.finish(head);
    assert!(answer.whole && answer.body == bytes);
    let second = world.server.requests().into_iter().filter(|r| r.path == SQUASHFS).nth(1);
    assert_eq!(second.expect("request").range.as_deref(), Some("bytes=120000-"));
    stop_and_check(&world, serving, &bytes);
}

/// An upstream that knows no ranges starts at the first byte: a client that has some is cut,
/// because nobody checks that they are the same, and the item is kept.
#[test]
fn upstream_dies_and_starts_anew() {
    let (world, bytes) = world();
    world.server.fault(Fault::on(SQUASHFS).drop_after(120_000).times(1));
    world.server.fault(Fault::on(SQUASHFS).no_ranges());
    let serving = Serving::ready(pull(&world).env("MAAS_MIRROR_RETRIES", "3"));
    let mut client = Client::ask(&serving, &[]);
    let head = client.head();
    client.read_to(50_000);
    let answer = client.finish(head);
    assert!(!answer.whole && bytes.starts_with(&answer.body));
    eventually("the item", || {
        let answer = serving.get(URL);
        answer.whole && answer.body == bytes
    });
    assert_eq!(requests(&world), 2);
    stop_and_check(&world, serving, &bytes);
}

#[test]
fn upstream_fails_before_the_first_byte() {
    let (world, bytes) = world();
    let serving = pulling(&world);
    for status in [404, 500] {
        world.server.clear_faults();
        world.server.fault(Fault::on(SQUASHFS).status(status));
        eventually("the failure", || {
            let answer = serving.get(URL);
            assert_eq!((answer.status, code(&answer)), (502, "upstream-failed".to_owned()));
            world.server.requests().iter().any(|r| r.path == SQUASHFS && r.status == status)
        });
    }
    world.server.clear_faults();
    eventually("the next try", || serving.get(URL).body == bytes);
    stop_and_check(&world, serving, &bytes);
}

#[test]
fn upstream_is_gone() {
    let (mut world, _) = world();
    let serving = pulling(&world);
    let other = fixtures::Server::start(world.upstream()).expect("server");
    drop(std::mem::replace(&mut world.server, other));
    let answer = serving.get(URL);
    assert_eq!((answer.status, code(&answer)), (502, "upstream-failed".to_owned()));
    serving.stop();
}

#[test]
fn upstream_is_silent() {
    let (world, _) = world();
    let serving = Serving::ready(pull(&world).args(["--stall-timeout", "1s"]));
    world.server.fault(Fault::on(SQUASHFS).stall_after(0));
    let answer = serving.get(URL);
    assert_eq!((answer.status, code(&answer)), (504, "upstream-timeout".to_owned()));
    serving.stop();
}

/// 256 items are under way or wait; who asks for more is told to come again.
#[test]
fn more_items_than_are_fetched_at_once() {
    let world = World::of(&StreamSpec::items(600));
    world.sync().args(["ftype=manifest"]).run().expect(0);
    let serving = pulling(&world);
    let gate = Gate::new();
    world.server.fault(Fault::on("*").hold_after(0, &gate));
    let items = world.stream.item_paths().into_iter().filter(|path| !path.contains("manifest"));
    // Each content once.
    let items: std::collections::BTreeMap<_, _> =
        items.map(|path| (world.stream.items[&path].sha256(), path)).collect();
    world.server.clear_log();
    let clients: Vec<_> = items
        .into_values()
        .take(300)
        .map(|path| {
            let address = serving.address().to_owned();
            spawn(move || http::request(&address, "GET", &format!("/images/{path}"), &[]))
        })
        .collect();
    assert_eq!(clients.len(), 300);
    eventually("the answers to those over the limit", || {
        clients.iter().filter(|client| client.is_finished()).count() == 300 - 256
    });
    gate.open();
    let answers: Vec<_> =
        clients.into_iter().map(|client| client.join().expect("client").expect("answer")).collect();
    let (given, refused): (Vec<_>, Vec<_>) =
        answers.into_iter().partition(|answer| answer.status == 200);
    assert_eq!((given.len(), refused.len()), (256, 44));
    assert!(given.iter().all(|answer| answer.whole));
    assert!(refused.iter().all(|answer| answer.status == 503 && code(answer) == "busy"));
    assert!(world.server.peak_in_flight() <= 4, "downloads at a time");
    serving.stop();
    world.verify().run().expect(0);
}

/// A blob that a snapshot names and that is gone, or damaged, is fetched again.
#[test]
fn a_blob_that_is_gone_is_pulled() {
    let world = World::synced();
    let bytes = world.stream.content(SQUASHFS).expect("content");
    let blob = world.store().join("blobs/sha256").join(digest(&world));
    let serving = Serving::ready(world.serve_and_sync().args(["--pull-through", "--every", "1h"]));
    eventually("the first sync", || serving.process().stderr().contains("synced"));
    world.server.clear_log();
    std::fs::write(&blob, &bytes[..1000]).expect("write");
    assert!(serving.get(URL).body == bytes);
    // It is put in its place after the last byte has left.
    eventually("the blob", || {
        std::fs::metadata(&blob).is_ok_and(|meta| meta.len() == bytes.len() as u64)
    });
    std::fs::remove_file(&blob).expect("remove");
    eventually("the look at the blob", || {
        assert!(serving.get(URL).body == bytes, "{}", serving.process().stderr());
        requests(&world) == 2
    });
    assert!(serving.get(URL).body == bytes);
    stop_and_check(&world, serving, &bytes);
}

#[test]
fn clients_that_vanish_leave_the_item() {
    let (world, bytes) = world();
    let serving = pulling(&world);
    let gate = Gate::new();
    world.server.fault(Fault::on(SQUASHFS).hold_after(100_000, &gate));
    let mut client = Client::ask(&serving, &[]);
    client.head();
    drop(client);
    gate.open();
    eventually("the blob", || blobs_in(&world.store()).contains(&digest(&world)));
    assert!(serving.get(URL).body == bytes);
    assert_eq!(requests(&world), 1);
    stop_and_check(&world, serving, &bytes);
}

#[test]
fn a_killed_pull_goes_on() {
    let (world, bytes) = world();
    let serving = pulling(&world);
    let gate = Gate::new();
    world.server.fault(Fault::on(SQUASHFS).hold_after(100_000, &gate).times(1));
    let mut client = Client::ask(&serving, &[]);
    let head = client.head();
    client.read_to(100_000);
    serving.process().signal(Signal::KILL);
    assert!(!client.finish(head).whole);
    drop(serving);
    let serving = pulling(&world);
    assert!(serving.get(URL).body == bytes);
    let asked: Vec<_> =
        world.server.requests().into_iter().filter(|r| r.path == SQUASHFS).collect();
    assert_eq!(asked.len(), 2);
    assert_eq!(asked[1].range.as_deref(), Some("bytes=100000-"));
    stop_and_check(&world, serving, &bytes);
}

/// What an earlier run left is not believed: a client that was sent some of it is cut.
#[test]
fn a_partial_that_is_wrong() {
    let (world, bytes) = world();
    std::fs::write(partial(&world), vec![7; 100_000]).expect("write");
    let serving = pulling(&world);
    let answer = serving.get(URL);
    assert!(!answer.whole || answer.body == bytes);
    eventually("the item", || serving.get(URL).body == bytes);
    assert_eq!(requests(&world), 2);
    stop_and_check(&world, serving, &bytes);
}

#[test]
fn a_full_disk() {
    let Some(disk) = Tmpfs::mount("8m") else {
        return;
    };
    let world = World::new();
    let bytes = world.stream.content(SQUASHFS).expect("content");
    let store = disk.path().join("store");
    world.sync_to(&store, &world.server.url()).args(["ftype=manifest"]).run().expect(0);
    let old = Held::at(&world, &store);
    let serve = world.at("serve", &store).args(["--listen", "127.0.0.1:0", "--pull-through"]);
    let serve = serve.args(["--upstream", &world.server.url()]).args(world.keyring_args());
    let serving = Serving::ready(serve.args(["--once", "ftype=manifest"]));
    eventually("the first sync", || serving.process().stderr().contains("synced"));
    world.server.clear_log();
    // Full before: refused before upstream is asked.
    let filler = disk.fill();
    let answer = serving.get(URL);
    assert_eq!((answer.status, code(&answer)), (507, "no-space".to_owned()));
    assert_eq!(requests(&world), 0);
    std::fs::remove_file(&filler).expect("remove");
    // Full on the way: cut.
    let gate = Gate::new();
    world.server.fault(Fault::on(SQUASHFS).hold_after(100_000, &gate));
    eventually("the pull", || {
        if requests(&world) == 0 {
            let _vanishes = Client::ask(&serving, &[]);
        }
        requests(&world) == 1
    });
    let mut client = Client::ask(&serving, &[]);
    let head = client.head();
    assert_eq!(head.status, 200);
    client.read_to(100_000);
    let filler = disk.fill();
    gate.open();
    assert!(!client.finish(head).whole);
    old.assert_served_by(&serving);
    std::fs::remove_file(&filler).expect("remove");
    eventually("the item", || serving.get(URL).body == bytes);
    serving.stop();
    world.at("verify", &store).args(world.keyring_args()).run().expect(0);
}
