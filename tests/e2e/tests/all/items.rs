//! Items that do not come as they are listed.

use std::time::Duration;

use e2e::World;
use fixtures::{Fault, Gate};

const SQUASHFS: &str = "xenial/amd64/20211015/squashfs";
const INITRD: &str = "xenial/amd64/20211015/ga-16.04/generic/boot-initrd";

/// Mirrors, publishes a newer version whose squashfs has `fault`, and checks that the next sync
/// fails. What else there is must be kept: once the fault is gone, nothing but the squashfs is
/// fetched.
#[track_caller]
fn fails(code: i32, message: &str, fault: Fault) {
    let (world, old) = World::held_and_newer();
    world.server.fault(fault);
    world.sync().args(["--stall-timeout", "1s"]).run().failed(code, message);
    world.server.clear_log();
    world.assert_serves_old(&old);
    assert_eq!(world.items_requested(), [SQUASHFS]);
}

/// As [`fails`], but the sync gets over it with some tries.
#[track_caller]
fn recovers(fault: Fault) -> World {
    let (world, _) = World::held_and_newer();
    world.server.clear_log();
    world.server.fault(fault);
    world.sync().args(["--retries", "2"]).run().expect(0);
    world.verify().run().expect(0);
    world
}

fn squashfs() -> Fault {
    Fault::on(SQUASHFS)
}

#[test]
fn shorter_than_listed() {
    fails(4, "item-shorter", squashfs().shorter(7));
}

#[test]
fn longer_than_listed() {
    fails(4, "item-longer", squashfs().longer(7));
}

#[test]
fn shorter_than_listed_in_chunks() {
    fails(4, "item-shorter-chunked", squashfs().shorter(7).chunked());
}

/// A proxy that hands out slices: what came is kept, and the rest is asked for.
#[test]
fn a_body_that_ends_early_in_good_order() {
    let world = recovers(squashfs().shorter(70_000).chunked().times(1));
    let asked = world.server.requests().into_iter().filter(|request| request.path == SQUASHFS);
    let ranges: Vec<_> = asked.map(|request| request.range.unwrap_or_default()).collect();
    assert_eq!(ranges.len(), 2, "{ranges:?}");
    assert!(ranges[1].starts_with("bytes=") && ranges[1] != "bytes=0-", "{ranges:?}");
}

#[test]
fn longer_than_listed_in_chunks() {
    fails(4, "item-longer-chunked", squashfs().longer(7).chunked());
}

#[test]
fn without_end() {
    fails(4, "item-longer-chunked", squashfs().endless());
}

#[test]
fn other_content_of_the_same_length() {
    fails(4, "item-other-content", squashfs().other_bytes());
}

#[test]
fn one_byte_of_other_content() {
    fails(4, "item-other-content", squashfs().flip_byte(100_000));
}

#[test]
fn dropped_every_time() {
    fails(3, "item-dropped", squashfs().drop_after(10_000));
}

#[test]
fn missing() {
    fails(3, "item-missing", squashfs().status(404));
}

#[test]
fn stalled_for_ever() {
    fails(3, "item-stalled", squashfs().stall_after(10_000));
}

#[test]
fn a_page_in_place_of_an_item() {
    fails(3, "item-page", squashfs().body("text/html", "<html>log in</html>"));
}

#[test]
fn a_page_in_place_of_the_index() {
    for (fault, message) in [
        (
            Fault::on("index.sjson").body("text/html; charset=utf-8", "<html>log in</html>"),
            "index-page",
        ),
        // One that lies about what it is.
        (Fault::on("index.sjson").body("text/plain", "\n <!doctype html>log in"), "index-page"),
    ] {
        let (world, old) = World::held();
        world.server.fault(fault);
        world.sync().run().failed(1, message);
        world.assert_serves_old(&old);
    }
}

#[test]
fn a_digest_that_does_not_hold_outweighs_one_that_is_missing() {
    let (world, old) = World::held_and_newer();
    world.server.fault(Fault::on(SQUASHFS).other_bytes());
    world.server.fault(Fault::on(INITRD).status(404));
    world.sync().run().failed(4, "items-mixed");
    world.assert_serves_old(&old);
}

#[test]
fn dropped_in_the_middle_goes_on_where_it_stopped() {
    let world = recovers(squashfs().drop_after(10_000).times(1));
    let requests = world.server.requests();
    let ranges: Vec<_> = requests.iter().filter(|request| request.path == SQUASHFS).collect();
    assert_eq!(ranges.len(), 2);
    assert_eq!(ranges[0].range, None);
    assert_eq!(ranges[1].range.as_deref(), Some("bytes=10000-"));
    assert!(ranges[1].header("if-range").is_some(), "the content may have changed");
    assert_eq!(ranges[1].status, 206);
}

#[test]
fn reset_in_the_middle() {
    recovers(squashfs().reset_after(50_000).times(1));
}

#[test]
fn a_resume_that_is_answered_from_the_start() {
    let world = recovers(squashfs().drop_after(10_000).times(1).no_ranges());
    assert_eq!(world.server.count(SQUASHFS), 2);
    let world = recovers(squashfs().drop_after(10_000).times(2).etag(None));
    assert!(world.server.count(SQUASHFS) >= 2);
}

#[test]
fn a_server_without_ranges() {
    let (world, _) = World::held_and_newer();
    world.server.fault(squashfs().no_ranges());
    world.server.fault(squashfs().drop_after(10_000).times(1));
    world.sync().args(["--retries", "1"]).run().expect(0);
    let requests = world.server.requests();
    let last = requests.iter().rfind(|request| request.path == SQUASHFS).expect("request");
    assert_eq!((last.range.as_deref(), last.status), (Some("bytes=10000-"), 200));
    world.verify().run().expect(0);
}

#[test]
fn a_range_that_was_not_asked_for() {
    let (world, old) = World::held_and_newer();
    world.server.fault(squashfs().content_range("bytes 5-99/100").skip(1));
    world.server.fault(squashfs().drop_after(10_000).times(1));
    world.sync().args(["--retries", "1"]).run().failed(3, "item-other-range");
    world.assert_serves_old(&old);
}

#[test]
fn an_error_of_the_server_passes() {
    recovers(squashfs().status(500).times(1));
    recovers(Fault::on("index.sjson").status(500).times(1));
}

#[test]
fn the_pause_that_the_server_asks_for() {
    let start = std::time::Instant::now();
    recovers(squashfs().status_retry_after(503, 1).times(1));
    assert!(start.elapsed() >= Duration::from_secs(1));
}

#[test]
fn an_error_that_stays() {
    fails(3, "item-error", squashfs().status(503));
    let (world, old) = World::held();
    world.server.fault(Fault::on("index.sjson").status(502));
    world.sync().run().failed(1, "index-error");
    world.assert_serves_old(&old);
}

#[test]
fn an_upstream_that_is_not_there() {
    let (mut world, old) = World::held();
    let gone = world.server.url();
    world.server = fixtures::Server::start(world.upstream()).expect("server");
    world.sync_from(&gone).run().failed(1, "upstream-gone");
    world.assert_serves_old(&old);
}

#[test]
fn one_item_that_is_held_back_does_not_stop_the_others() {
    let (world, old) = World::held_and_newer();
    let gate = Gate::new();
    world.server.fault(squashfs().hold_after(10_000, &gate));
    let running = world.sync().spawn();
    e2e::eventually("all other items", || {
        let blobs = e2e::blobs_in(&world.store());
        blobs.difference(&old.blobs).count() == 5
    });
    gate.open();
    running.wait().expect(0);
    world.verify().run().expect(0);
}
