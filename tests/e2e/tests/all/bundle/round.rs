//! There and back.

use std::fs;
use std::process::{Command, Stdio};

use e2e::{Held, Serving, World, eventually};

use super::Gap;

#[test]
fn a_whole_bundle() {
    let (world, held) = World::held();
    let run = world.export("bundle.tar").run().expect(0);
    let bytes = fs::read(world.dir().join("bundle.tar")).expect("bundle");
    let first = run.stdout.lines().next().expect("a line");
    assert!(first.starts_with(&e2e::sha256(&bytes)), "{first}");
    let there = world.dir().join("there");
    let run = world.import_to(&there, &["bundle.tar"]).run().expect(0);
    assert!(run.stdout.starts_with("published snapshot "), "{}", run.stdout);
    held.assert_stands_at(&world, &there);
    let again = world.import_to(&there, &["bundle.tar"]).run().expect(0);
    assert!(again.stdout.starts_with("already imported: "), "{}", again.stdout);
    assert_eq!(Held::at(&world, &there).blobs, held.blobs);
}

#[test]
fn the_same_snapshot_gives_the_same_bytes() {
    let (world, _) = World::held();
    let other = world.dir().join("other");
    world.sync_to(&other, &world.server.url()).run().expect(0);
    for (args, name) in [(&[][..], "x.tar"), (&["--split", "200KB"], "x.1-of-2.tar")] {
        world.export("x.tar").args(args).run().expect(0);
        let first = fs::read(world.dir().join(name)).expect("bundle");
        let target = world.dir().join("x.tar");
        let run = world.at("export", &other).args([&target]).args(args).args(["--overwrite"]);
        run.run().expect(0);
        assert!(fs::read(world.dir().join(name)).expect("bundle") == first, "{args:?}");
    }
}

#[test]
fn json_of_every_verb() {
    let world = World::synced();
    let there = world.dir().join("there");
    let exported = world.export("bundle.tar").args(["-o", "json"]).run().expect(0).json();
    assert_eq!(exported["schema"], "maas-mirror/export/1");
    let bytes = fs::read(world.dir().join("bundle.tar")).expect("bundle");
    assert_eq!(exported["files"][0]["sha256"], e2e::sha256(&bytes));
    assert_eq!(exported["files"][0]["size"], bytes.len());
    let import = || world.import_to(&there, &["bundle.tar"]).args(["-o", "json"]);
    let imported = import().run().expect(0).json();
    assert_eq!(imported["schema"], "maas-mirror/import/1");
    assert_eq!(imported["complete"], true);
    assert_eq!(imported["bundles"][0]["state"]["is"], "published");
    assert_eq!(imported["snapshot"], exported["snapshot"]);
    assert_eq!(import().run().expect(0).json()["bundles"][0]["state"]["is"], "unchanged");
    let bundle = world.dir().join("bundle.tar");
    let inspect = world.mirror("inspect").args([&bundle]).args(["-o", "json"]);
    let summary = inspect.run().expect(0).json();
    assert_eq!(summary["schema"], "maas-mirror/inspect/1");
    assert_eq!(summary["snapshot"], exported["snapshot"]);
    assert_eq!(summary["item_count"], exported["item_count"]);
    let verify = world.verify().args([&bundle]).args(["-o", "json"]).run().expect(0).json();
    assert_eq!(verify["schema"], "maas-mirror/verify-bundle/1");
    assert_eq!(verify["proved"]["metadata"][0]["signed_by"][0], world.key.fingerprint());
}

#[test]
fn through_a_pipe_and_by_a_folder() {
    let (world, held) = World::held();
    let bundle = world.dir().join("bundle.tar");
    let file = fs::File::create(&bundle).expect("file");
    let run = world.mirror("export").args(["-"]).stdout_to(file).run().expect(0);
    assert!(run.stderr.contains("exported snapshot "), "{}", run.stderr);
    for how in ["cat", "file"] {
        let there = world.dir().join(how);
        let import = world.at("import", &there).args(world.keyring_args()).args(["-"]);
        let run = if how == "cat" {
            let mut cat = Command::new("cat");
            let mut cat = cat.arg(&bundle).stdout(Stdio::piped()).spawn().expect("cat");
            let run = import.stdin(cat.stdout.take().expect("stdout")).run();
            cat.wait().expect("cat");
            run
        } else {
            import.stdin(fs::File::open(&bundle).expect("bundle")).run()
        };
        run.expect(0);
        held.assert_stands_at(&world, &there);
    }
    let layout = world.dir().join("layout");
    world.mirror("export").args([format!("{}/", layout.display())]).run().expect(0);
    let again = world.mirror("export").args([&layout]).run().expect(5);
    assert!(again.stderr.contains("is there already"), "{}", again.stderr);
    world.mirror("export").args([&layout]).args(["--overwrite"]).run().expect(0);
    // A store is such a folder too.
    for (from, there) in [(layout, "t1"), (world.store(), "t2")] {
        world.verify().args([&from]).run().expect(0);
        let there = world.dir().join(there);
        world.at("import", &there).args(world.keyring_args()).args([from]).run().expect(0);
        held.assert_stands_at(&world, &there);
    }
}

#[test]
fn what_other_tools_write() {
    let (world, held) = World::held();
    let store = world.store();
    let tar = |name: &str, args: &[&str]| {
        let target = world.dir().join(name);
        let mut tar = Command::new("tar");
        tar.args(args).arg("-cf").arg(&target).arg("-C").arg(&store);
        let status = tar.args(["./oci-layout", "./index.json", "./blobs"]).status().expect("tar");
        assert!(status.success());
    };
    tar("gnu.tar", &["--format=gnu"]);
    tar("pax.tar", &["--format=pax"]);
    tar("ustar.tar", &["--format=ustar", "--blocking-factor=200"]);
    let target = format!("oci-archive:{}", world.dir().join("skopeo.tar").display());
    let source = format!("oci:{}:current", store.display());
    skopeo(&world, &["copy", "--quiet", "--all", &source, &target]);
    for name in ["gnu.tar", "pax.tar", "ustar.tar", "skopeo.tar"] {
        let there = world.dir().join(format!("{name}-there"));
        world.import_to(&there, &[name]).run().expect(0);
        held.assert_stands_at(&world, &there);
        // As a stream they cannot be judged: that is said, and nothing is made of it.
        let file = fs::File::open(world.dir().join(name)).expect("bundle");
        let stream = world.dir().join("stream");
        let import = world.at("import", &stream).args(world.keyring_args()).args(["-"]);
        let run = import.stdin(file).run().expect(5);
        assert!(run.stderr.contains("hint: save it to a file"), "{}", run.stderr);
    }
}

fn skopeo(world: &World, args: &[&str]) -> Vec<u8> {
    let mut skopeo = Command::new("skopeo");
    skopeo.args(["--insecure-policy", "--tmpdir"]).arg(world.dir().join("tmp")).args(args);
    let output = skopeo.output().expect("install skopeo");
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

/// Every archive that is written is an OCI image that skopeo opens and copies.
#[test]
fn skopeo_opens_them_all() {
    let gap = Gap::set();
    let world = &gap.world;
    world.export("split.tar").args(["--split", "200KB"]).run().expect(0);
    let old = world.dir().join("old.tar");
    world.export("delta.tar").args(["--since".as_ref(), old.as_os_str()]).run().expect(0);
    let mut names = vec!["new.tar".to_owned(), "delta.tar".to_owned()];
    let parts = fs::read_dir(world.dir())
        .expect("folder")
        .map(|entry| entry.expect("entry").file_name().to_string_lossy().into_owned());
    names.extend(parts.filter(|name| name.starts_with("split.")));
    assert!(names.len() >= 4, "{names:?}");
    for name in names {
        let archive = format!("oci-archive:{}", world.dir().join(&name).display());
        let raw = skopeo(world, &["inspect", "--raw", &archive]);
        let index: serde_json::Value = serde_json::from_slice(&raw).expect("JSON");
        let delta = name == "delta.tar";
        let base = &index["annotations"]["dev.maas-mirror.base"];
        assert_eq!(base == gap.old.snapshot.as_str(), delta, "{name}: {base}");
        let copy = format!("oci:{}:x", world.dir().join(format!("{name}-copy")).display());
        skopeo(world, &["copy", "--quiet", "--all", &archive, &copy]);
    }
}

#[test]
fn a_delta_on_its_base() {
    let gap = Gap::set();
    let world = &gap.world;
    let old = world.dir().join("old.tar");
    world.export("delta.tar").args(["--since".as_ref(), old.as_os_str()]).run().expect(0);
    // The same by the digest of a snapshot that the store still has.
    let digest = gap.old.snapshot.trim_start_matches("sha256:");
    world.export("short.tar").args(["--since", &digest[..12]]).run().expect(0);
    let read = |name: &str| fs::read(world.dir().join(name)).expect("bundle");
    assert!(read("delta.tar") == read("short.tar"));

    let empty = world.dir().join("empty");
    let run = world.import_to(&empty, &["delta.tar"]).run().expect(5);
    let says = format!("missing base {} (made of metadata of 2025-", gap.old.snapshot);
    assert!(run.stderr.contains(&says), "{}", run.stderr);
    assert!(e2e::blobs_in(&empty).is_empty());
    let run = world.import_to(&gap.there, &["delta.tar"]).run().expect(0);
    assert!(run.stdout.starts_with("published snapshot "), "{}", run.stdout);
    gap.new.assert_stands_at(world, &gap.there);
    // In whatever order they are named.
    world.import_to(&empty, &["delta.tar", "old.tar"]).run().expect(0);
    gap.new.assert_stands_at(world, &empty);
    for since in ["nothing", "abc", "sha256:0000"] {
        let run = world.export("x.tar").args(["--since", since]).run().expect(1);
        assert!(run.stderr.contains("is no bundle, and no snapshot"), "{}", run.stderr);
    }
}

/// One changed kernel costs that kernel, the metadata, and at most 64 KB.
#[test]
fn a_delta_is_small() {
    let mut world = World::synced();
    world.export("old.tar").run().expect(0);
    let path = world.stream.items.keys().find(|path| path.ends_with("boot-kernel")).cloned();
    let path = path.expect("a kernel");
    let kernel = vec![7_u8; 50_000];
    let digest = e2e::sha256(&kernel);
    let old_digest = world.stream.items[&path].sha256();
    world.stream.replace_content(&path, kernel.clone());
    for file in world.stream.products.values_mut() {
        let text = file.to_string().replace(&old_digest, &digest);
        *file = serde_json::from_str(&text).expect("JSON");
        resize(file, &path, kernel.len());
    }
    world.stream.set_updated("Wed, 23 Jul 2025 11:01:49 +0000");
    world.publish();
    world.sync().run().expect(0);
    let held = Held::by(&world);
    let old = world.dir().join("old.tar");
    world.export("delta.tar").args(["--since".as_ref(), old.as_os_str()]).run().expect(0);
    let metadata: usize = held
        .files
        .iter()
        .filter(|(path, _)| path.starts_with("streams/"))
        .map(|(_, bytes)| bytes.len())
        .sum();
    let size = fs::metadata(world.dir().join("delta.tar")).expect("delta").len();
    let most = (kernel.len() + metadata + 64_000) as u64;
    assert!(size <= most, "{size} bytes, of at most {most}");
    let there = world.dir().join("there");
    world.import_to(&there, &["old.tar", "delta.tar"]).run().expect(0);
    held.assert_stands_at(&world, &there);
}

/// Sets the size of every item at a path.
fn resize(value: &mut serde_json::Value, path: &str, size: usize) {
    match value {
        serde_json::Value::Object(map) => {
            if map.get("path").and_then(|found| found.as_str()) == Some(path) {
                map.insert("size".into(), size.into());
            }
            map.values_mut().for_each(|value| resize(value, path, size));
        }
        serde_json::Value::Array(list) => list.iter_mut().for_each(|v| resize(v, path, size)),
        _ => {}
    }
}

/// A running server takes up what is imported into its store.
#[test]
fn into_the_store_of_a_running_server() {
    let gap = Gap::set();
    let serve = gap.world.at("serve", &gap.there).args(["--listen", "127.0.0.1:0"]);
    let serving = Serving::ready(serve);
    gap.old.assert_served_by(&serving);
    gap.world.import_to(&gap.there, &["new.tar"]).run().expect(0);
    let index = &gap.new.files["streams/v1/index.sjson"];
    eventually("the newer index", || serving.get("/images/streams/v1/index.sjson").body == *index);
    gap.new.assert_served_by(&serving);
    serving.stop();
}

/// What an older bundle must never do: make an older snapshot current.
#[test]
fn an_older_bundle_after_a_newer() {
    let gap = Gap::set();
    gap.world.import_to(&gap.there, &["new.tar"]).run().expect(0);
    gap.world.import_to(&gap.there, &["old.tar"]).run().failed(4, "import-older");
    gap.new.assert_stands_at(&gap.world, &gap.there);
    gap.world.import_to(&gap.there, &["old.tar"]).args(["--allow-older"]).run().expect(0);
    assert_eq!(gap.current(&gap.there), gap.old.snapshot);
}

#[test]
fn a_selection_of_what_is_held() {
    let world = World::of(&fixtures::StreamSpec::new().version_count(3));
    world.sync().args(["--max-versions", "all"]).run().expect(0);
    let items = |args: &[&str]| {
        let export = world.export("x.tar").args(["--overwrite", "-o", "json"]);
        let json = export.args(world.keyring_args()).args(args).run().expect(0).json();
        json["item_count"].as_u64().expect("count")
    };
    let all = items(&[]);
    let one = items(&["--max-versions", "1"]);
    assert!(one < all, "{one} of {all}");
    assert!(items(&["--max-versions", "1", "--no-bootloaders"]) < one);
    assert_eq!(items(&["--release", "xenial"]), all);
    assert_eq!(items(&["ftype=squashfs"]), 3);
    let there = world.dir().join("there");
    world.import_to(&there, &["x.tar"]).run().expect(0);
    world.at("verify", &there).args(world.keyring_args()).run().expect(0);
    let none = world.export("y.tar").args(world.keyring_args()).args([
        "--release",
        "jammy",
        "--no-bootloaders",
    ]);
    let run = none.run().expect(1);
    assert!(run.stderr.contains("matches nothing that is held"), "{}", run.stderr);
    assert!(!world.dir().join("y.tar").exists());
}

#[test]
fn what_is_there_is_not_written_over() {
    let world = World::synced();
    world.export("x.tar").run().expect(0);
    world.export("x.tar").run().failed(5, "export-exists");
    world.export("x.tar").args(["--overwrite"]).run().expect(0);
    assert!(!world.dir().join("x.tar.new").exists());
    // A pipe or a device is never replaced by a file.
    let pipe = world.dir().join("pipe");
    assert!(Command::new("mkfifo").arg(&pipe).status().expect("mkfifo").success());
    let run = world.mirror("export").args([&pipe]).args(["--overwrite"]).run().expect(5);
    assert!(run.stderr.contains("is not a regular file"), "{}", run.stderr);
    assert!(!fs::metadata(&pipe).expect("pipe").is_file());
}

#[test]
fn a_store_is_no_place_for_an_export() {
    let (world, held) = World::held();
    let before = fs::read(world.store().join("index.json")).expect("index");
    let store = world.store();
    let export = |to: &std::path::Path| {
        world.mirror("export").args([to.as_os_str(), "--overwrite".as_ref()]).run()
    };
    export(&store).expect(5);
    export(&store.join("")).failed(5, "export-to-a-store");
    assert_eq!(fs::read(store.join("index.json")).expect("index"), before);
    held.assert_stands_at(&world, &store);
}
