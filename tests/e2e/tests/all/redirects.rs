//! Redirects and HTTPS.

use e2e::{Mirror, World};
use fixtures::{Fault, Server};

#[test]
fn five_in_a_row_are_followed() {
    let world = World::new();
    world.server.fault(Fault::on("*").redirect_chain(5));
    world.sync().run().expect(0);
    world.verify().run().expect(0);
}

#[test]
fn six_in_a_row_are_not() {
    let (world, old) = World::held_and_newer();
    world.server.fault(Fault::on("index.sjson").redirect_chain(6));
    world.sync().run().failed(1, "redirect-six");
    world.server.clear_faults();
    world.server.fault(Fault::on("20211015/squashfs").redirect_chain(6));
    world.sync().run().failed(3, "redirect-six-item");
    world.assert_serves_old(&old);
}

#[test]
fn another_host_is_allowed() {
    let world = World::new();
    let other = Server::start(world.upstream()).expect("server");
    let root = other.url().replace("127.0.0.1", "localhost");
    world.server.fault(Fault::on("*").redirect_root(&root));
    world.sync().run().expect(0);
    assert!(other.count("streams/v1/index.sjson") == 1);
    world.verify().run().expect(0);
}

#[test]
fn https_is_not_left_for_http() {
    let (world, old) = World::held_and_newer();
    let (secure, ca) = secure(&world);
    secure.fault(Fault::on("index.sjson").redirect_root(&world.server.url()));
    world.server.clear_log();
    let sync = || trusting(world.sync_from(&secure.url()), &ca);
    sync().run().failed(1, "redirect-insecure");
    assert!(world.server.requests().is_empty(), "the insecure URL was asked");
    // Nor for an item, whose digest would tell.
    secure.clear_faults();
    secure.fault(Fault::on("20211015/squashfs").redirect_root(&world.server.url()));
    sync().run().failed(3, "redirect-insecure-item");
    assert!(world.server.requests().is_empty(), "the insecure URL was asked");
    world.assert_serves_old(&old);
}

#[test]
fn a_private_authority_is_trusted_when_named() {
    let world = World::new();
    let (secure, ca) = secure(&world);
    // With retries: a certificate is not tried again.
    let sync = world.sync_from(&secure.url()).args(["--retries", "4"]);
    let run = sync.run().failed(1, "certificate");
    assert!(!run.stderr.contains("trying again"), "{}", run.stderr);
    trusting(world.sync_from(&secure.url()), &ca).run().expect(0);
    world.verify().run().expect(0);
    let empty = world.dir().join("empty.pem");
    std::fs::write(&empty, "").expect("write");
    let run = trusting(world.sync_from(&secure.url()), &empty).run().expect(1);
    assert!(run.stderr.contains("no PEM certificate"), "{}", run.stderr);
}

/// An HTTPS server of the same upstream, and the file with its authority.
fn secure(world: &World) -> (Server, std::path::PathBuf) {
    let server = Server::start_tls(world.upstream()).expect("server");
    let ca = world.dir().join("ca.pem");
    std::fs::write(&ca, server.ca_pem()).expect("write");
    (server, ca)
}

fn trusting(sync: Mirror, ca: &std::path::Path) -> Mirror {
    sync.args(["--ca-file".as_ref(), ca.as_os_str()])
}
