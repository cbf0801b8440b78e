//! Old metadata, validly signed, and selections that come out empty.

use e2e::{Held, World};
use fixtures::Stream;

/// Mirrors twice, with a newer version the second time. Returns the older stream too.
fn moved_on() -> (World, Held, Stream) {
    let (mut world, _) = World::held();
    let older = world.stream.clone();
    world.stream.add_version("20211015").expect("version");
    world.publish();
    world.sync().run().expect(0);
    let held = Held::by(&world);
    (world, held, older)
}

#[test]
fn an_older_index() {
    let (world, held, older) = moved_on();
    world.publish_as(&older);
    world.sync().run().failed(4, "rollback-index");
    held.assert_stands(&world);
    world.sync().args(["--allow-older"]).run().expect(0);
    // Accepted once is not accepted for ever.
    world.sync().run().expect(4);
    world.verify().run().expect(0);
}

#[test]
fn an_older_products_file_beside_a_current_index() {
    let (world, held, older) = moved_on();
    let path = world.products_path();
    world.put_signed(&path, &older.products_text(&path).expect("products"));
    world.sync().run().failed(4, "rollback-products");
    world.assert_serves_old(&held);
}

#[test]
fn an_index_that_no_longer_tells_its_age() {
    let (world, held, _) = moved_on();
    world.publish_changed(|stream| {
        stream.index.as_object_mut().expect("index").remove("updated");
    });
    world.sync().run().failed(4, "rollback-no-age");
    world.assert_serves_old(&held);
}

#[test]
fn products_that_no_longer_tell_their_age() {
    let (world, held, _) = moved_on();
    world.publish_changed(|stream| {
        for file in stream.products.values_mut() {
            file.as_object_mut().expect("products").remove("updated");
        }
    });
    world.sync().run().failed(4, "rollback-no-age-products");
    world.assert_serves_old(&held);
}

#[test]
fn a_selection_that_matches_nothing() {
    let (world, held) = World::held();
    world.sync().args(["release=warty"]).run().failed(1, "selection-empty");
    world
        .sync()
        .args(["--release", "warty", "--no-bootloaders"])
        .run()
        .failed(1, "selection-empty");
    world.assert_serves_old(&held);
}

#[test]
fn an_upstream_that_became_empty() {
    let (world, held) = World::held();
    world.publish_changed(|stream| {
        let entries = stream.index["index"].as_object_mut().expect("index");
        entries.clear();
    });
    world.sync().run().failed(1, "selection-empty");
    world.assert_serves_old(&held);
}
