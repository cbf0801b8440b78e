//! Metadata that is validly signed and wrong.

use std::time::{Duration, Instant};

use e2e::World;
use fixtures::{Fault, Stream};
use serde_json::{Value, json};

const GA: &str = "com.ubuntu.maas.stable:v3:boot:16.04:amd64:ga-16.04";
const HWE: &str = "com.ubuntu.maas.stable:v3:boot:16.04:amd64:hwe-16.04";
const VERSION: &str = "20210928";

/// Mirrors, lets `break_it` change the upstream, and checks that the next sync refuses.
#[track_caller]
fn refused(code: i32, message: &str, break_it: impl FnOnce(&World)) {
    let (world, old) = World::held();
    break_it(&world);
    world.server.clear_log();
    world.sync().run().failed(code, message);
    assert!(world.items_requested().is_empty());
    world.assert_serves_old(&old);
}

/// As [`refused`], with validly signed metadata.
#[track_caller]
fn refused_change(code: i32, message: &str, change: impl FnOnce(&mut Stream)) {
    refused(code, message, |world| world.publish_changed(change));
}

#[test]
fn broken() {
    refused(1, "json-broken", |world| {
        world.put_signed("streams/v1/index.sjson", b"{\"format\": \"index:1.0\", oops}\n");
    });
}

#[test]
fn truncated() {
    refused(1, "json-truncated", |world| {
        let text = world.stream.index_text().expect("index");
        world.put_signed("streams/v1/index.sjson", &text[..text.len() / 2]);
    });
}

#[test]
fn ten_thousand_levels_deep() {
    refused(1, "json-deep", |world| {
        // In lines: gpg cuts those of more than 19,995 bytes.
        let (open, close) = ("[\n".repeat(10_000), "]\n".repeat(10_000));
        let text =
            format!("{{\"format\": \"index:1.0\", \"index\": {{}}, \"x\": {open}{close}}}\n");
        world.put_signed("streams/v1/index.sjson", text.as_bytes());
    });
}

#[test]
fn too_long_by_its_announced_length() {
    refused(1, "json-announced-long", |world| {
        let file = std::fs::File::create(world.upstream().join("streams/long")).expect("file");
        file.set_len(200 << 20).expect("length");
        let long = Fault::on("index.sjson").redirect("/streams/long");
        world.server.fault(long);
        let start = world.server.bytes_sent();
        world.sync().run().expect(1);
        let sent = world.server.bytes_sent() - start;
        assert!(sent < 16 << 20, "{sent} bytes were taken");
    });
}

#[test]
fn without_end() {
    let (world, old) = World::held();
    world.server.fault(Fault::on("index.sjson").endless());
    let start = Instant::now();
    let mut running = world.sync().spawn();
    let mut peak = 0;
    while !running.ended() {
        peak = peak.max(running.peak_kib().unwrap_or(0));
        std::thread::sleep(Duration::from_millis(1));
    }
    running.wait().failed(1, "json-endless");
    assert!(peak > 0 && peak < 128 * 1024, "{peak} KiB held");
    assert!(start.elapsed() < Duration::from_secs(20), "{:?}", start.elapsed());
    world.assert_serves_old(&old);
}

#[test]
fn a_products_file_that_is_missing() {
    refused(1, "json-products-missing", |world| {
        std::fs::remove_file(world.upstream().join(world.products_path())).expect("remove");
    });
}

#[test]
fn a_content_id_that_disagrees() {
    refused_change(4, "json-content-id", |stream| {
        for file in stream.products.values_mut() {
            file["content_id"] = json!("com.example:other");
        }
    });
}

#[test]
fn a_product_that_the_file_lacks() {
    refused_change(4, "json-product-lacking", |stream| {
        let entries = stream.index["index"].as_object_mut().expect("index");
        for entry in entries.values_mut() {
            let ids = entry["products"].as_array_mut().expect("products");
            ids.push(json!("com.example:lacking"));
        }
    });
}

#[test]
fn an_entry_point_that_is_no_index() {
    let (world, old) = World::held();
    let url = format!("{}{}", world.server.url(), world.products_path());
    world.sync_from(&url).run().failed(1, "json-not-an-index");
    world.assert_serves_old(&old);
}

/// Sets a key of the squashfs of both products.
fn set_squashfs(stream: &mut Stream, key: &str, value: &Value) {
    for product in [GA, HWE] {
        let item = stream.item_mut(product, VERSION, "squashfs").expect("item");
        item.insert(key.to_owned(), value.clone());
    }
}

#[test]
fn paths_that_lead_astray() {
    let (world, old) = World::held();
    let long = format!("xenial/{}", "x".repeat(300));
    let paths = [
        ("path-escape", "../x"),
        ("path-absolute", "/etc/x"),
        ("path-empty-part", "a//b"),
        ("path-dot", "a/./b"),
        ("path-percent", "%2e%2e/x"),
        ("path-nul", "a\0b"),
        ("path-long", &long),
    ];
    for (message, path) in paths {
        world.publish_changed(|stream| set_squashfs(stream, "path", &json!(path)));
        world.sync().run().failed(1, message);
        world.publish_changed(|stream| {
            let entries = stream.index["index"].as_object_mut().expect("index");
            for entry in entries.values_mut() {
                entry["path"] = json!(path);
            }
        });
        world.sync().run().failed(1, &format!("{message}-in-index"));
    }
    world.assert_serves_old(&old);
    // Nothing was written where the paths lead.
    assert!(!world.dir().join("x").exists());
}

#[test]
fn a_colon_in_a_path_is_legal() {
    let (mut world, _) = World::held();
    let path = "xenial:lts/amd64/squash:fs";
    let content = world.stream.items["xenial/amd64/20210928/squashfs"].clone();
    set_squashfs(&mut world.stream, "path", &json!(path));
    world.stream.items.insert(path.to_owned(), content.clone());
    world.publish();
    world.sync().run().expect(0);
    let serving = e2e::Serving::ready(world.serve());
    for spelling in [path.to_owned(), path.replace(':', "%3A")] {
        let answer = serving.get(&format!("/images/{spelling}"));
        assert_eq!(answer.status, 200);
        assert_eq!(answer.body, content.read());
    }
    serving.stop();
}

#[test]
fn an_item_without_sha256() {
    refused_change(4, "item-no-sha256", |stream| {
        let item = stream.item_mut(GA, VERSION, "boot-kernel").expect("item");
        item.remove("sha256");
    });
}

#[test]
fn an_item_without_size() {
    refused_change(4, "item-no-size", |stream| {
        let item = stream.item_mut(HWE, VERSION, "boot-initrd").expect("item");
        item.remove("size");
    });
}

#[test]
fn one_content_and_two_sizes() {
    refused_change(4, "item-two-sizes", |stream| {
        let digest = stream.item_mut(GA, VERSION, "boot-kernel").expect("item")["sha256"].clone();
        let item = stream.item_mut(GA, VERSION, "boot-initrd").expect("item");
        item.insert("sha256".to_owned(), digest);
    });
}

#[test]
fn one_path_and_two_digests() {
    refused_change(4, "item-two-digests", |stream| {
        let item = stream.item_mut(GA, VERSION, "squashfs").expect("item");
        item.insert("sha256".to_owned(), json!("0".repeat(64)));
    });
}
