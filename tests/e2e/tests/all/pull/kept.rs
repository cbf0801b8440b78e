//! What stays of a pulled item: joins, restarts, other writers.

use std::thread::spawn;

use e2e::http;
use e2e::{Held, PATIENCE, Serving, World, blobs_in, eventually};
use fixtures::{Fault, Gate, StreamSpec};
use rustix::process::Signal;

use super::{
    Client, SQUASHFS, URL, code, digest, in_background, listed, partial, pull, pulling, requests,
    stop_and_check, world,
};

#[test]
fn what_joined_stays_while_it_is_listed() {
    let (mut world, bytes) = world();
    let before = Held::by(&world);
    let serving = pulling(&world);
    assert!(serving.get(URL).body == bytes);
    // By itself, while the server runs; the snapshot that it replaced is not kept.
    eventually("the join", || listed(&world).contains(&SQUASHFS.to_owned()));
    let index = std::fs::read_to_string(world.store().join("index.json")).expect("index");
    assert!(!index.contains(&before.snapshot));
    assert!(!blobs_in(&world.store()).contains(&before.snapshot));
    stop_and_check(&world, serving, &bytes);
    let joined = Held::by(&world);
    // A sync that selects none of it keeps it, and finds nothing new.
    let run = world.sync().args(["ftype=manifest"]).run().expect(0);
    assert!(run.stdout.starts_with("nothing new"), "{}", run.stdout);
    world.stream.add_version("20211015").expect("version");
    world.publish();
    world.sync().args(["ftype=manifest"]).run().expect(0);
    assert!(listed(&world).contains(&SQUASHFS.to_owned()));
    world.verify().run().expect(0);
    joined.assert_stands_but_newer(&world);
    // And drops it once upstream lists it no more.
    world.stream.add_version("20211016").expect("version");
    world.stream.remove_version("20210928");
    world.publish();
    world.sync().args(["ftype=manifest"]).run().expect(0);
    assert!(!listed(&world).contains(&SQUASHFS.to_owned()));
    world.sync().args(["ftype=manifest"]).run().expect(0);
    world.verify().run().expect(0);
    world.mirror("prune").args(["--grace", "0s"]).run().expect(0);
    assert!(!blobs_in(&world.store()).contains(&joined_digest(&joined)));
}

fn joined_digest(held: &Held) -> String {
    e2e::sha256(&held.files[SQUASHFS])
}

trait AllServed {
    fn assert_stands_but_newer(&self, world: &World);
}

impl AllServed for Held {
    /// A client that still has the earlier index finishes.
    fn assert_stands_but_newer(&self, world: &World) {
        let serving = Serving::ready(world.serve());
        for (path, bytes) in self.files.iter().filter(|(path, _)| !path.starts_with("streams/")) {
            assert!(serving.get(&format!("/images/{path}")).body == *bytes, "{path}");
        }
        serving.stop();
    }
}

#[test]
fn a_crash_before_the_join_loses_nothing() {
    let (world, bytes) = world();
    let serving = pulling(&world);
    assert!(serving.get(URL).body == bytes);
    serving.process().signal(Signal::KILL);
    drop(serving);
    let serving = pulling(&world);
    let answer = serving.get(URL);
    assert!(answer.body == bytes);
    assert_eq!(answer.header("etag"), format!("\"{}\"", digest(&world)));
    assert_eq!(requests(&world), 1);
    stop_and_check(&world, serving, &bytes);
}

#[test]
fn a_sync_under_way_stops_no_pull() {
    let (mut world, bytes) = world();
    let serving = Serving::ready(pull(&world).args(["--every", "10m"]));
    eventually("the first sync", || serving.process().stderr().contains("synced"));
    world.stream.add_version("20211015").expect("version");
    world.publish();
    let gate = Gate::new();
    world.server.fault(Fault::on("20211015/squashfs").hold_after(1000, &gate));
    let sync = world.sync().args(["--release", "xenial"]).spawn();
    assert!(world.server.wait_for("xenial/amd64/20211015/squashfs", 1, PATIENCE));
    assert!(serving.get(URL).body == bytes);
    eventually("the blob", || blobs_in(&world.store()).contains(&digest(&world)));
    // What both want is fetched by one of them: the sync has it, the pull waits.
    let address = serving.address().to_owned();
    gate.open();
    sync.wait().expect(0);
    eventually("the new version", || {
        let answer = http::request(&address, "GET", "/images/xenial/amd64/20211015/squashfs", &[]);
        answer.expect("answer").status == 200
    });
    assert_eq!(world.server.count("xenial/amd64/20211015/squashfs"), 1);
    eventually("the join", || listed(&world).contains(&SQUASHFS.to_owned()));
    stop_and_check(&world, serving, &bytes);
}

/// The sync finds the item on its way by a pull, waits, and fetches it no second time.
#[test]
fn a_sync_waits_for_a_pull() {
    let (world, bytes) = world();
    let serving = pulling(&world);
    let gate = Gate::new();
    world.server.fault(Fault::on(SQUASHFS).hold_after(100_000, &gate));
    let client = in_background(&serving, &[]);
    assert!(world.server.wait_for(SQUASHFS, 1, PATIENCE));
    eventually("the partial", || partial(&world).exists());
    let sync = world.sync().spawn();
    let kernel = "xenial/amd64/20210928/ga-16.04/generic/boot-kernel";
    assert!(world.server.wait_for(kernel, 1, PATIENCE));
    gate.open();
    sync.wait().expect(0);
    assert!(client.join().expect("client").body == bytes);
    assert_eq!(requests(&world), 1);
    stop_and_check(&world, serving, &bytes);
}

/// `prune` takes away neither what a pull is writing nor what it has written.
#[test]
fn prune_beside_a_pull() {
    let (world, bytes) = world();
    let serving = pulling(&world);
    let gate = Gate::new();
    world.server.fault(Fault::on(SQUASHFS).hold_after(100_000, &gate));
    let mut client = Client::ask(&serving, &[]);
    let head = client.head();
    client.read_to(100_000);
    world.mirror("prune").args(["--grace", "0s"]).run().expect(0);
    assert!(partial(&world).exists());
    gate.open();
    let answer = client.finish(head);
    assert!(answer.whole && answer.body == bytes);
    stop_and_check(&world, serving, &bytes);
}

#[test]
fn one_content_under_two_paths_is_pulled_once() {
    // The files of hwe-edge are those of hwe under paths of their own.
    let kernels = [fixtures::Kernel::Ga, fixtures::Kernel::Hwe, fixtures::Kernel::HweEdge];
    let world = World::of(&StreamSpec::new().kernels(&kernels));
    world.sync().args(["ftype=manifest"]).run().expect(0);
    let paths = world.stream.item_paths();
    let twins: Vec<_> = paths.iter().filter(|path| path.ends_with("boot-kernel")).collect();
    let content = |path: &str| world.stream.content(path).expect("content");
    let (one, other) = twins
        .iter()
        .flat_map(|one| twins.iter().map(move |other| (*one, *other)))
        .find(|(one, other)| one < other && content(one) == content(other))
        .expect("twins");
    world.server.clear_log();
    let serving = pulling(&world);
    let gate = Gate::new();
    world.server.fault(Fault::on("boot-kernel").hold_after(1000, &gate));
    let ask = |path: &str| {
        let (address, url) = (serving.address().to_owned(), format!("/images/{path}"));
        spawn(move || http::request(&address, "GET", &url, &[]).expect("answer"))
    };
    let (first, second) = (ask(one), ask(other));
    eventually("the request", || world.server.count(one) + world.server.count(other) == 1);
    gate.open();
    for answer in [first, second] {
        assert!(answer.join().expect("client").body == content(one));
    }
    assert!(serving.get(&format!("/images/{other}")).body == content(one));
    assert_eq!(world.server.count(one) + world.server.count(other), 1);
    serving.stop();
    assert!(listed(&world).contains(one));
    world.verify().run().expect(0);
}

#[test]
fn a_pull_that_ends_within_the_drain() {
    let (world, bytes) = world();
    let serving = pulling(&world);
    let gate = Gate::new();
    world.server.fault(Fault::on(SQUASHFS).hold_after(100_000, &gate));
    let mut client = Client::ask(&serving, &[]);
    let head = client.head();
    client.read_to(100_000);
    serving.process().signal(Signal::TERM);
    eventually("the drain", || serving.process().stderr().contains("no more connections"));
    gate.open();
    let answer = client.finish(head);
    assert!(answer.whole && answer.body == bytes);
    // It has joined too, before the end.
    stop_and_check(&world, serving, &bytes);
}

#[test]
fn a_pull_that_outlasts_the_drain() {
    let (world, bytes) = world();
    let serving = Serving::ready(pull(&world).args(["--drain", "0s"]));
    eventually("the first sync", || serving.process().stderr().contains("synced"));
    let gate = Gate::new();
    world.server.fault(Fault::on(SQUASHFS).hold_after(100_000, &gate).times(1));
    let mut client = Client::ask(&serving, &[]);
    let head = client.head();
    client.read_to(100_000);
    serving.stop();
    assert!(!client.finish(head).whole);
    let serving = pulling(&world);
    assert!(serving.get(URL).body == bytes);
    let last = world.server.requests().into_iter().rfind(|request| request.path == SQUASHFS);
    assert_eq!(last.expect("request").range.as_deref(), Some("bytes=100000-"));
    stop_and_check(&world, serving, &bytes);
}

/// A list that the operator's keyring does not vouch for is not followed.
#[test]
fn metadata_under_another_key_pulls_nothing() {
    let (world, _) = world();
    let stranger = World::new();
    let serve = world.serve().args(["--upstream", &world.server.url(), "--pull-through"]);
    let serving = Serving::ready(serve.args(stranger.keyring_args()));
    eventually("the refusal", || serving.process().stderr().contains("is not relied on"));
    let answer = serving.get(URL);
    assert_eq!((answer.status, code(&answer)), (404, "not-listed".to_owned()));
    assert_eq!(requests(&world), 0);
    serving.stop();
}
