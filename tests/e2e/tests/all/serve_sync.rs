//! A server beside a sync, in one process or in two.

use e2e::{Held, Serving, World, eventually};
use fixtures::{Fault, Gate};

const NEW: &str = "/images/xenial/amd64/20211015/squashfs";

#[test]
fn not_ready_until_the_first_sync_is_done() {
    let world = World::new();
    let gate = Gate::new();
    world.server.fault(Fault::on("squashfs").hold_after(1000, &gate));
    let serving = Serving::start(world.serve_and_sync());
    assert!(world.server.wait_for("xenial/amd64/20210928/squashfs", 1, e2e::PATIENCE));
    let readyz = serving.get("/readyz");
    assert_eq!(readyz.status, 503);
    assert_eq!(serving.get("/images/streams/v1/index.sjson").status, 404);
    assert_eq!(serving.get("/healthz").status, 200);
    gate.open();
    serving.wait_ready();
    Held::by(&world).assert_served_by(&serving);
    serving.stop();
    world.verify().run().expect(0);
}

#[test]
fn why_it_is_not_ready() {
    let world = World::new();
    world.server.fault(Fault::on("index.sjson").status(404));
    let serving = Serving::start(world.serve_and_sync());
    eventually("the reason", || serving.get("/readyz").text().contains("answered 404"));
    assert_eq!(serving.get("/readyz").status, 503);
    serving.stop();
}

#[test]
fn what_another_process_publishes_is_taken_up() {
    let (world, old) = World::held_and_newer();
    let serving = Serving::ready(world.serve());
    old.assert_served_by(&serving);
    assert_eq!(serving.get(NEW).status, 404);
    world.sync().run().expect(0);
    eventually("the new version", || serving.get(NEW).status == 200);
    Held::by(&world).assert_served_by(&serving);
    serving.stop();
}

#[test]
fn a_schedule_finds_new_versions_and_outlives_failures() {
    let (mut world, old) = World::held();
    let serving = Serving::ready(world.serve_and_sync().args(["--every", "1s"]));
    let asked = |times| world.server.wait_for("streams/v1/index.sjson", times, e2e::PATIENCE);
    assert!(asked(3));
    old.assert_served_by(&serving);
    world.server.fault(Fault::on("index.sjson").status(500));
    let before = world.server.count("streams/v1/index.sjson");
    assert!(world.server.wait_for("streams/v1/index.sjson", before + 2, e2e::PATIENCE));
    old.assert_served_by(&serving);
    world.stream.add_version("20211015").expect("version");
    world.publish();
    world.server.clear_faults();
    eventually("the new version", || serving.get(NEW).status == 200);
    let run = serving.stop();
    assert!(run.stderr.contains("the sync failed"), "{}", run.stderr);
    world.verify().run().expect(0);
}

#[test]
fn a_point_in_time_mirror_stays_at_its_point() {
    let mut world = World::new();
    let serve = || world.serve_and_sync().args(["--once"]);
    Serving::ready(serve()).stop();
    let old = Held::by(&world);
    world.stream.add_version("20211015").expect("version");
    world.publish();
    world.server.clear_log();
    let serving = Serving::ready(world.serve_and_sync().args(["--once"]));
    eventually("the decision", || serving.process().stderr().contains("upstream is not asked"));
    old.assert_served_by(&serving);
    serving.stop();
    assert!(world.server.requests().is_empty());
    // Another selection is another mirror.
    let serving = Serving::ready(world.serve_and_sync().args(["--once", "--release", "xenial"]));
    eventually("the new version", || serving.get(NEW).status == 200);
    serving.stop();
}

#[test]
fn a_server_that_is_ended_while_it_syncs() {
    let (world, old) = World::held_and_newer();
    let gate = Gate::new();
    world.server.fault(Fault::on("20211015/squashfs").hold_after(1000, &gate));
    let serving = Serving::ready(world.serve_and_sync());
    assert!(world.server.wait_for("xenial/amd64/20211015/squashfs", 1, e2e::PATIENCE));
    old.assert_served_by(&serving);
    serving.stop();
    world.assert_serves_old(&old);
}

#[test]
fn a_sync_beside_a_server_that_syncs() {
    let (world, _) = World::held_and_newer();
    let gate = Gate::new();
    world.server.fault(Fault::on("20211015/squashfs").hold_after(1000, &gate));
    let serving = Serving::ready(world.serve_and_sync());
    assert!(world.server.wait_for("xenial/amd64/20211015/squashfs", 1, e2e::PATIENCE));
    let run = world.sync().run().expect(6);
    assert!(run.stderr.contains("'maas-mirror serve' (process "), "{}", run.stderr);
    gate.open();
    eventually("the new version", || serving.get(NEW).status == 200);
    serving.stop();
}

/// Two containers of one pod start on an empty volume.
#[test]
fn a_store_that_several_processes_make() {
    for _ in 0..5 {
        let world = World::new();
        let serve = || world.mirror("serve").args(["--listen", "127.0.0.1:0"]).spawn();
        let mut servers: Vec<_> = (0..3).map(|_| serve()).collect();
        let sync = world.sync().run().expect(0);
        assert!(sync.stdout.starts_with("published snapshot "), "{}", sync.stdout);
        for server in &mut servers {
            eventually("the line 'listening on'", || {
                assert!(!server.ended(), "serve ended: {}", server.stderr());
                server.stdout().ends_with('\n')
            });
        }
        // None of them put its empty list over what was published.
        Held::by(&world).assert_stands(&world);
        for server in servers {
            server.signal(rustix::process::Signal::TERM);
            server.wait().expect(0);
        }
    }
}
