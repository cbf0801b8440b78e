//! A store into which a server pulls, and bundles.

use std::path::Path;

use e2e::{Held, PATIENCE, Serving, World};
use fixtures::{Fault, Gate};

const SQUASHFS: &str = "xenial/amd64/20210928/squashfs";

/// A world whose mirror holds the manifests alone, what another store holds, and `x.tar`, a
/// bundle of that one.
fn world() -> (World, Held) {
    let world = World::new();
    let other = world.dir().join("other");
    world.sync_to(&other, &world.server.url()).run().expect(0);
    let held = Held::at(&world, &other);
    world.at("export", &other).args([world.dir().join("x.tar")]).run().expect(0);
    world.sync().args(["ftype=manifest"]).run().expect(0);
    world.server.clear_log();
    (world, held)
}

fn pulling(world: &World) -> Serving {
    Serving::ready(world.serve_and_sync().args(["--pull-through", "ftype=manifest"]))
}

#[test]
fn an_item_that_is_being_pulled_is_not_written_twice() {
    let (world, held) = world();
    let gate = Gate::new();
    world.server.fault(Fault::on(SQUASHFS).hold_after(100_000, &gate));
    let serving = pulling(&world);
    let store = world.store();
    let answer = std::thread::scope(|scope| {
        let client = scope.spawn(|| serving.get(&format!("/images/{SQUASHFS}")));
        assert!(world.server.wait_for(SQUASHFS, 1, PATIENCE));
        let path = store.join(".maas-mirror/partial").join(world.stream.items[SQUASHFS].sha256());
        e2e::eventually("the pull", || length(&path) > 0);
        let run = world.import_to(&store, &["x.tar"]).run().expect(6);
        assert!(run.stderr.contains("hint: wait for it to end"), "{}", run.stderr);
        gate.open();
        client.join().expect("client")
    });
    assert!(answer.whole && answer.body == held.files[SQUASHFS]);
    // The pull joins a snapshot too, for which it needs the lock.
    e2e::eventually("the import", || world.import_to(&store, &["x.tar"]).run().code == 0);
    e2e::eventually("the snapshot", || {
        held.files.iter().all(|(path, bytes)| {
            let answer = serving.get(&format!("/images/{path}"));
            answer.whole && answer.body == *bytes
        })
    });
    assert_eq!(world.server.count(SQUASHFS), 1);
    drop(serving);
    world.verify().run().expect(0);
}

fn length(path: &Path) -> u64 {
    std::fs::metadata(path).map_or(0, |meta| meta.len())
}
