//! `kill -9` at fifty moments of an export and of an import.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use e2e::{Held, Mirror, World};
use fixtures::StreamSpec;
use rustix::process::Signal;

/// SplitMix64: the same moments in every run, as far as a clock allows.
fn random(seed: u64, end: u64) -> u64 {
    let mut mixed = seed.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    (mixed ^ (mixed >> 31)) % end
}

/// Starts a run and kills it after some part of the time that it takes. Whether it came in time.
fn kill(mirror: Mirror, seed: u64, takes: Duration) -> bool {
    let micros = u64::try_from(takes.as_micros()).expect("short");
    let end = Instant::now() + Duration::from_micros(random(seed, micros * 11 / 10));
    let running = mirror.spawn();
    while Instant::now() < end {
        std::thread::yield_now();
    }
    running.signal(Signal::KILL);
    let run = running.wait();
    assert!([0, 3, 137].contains(&run.code), "exit code {}: {}", run.code, run.stderr);
    run.code == 137
}

fn timed(mirror: Mirror) -> Duration {
    let start = Instant::now();
    mirror.run().expect(0);
    start.elapsed()
}

fn large() -> World {
    let world = World::of(&StreamSpec::new().scale(0.05));
    world.sync().run().expect(0);
    world
}

/// What is at the bundle's name is nothing or the whole bundle, and the next export is none the
/// worse.
#[test]
fn an_export() {
    let world = large();
    let takes = timed(world.export("whole.tar"));
    let whole = fs::read(world.dir().join("whole.tar")).expect("bundle");
    let target = world.dir().join("x.tar");
    let mut killed = 0;
    for seed in 0..50 {
        killed += usize::from(kill(world.export("x.tar"), seed, takes));
        if target.exists() {
            assert!(fs::read(&target).expect("bundle") == whole, "seed {seed}");
            fs::remove_file(&target).expect("remove");
        }
    }
    assert!(killed >= 20, "only {killed} kills came in time");
    world.export("x.tar").run().expect(0);
    assert!(fs::read(&target).expect("bundle") == whole);
    assert!(!world.dir().join("x.tar.new").exists());
}

/// The older snapshot or the newer is there, whole; and the next import brings the newer.
#[test]
fn an_import() {
    let (world, old, new) = scene();
    let there = world.dir().join("there");
    let before = world.dir().join("before");
    let takes = timed(world.import_to(&there, &["new.tar"]));
    let mut killed = 0;
    for seed in 0..50 {
        reset(&before, &there);
        killed += usize::from(kill(world.import_to(&there, &["new.tar"]), seed, takes));
        let current = check(&world, &there);
        assert!([&old, &new].contains(&&current), "seed {seed}: {current}");
        world.import_to(&there, &["new.tar"]).run().expect(0);
        assert_eq!(check(&world, &there), new, "seed {seed}");
    }
    assert!(killed >= 20, "only {killed} kills came in time");
    Held::at(&world, &there).assert_stands_at(&world, &there);
}

/// The same of an import of parts, which keeps more on its way.
#[test]
fn an_import_of_parts() {
    let (world, old, new) = scene();
    let there = world.dir().join("there");
    let before = world.dir().join("before");
    let split = world.export("p.tar").args(["--split", "8MB", "-o", "json"]).run().expect(0).json();
    let files = split["files"].as_array().expect("files").iter();
    let files: Vec<_> =
        files.map(|file| PathBuf::from(file["path"].as_str().expect("path"))).collect();
    assert!(files.len() > 2, "{files:?}");
    let import = || world.at("import", &there).args(world.keyring_args()).args(&files);
    let takes = timed(import());
    let mut killed = 0;
    for seed in 0..25 {
        reset(&before, &there);
        killed += usize::from(kill(import(), seed, takes));
        killed += usize::from(kill(import(), seed + 1000, takes));
        let current = check(&world, &there);
        assert!([&old, &new].contains(&&current), "seed {seed}: {current}");
        import().run().expect(0);
        assert_eq!(check(&world, &there), new, "seed {seed}");
    }
    assert!(killed >= 20, "only {killed} kills came in time");
}

/// A world whose `new.tar` is a bundle, `there` and `before` stores with an older snapshot, and
/// the digests of both snapshots.
fn scene() -> (World, String, String) {
    let mut world = large();
    world.export("old.tar").run().expect(0);
    world.stream.add_version("20211015").expect("version");
    world.publish();
    world.sync().run().expect(0);
    world.export("new.tar").run().expect(0);
    let new = snapshot(&world, &world.store());
    let before = world.dir().join("before");
    world.import_to(&before, &["old.tar"]).run().expect(0);
    let old = snapshot(&world, &before);
    reset(&before, &world.dir().join("there"));
    (world, old, new)
}

/// Makes `there` what it was before. Blobs never change, so they are linked.
fn reset(before: &Path, there: &Path) {
    if there.exists() {
        fs::remove_dir_all(there).expect("remove");
    }
    for path in e2e::files_below(before) {
        let target = there.join(path.strip_prefix(before).expect("below"));
        fs::create_dir_all(target.parent().expect("parent")).expect("folder");
        if path.starts_with(before.join("blobs")) {
            fs::hard_link(&path, &target).expect("link");
        } else {
            fs::copy(&path, &target).expect("copy");
        }
    }
}

/// Verifies a store; its current snapshot.
#[track_caller]
fn check(world: &World, store: &Path) -> String {
    let verify = world.at("verify", store).args(world.keyring_args()).args(["-o", "json"]);
    let report = verify.run();
    assert_eq!(report.code, 0, "{}", report.stdout);
    snapshot(world, store)
}

fn snapshot(world: &World, store: &Path) -> String {
    let list = world.at("list", store).args(["-o", "json"]).run().expect(0).json();
    list["snapshot"].as_str().expect("snapshot").to_owned()
}
