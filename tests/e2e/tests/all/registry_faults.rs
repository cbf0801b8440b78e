//! What goes wrong with a registry: content that was tampered with, tags of something else,
//! connections that are cut, processes that are killed.

use e2e::{Held, Mirror, Proxy, Registry, World, eventually};
use fixtures::{SigningKey, StreamSpec};
use rustix::process::Signal;

use crate::registry::{export, pushed, replica, replica_store, skopeo};

/// Digest of the largest item of what is held.
fn largest(held: &Held) -> (String, usize) {
    let largest = held.files.values().max_by_key(|bytes| bytes.len()).expect("a file");
    (e2e::sha256(largest), largest.len())
}

#[test]
fn tampered_content_is_never_published() {
    let (world, old, registry, url) = pushed();
    replica(&world, &url).run().expect(0);
    let (digest, size) = largest(&old);
    for damaged in [vec![0; size], vec![0; size - 1], vec![0; size + 1]] {
        std::fs::remove_dir_all(replica_store(&world)).expect("remove");
        std::fs::write(registry.stored(&digest), damaged).expect("tamper");
        let run = replica(&world, &url).run().expect(4);
        assert!(run.stderr.contains("squashfs"), "{}", run.stderr);
        let status = world.at("list", &replica_store(&world)).run();
        assert!(status.stderr.contains("snapshot"), "{}", status.stderr);
        assert!(!e2e::blobs_in(&replica_store(&world)).contains(&digest));
    }
    // Signed files and the snapshot's own description are no different.
    let index = old.snapshot.trim_start_matches("sha256:").to_owned();
    let signed = e2e::sha256(&old.files["streams/v1/index.sjson"]);
    for part in [signed, index] {
        let path = registry.stored(&part);
        let good = std::fs::read(&path).expect("stored");
        let mut bad = good.clone();
        *bad.last_mut().expect("a byte") ^= 1;
        std::fs::write(&path, bad).expect("tamper");
        std::fs::remove_dir_all(replica_store(&world)).expect("remove");
        let run = replica(&world, &url).run();
        // The registry itself may find it out, and fail.
        assert!(run.code == 4 || run.code == 1, "{}", run.stderr);
        assert!(!e2e::blobs_in(&replica_store(&world)).contains(&part), "{}", run.stderr);
        std::fs::write(&path, good).expect("mend");
    }
    std::fs::write(
        registry.stored(&digest),
        old.files.values().max_by_key(|b| b.len()).expect("file"),
    )
    .expect("mend");
    replica(&world, &url).run().expect(0);
    old.assert_stands_at(&world, &replica_store(&world));
}

#[test]
fn a_damaged_blob_is_never_sent() {
    let (world, held) = World::held();
    let registry = Registry::start();
    let url = registry.url("maas");
    let (digest, size) = largest(&held);
    let path = world.store().join("blobs/sha256").join(&digest);
    let good = std::fs::read(&path).expect("blob");
    for damage in [vec![0; size], vec![0; size - 1], vec![0; size + 1]] {
        std::fs::write(&path, damage).expect("damage");
        export(&world, &url).run().failed(4, "registry-damaged");
    }
    std::fs::remove_file(&path).expect("remove");
    export(&world, &url).run().expect(4);
    assert!(!registry.stored(&digest).exists());
    assert_eq!(registry.count(0, "PUT", "/manifests/"), 0);
    std::fs::write(&path, good).expect("mend");
    export(&world, &url).run().expect(0);
    replica(&world, &url).run().expect(0);
    held.assert_stands_at(&world, &replica_store(&world));
}

#[test]
fn another_key_is_not_trusted() {
    let (world, _held, _registry, url) = pushed();
    let stranger = SigningKey::generate("Stranger <stranger@example.org>").expect("key");
    let keyring = world.dir().join("stranger.gpg");
    stranger.write_keyring(&keyring).expect("keyring");
    let store = replica_store(&world);
    let run = world.at("sync", &store).args(["--upstream", &url, "--plain-http", "--keyring"]);
    run.arg(&keyring).run().expect(4);
    assert!(world.at("list", &store).run().stderr.contains("snapshot"));
    replica(&world, &url).run().expect(0);
}

#[test]
fn tags_that_are_not_there_or_not_ours() {
    let (world, _held, registry, _url) = pushed();
    let named = |run: Mirror| run.named(registry.address(), "REGISTRY").run();
    named(replica(&world, &registry.url("maas/images:v9"))).failed(1, "registry-no-tag");
    named(replica(&world, &registry.url("nothing"))).failed(1, "registry-no-name");
    // An ordinary image.
    let image = world.dir().join("image");
    let layout = [
        ("oci-layout", r#"{"imageLayoutVersion":"1.0.0"}"#.to_owned()),
        (
            "blobs/sha256/44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a",
            "{}".into(),
        ),
    ];
    let manifest = r#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a","size":2},"layers":[]}"#;
    let digest = e2e::sha256(manifest.as_bytes());
    let index = format!(
        r#"{{"schemaVersion":2,"manifests":[{{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"sha256:{digest}","size":{},"annotations":{{"org.opencontainers.image.ref.name":"v1"}}}}]}}"#,
        manifest.len()
    );
    let more = [("index.json", index), (&format!("blobs/sha256/{digest}"), manifest.to_owned())];
    for (path, text) in layout.into_iter().chain(more) {
        fixtures::write_file(&image.join(path), text.as_bytes()).expect("write");
    }
    let to = format!("docker://{}/image:v1", registry.address());
    skopeo(&[
        "copy",
        "--quiet",
        "--dest-tls-verify=false",
        &format!("oci:{}:v1", image.display()),
        &to,
    ]);
    named(replica(&world, &registry.url("image:v1"))).failed(1, "registry-not-a-snapshot");
    assert!(e2e::blobs_in(&replica_store(&world)).is_empty());
}

#[test]
fn a_cut_download_goes_on_where_it_was() {
    let world = World::of(&StreamSpec::new().scale(0.02));
    world.sync().run().expect(0);
    let held = Held::by(&world);
    let registry = Registry::start();
    export(&world, &registry.url("maas")).run().expect(0);
    let proxy = Proxy::before(registry.address());
    let url = format!("oci://{}/maas", proxy.address());
    // Once within a run, and once so that the run ends.
    proxy.cut_downloads(500_000, 1);
    let run = replica(&world, &url).args(["--retries", "1", "--parallel", "1"]).run().expect(0);
    assert!(run.stderr.contains("trying again"), "{}", run.stderr);
    assert_eq!(registry.count(0, "GET", " 206"), 1);
    held.assert_stands_at(&world, &replica_store(&world));

    std::fs::remove_dir_all(replica_store(&world)).expect("remove");
    proxy.cut_downloads(500_000, 1);
    replica(&world, &url).args(["--parallel", "1"]).run().expect(3);
    replica(&world, &url).args(["--parallel", "1"]).run().expect(0);
    assert_eq!(registry.count(0, "GET", " 206"), 2);
    assert_eq!(proxy.cuts_left(), 0);
    held.assert_stands_at(&world, &replica_store(&world));
}

#[test]
fn a_cut_upload_is_made_again_and_the_tag_comes_last() {
    let world = World::of(&StreamSpec::new().scale(0.02));
    world.sync().run().expect(0);
    let held = Held::by(&world);
    let registry = Registry::start();
    let proxy = Proxy::before(registry.address());
    let url = format!("oci://{}/maas", proxy.address());
    proxy.cut_uploads(500_000, 1);
    let run = export(&world, &url).args(["--parallel", "1"]).run().expect(1);
    assert!(run.stderr.contains("hint: "), "{}", run.stderr);
    assert_eq!(proxy.cuts_left(), 0);
    // What is incomplete has no name.
    replica(&world, &url).run().expect(1);
    let before = registry.requests().len();
    proxy.cut_uploads(500_000, 1);
    export(&world, &url).args(["--parallel", "1", "--retries", "1"]).run().expect(0);
    let puts: Vec<_> = registry.requests().split_off(before);
    let puts: Vec<_> =
        puts.iter().filter(|it| it.starts_with("PUT") && it.contains("/manifests/")).collect();
    assert!(puts.last().expect("puts").contains("/manifests/current "), "{puts:?}");
    replica(&world, &url).run().expect(0);
    held.assert_stands_at(&world, &replica_store(&world));
}

#[test]
fn killed_on_the_way_there_and_on_the_way_back() {
    let world = World::of(&StreamSpec::new().scale(0.02));
    world.sync().run().expect(0);
    let held = Held::by(&world);
    let registry = Registry::start();
    let url = registry.url("maas");
    // After so many blobs that the registry has of it.
    let blobs = |method: &str, status: &str| registry.count(0, method, status);
    for step in 1..4 {
        let mut running = export(&world, &url).args(["--parallel", "1"]).spawn();
        eventually("uploads", || blobs("PUT", " 201") >= step * 3 || running.ended());
        running.signal(Signal::KILL);
        running.wait();
        let tag = registry.count(0, "PUT", "/manifests/current 201");
        if tag == 0 {
            replica(&world, &url).run().expect(1);
        }
    }
    export(&world, &url).run().expect(0);
    // No blob was committed twice.
    let mut puts = registry.requests();
    puts.retain(|it| it.starts_with("PUT") && it.contains("/blobs/") && it.ends_with(" 201"));
    assert!(puts.len() <= held.files.len() + 1 + 3, "{puts:?}");
    for step in 1..4 {
        let before = registry.requests().len();
        let mut running = replica(&world, &url).args(["--parallel", "1"]).spawn();
        let got = || registry.count(before, "GET", "/blobs/");
        eventually("downloads", || got() >= step || running.ended());
        running.signal(Signal::KILL);
        running.wait();
        // Nothing is published before all of it is there.
        let store = replica_store(&world);
        let listed = world.at("list", &store).args(["-o", "json"]).run();
        assert!(listed.code != 0 || listed.json()["snapshot"] == held.snapshot.as_str());
    }
    replica(&world, &url).run().expect(0);
    held.assert_stands_at(&world, &replica_store(&world));
}
