//! Parts.

use std::fs;
use std::path::Path;

use e2e::{Held, World, files_below};
use fixtures::StreamSpec;

/// Exports in parts; their names.
fn parts(world: &World, name: &str, size: &str) -> Vec<String> {
    let run = world.export(name).args(["--split", size, "-o", "json"]).run().expect(0).json();
    let files = run["files"].as_array().expect("files").iter();
    let name = |file: &serde_json::Value| {
        let path = Path::new(file["path"].as_str().expect("path")).to_owned();
        path.file_name().expect("name").to_string_lossy().into_owned()
    };
    files.map(name).collect()
}

#[test]
fn parts_one_at_a_time_in_any_order() {
    let world = World::of(&StreamSpec::new().scale(0.002));
    world.sync().run().expect(0);
    let held = Held::by(&world);
    let names = parts(&world, "x.tar", "150kB");
    assert!(names.len() >= 7, "{names:?}");
    let sizes = names.iter().map(|name| {
        let size = fs::metadata(world.dir().join(name)).expect("part").len();
        assert!(size <= 150_000, "{name}: {size}");
        size
    });
    let sizes: Vec<_> = sizes.collect();
    let (most, least) = (sizes.iter().max().expect("a part"), sizes.iter().min().expect("a part"));
    assert!(most - least < 70_000, "{sizes:?}");
    let there = world.dir().join("there");
    let mut order: Vec<_> = (0..names.len()).collect();
    // Odd ones first, backwards.
    order.sort_by_key(|number| (number % 2 == 0, usize::MAX - number));
    for (came, number) in order.iter().enumerate() {
        let name = names[*number].as_str();
        world.verify().args([world.dir().join(name)]).run().expect(0);
        let last = came + 1 == names.len();
        let run = world.import_to(&there, &[name]).run().expect(if last { 0 } else { 3 });
        if last {
            assert!(run.stdout.starts_with("published snapshot "), "{}", run.stdout);
        } else {
            let left = names.len() - came - 1;
            let says = format!("; {left} of {} parts of bundle ", names.len());
            assert!(run.stdout.contains(&says), "{}", run.stdout);
            // Twice is as good as once.
            if came == 2 {
                let again = world.import_to(&there, &[name]).run().expect(3);
                assert!(again.stdout.contains(&says), "{}", again.stdout);
                assert!(again.stdout.contains(": 0 B added"), "{}", again.stdout);
            }
            world.at("list", &there).run().expect(1);
            let status = world.at("status", &there).run().expect(0);
            let says = format!("import     {} of {} parts of bundle ", came + 1, names.len());
            assert!(status.stdout.contains(&says), "{}", status.stdout);
        }
    }
    held.assert_stands_at(&world, &there);
    // Nothing is left of the way there.
    assert!(files_below(&there.join(".maas-mirror/import")).is_empty());
    assert!(files_below(&there.join(".maas-mirror/partial")).is_empty());
    let again = world.import_to(&there, &[&names[0]]).run().expect(0);
    assert!(again.stdout.starts_with("already imported: "), "{}", again.stdout);
}

#[test]
fn parts_all_at_once_and_a_folder_of_them() {
    let (world, held) = World::held();
    let names = parts(&world, "x.tar", "150kB");
    let mut all: Vec<_> = names.iter().map(String::as_str).collect();
    all.reverse();
    let there = world.dir().join("there");
    world.import_to(&there, &all).run().expect(0);
    held.assert_stands_at(&world, &there);
    let folder = world.dir().join("disk");
    fs::create_dir(&folder).expect("folder");
    for name in &names {
        fs::rename(world.dir().join(name), folder.join(name)).expect("move");
    }
    let other = world.dir().join("other");
    world.import_to(&other, &["disk"]).run().expect(0);
    held.assert_stands_at(&world, &other);
}

#[test]
fn a_split_that_is_not_needed_or_not_possible() {
    let world = World::synced();
    assert_eq!(parts(&world, "x.tar", "4GiB"), ["x.tar"]);
    let run = world.export("y.tar").args(["--split", "20kB"]).run().expect(5);
    assert!(run.stderr.contains("its metadata alone takes"), "{}", run.stderr);
    world.mirror("export").args(["--split", "dvd", "-"]).run().expect(64);
    world.export("y.tar").args(["--split", "4G"]).run().expect(64);
}

#[test]
fn parts_of_different_bundles() {
    let mut world = World::synced();
    let first = parts(&world, "first.tar", "200kB");
    world.stream.add_version("20211015").expect("version");
    world.publish();
    world.sync().run().expect(0);
    let other = world.dir().join("other");
    world.sync_to(&other, &world.server.url()).run().expect(0);
    let held = Held::at(&world, &other);
    let second = parts(&world, "second.tar", "200kB");
    let there = world.dir().join("there");
    let run = world.import_to(&there, &[&first[0], &second[1]]).run().expect(3);
    let told: Vec<_> = run.stdout.lines().filter(|line| line.contains("still to come")).collect();
    assert_eq!(told.len(), 2, "{}", run.stdout);
    assert!(run.stderr.contains("parts of 2 different bundles"), "{}", run.stderr);
    // In whatever order they are named: what is not whole is told by the exit code.
    world.export("whole.tar").run().expect(0);
    let both = world.dir().join("both");
    for names in [["whole.tar", &first[0]], [&first[0], "whole.tar"]] {
        let args = ["--allow-older", "-o", "json"];
        let json = world.import_to(&both, &names).args(args).run().expect(3).json();
        assert_eq!(json["complete"], false, "{json}");
    }
    // Neither hurts the other.
    let rest: Vec<_> = second.iter().map(String::as_str).collect();
    world.import_to(&there, &rest).run().expect(0);
    held.assert_stands_at(&world, &there);
}

#[test]
fn a_delta_in_parts() {
    let gap = super::Gap::set();
    let world = &gap.world;
    let old = world.dir().join("old.tar");
    let export = world.export("d.tar").args(["--since".as_ref(), old.as_os_str()]);
    let json = export.args(["--split", "150kB", "-o", "json"]).run().expect(0).json();
    let files = json["files"].as_array().expect("files");
    let paths: Vec<_> = files.iter().map(|file| file["path"].as_str().expect("path")).collect();
    assert!(paths.len() > 1, "{paths:?}");
    let import = |store: &Path| world.at("import", store).args(world.keyring_args());
    // All its parts, and no base: nothing is published, and the base is named.
    let empty = world.dir().join("empty");
    let run = import(&empty).args(&paths).run().expect(5);
    assert!(run.stderr.contains(&format!("missing base {}", gap.old.snapshot)), "{}", run.stderr);
    import(&gap.there).args(&paths).run().expect(0);
    gap.new.assert_stands_at(world, &gap.there);
}

/// A part that lies about what its range is of is found out when the whole is there.
#[test]
fn a_range_of_wrong_content() {
    let (world, held) = World::held();
    let names = parts(&world, "x.tar", "150kB");
    let cut = names.iter().find_map(|name| {
        let entries = e2e::read_tar(&fs::read(world.dir().join(name)).expect("part"));
        let manifest = entries.iter().find(|entry| {
            String::from_utf8_lossy(&entry.bytes).contains("dev.maas-mirror.offset")
        })?;
        let layers: serde_json::Value = serde_json::from_slice(&manifest.bytes).expect("JSON");
        let layers = layers["layers"].as_array().expect("layers").clone();
        let range = layers
            .iter()
            .find(|layer| !layer["annotations"]["dev.maas-mirror.offset"].is_null())?;
        let digest = range["digest"].as_str().expect("digest").replace("sha256:", "");
        Some((name.clone(), entries, digest))
    });
    let (name, entries, digest) = cut.expect("a range");
    let mut bad = super::content::Bundle::of(entries);
    bad.change_blob(&digest, |bytes| bytes[0] ^= 1);
    fs::write(world.dir().join("bad.tar"), bad.tar()).expect("write");
    let there = world.dir().join("there");
    let mut wrong: Vec<_> =
        names.iter().filter(|other| **other != name).map(String::as_str).collect();
    wrong.insert(0, "bad.tar");
    let run = world.import_to(&there, &wrong).run().expect(4);
    assert!(run.stderr.contains("is not what the signed metadata lists"), "{}", run.stderr);
    world.at("list", &there).run().expect(1);
    let all: Vec<_> = names.iter().map(String::as_str).collect();
    world.import_to(&there, &all).run().expect(0);
    held.assert_stands_at(&world, &there);
}

/// What a part says of itself is not signed, so it is checked against what is.
#[test]
fn parts_that_contradict_themselves() {
    let (world, held) = World::held();
    let names = parts(&world, "x.tar", "150kB");
    let text = |name: &str| fs::read(world.dir().join(name)).expect("part");
    let there = world.dir().join("there");
    let mut tried = 0;
    for (from, to) in [
        (r#""dev.maas-mirror.part":"1""#, r#""dev.maas-mirror.part":"9""#),
        (r#""dev.maas-mirror.part":"1""#, r#""dev.maas-mirror.part":"0""#),
        (r#""dev.maas-mirror.parts":""#, r#""dev.maas-mirror.partz":""#),
        (r#""dev.maas-mirror.set":"sha256:"#, r#""dev.maas-mirror.set":"sha512:"#),
        (r#""dev.maas-mirror.offset":""#, r#""dev.maas-mirror.offset":"-"#),
        (r#""dev.maas-mirror.whole.size":""#, r#""dev.maas-mirror.whole.size":"9"#),
        (r#""dev.maas-mirror.whole":"sha256:"#, r#""dev.maas-mirror.whole":"sha256:0"#),
    ] {
        for name in &names {
            let mut bad = super::content::Bundle::of(e2e::read_tar(&text(name)));
            let Some(digest) = bad.holding(from) else {
                continue;
            };
            bad.change_length(&digest, &|text| text.replacen(from, to, 1));
            fs::write(world.dir().join("bad.tar"), bad.tar()).expect("write");
            let run = world.import_to(&there, &["bad.tar"]).run().expect(4);
            assert!(run.stderr.contains("cannot import "), "{}", run.stderr);
            assert!(e2e::blobs_in(&there).is_empty());
            tried += 1;
            break;
        }
    }
    assert_eq!(tried, 7);
    let all: Vec<_> = names.iter().map(String::as_str).collect();
    world.import_to(&there, &all).run().expect(0);
    held.assert_stands_at(&world, &there);
}

#[test]
fn nothing_is_told_of_parts_that_nobody_waits_for() {
    let (world, _) = World::held();
    let names = parts(&world, "x.tar", "150kB");
    let told = |store: &Path| world.at("status", store).run().expect(0).stdout;
    // What came was removed.
    let there = world.dir().join("there");
    world.import_to(&there, &[&names[0]]).run().expect(3);
    assert!(told(&there).contains("\nimport "), "{}", told(&there));
    world.at("prune", &there).args(["--grace", "0s"]).run().expect(0);
    assert!(!told(&there).contains("\nimport "), "{}", told(&there));
    let run = world.import_to(&there, &[&names[1]]).run().expect(3);
    let says = format!("; {} of {} parts of bundle ", names.len() - 1, names.len());
    assert!(run.stdout.contains(&says), "{}", run.stdout);
    // The snapshot came in another way.
    world.sync_to(&there, &world.server.url()).run().expect(0);
    assert!(!told(&there).contains("\nimport "), "{}", told(&there));
}
