//! `kill -9` at a hundred moments of a sync.
//!
//! Spec: after each, `verify` is clean but for removable partials, a whole snapshot is there, old
//! or new, and the next sync finishes and fetches no finished blob again.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use e2e::{Held, Serving, World, blobs_in};
use fixtures::{Fault, StreamSpec};
use rustix::process::Signal;

/// Seeds of this many tests each, which run side by side.
const SEEDS: u64 = 25;

/// SplitMix64: the same moments in every run, as far as a clock allows.
struct Random(u64);

impl Random {
    /// A number below `end`, which is not 0.
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % end
    }
}

/// A store that holds an older snapshot, and what a sync of the newer one takes.
struct Scene {
    world: World,
    old: Held,
    new: Held,
    /// The store before the newer sync; copied for each kill.
    before: PathBuf,
    /// How long the newer sync takes, undisturbed.
    duration: Duration,
    /// How many bytes of bodies it takes.
    bytes: u64,
}

impl Scene {
    fn set() -> Self {
        let mut world = World::of(&StreamSpec::new().scale(0.002));
        world.sync().run().expect(0);
        let old = Held::by(&world);
        let before = world.dir().join("before");
        copy_store(&world.store(), &before);
        world.stream.add_version("20211015").expect("version");
        world.publish();
        world.server.fault(slow());
        let (start, sent) = (Instant::now(), world.server.bytes_sent());
        world.sync().run().expect(0);
        let duration = start.elapsed();
        let bytes = world.server.bytes_sent() - sent;
        let new = Held::by(&world);
        Self { world, old, new, before, duration, bytes }
    }

    /// Kills one sync and checks everything after it. Returns whether the kill came in time.
    fn kill(&self, seed: u64) -> bool {
        let store = self.world.dir().join(format!("store-{seed}"));
        copy_store(&self.before, &store);
        let mut random = Random(seed);
        let killed = self.kill_one(&store, &mut random, seed);
        self.check(&store, seed);
        if seed.is_multiple_of(5) {
            // And the run that takes up what the first left.
            self.kill_one(&store, &mut random, seed + 1);
            self.check(&store, seed);
        }
        let finished = blobs_in(&store);
        self.world.server.clear_faults();
        self.world.server.clear_log();
        self.sync(&store).run().expect(0);
        for path in self.world.items_requested() {
            let digest = self.world.stream.items[&path].sha256();
            assert!(!finished.contains(&digest), "seed {seed}: {path} was fetched again");
        }
        assert_eq!(self.snapshot(&store), self.new.snapshot, "seed {seed}");
        self.world.server.fault(slow());
        fs::remove_dir_all(&store).expect("remove");
        killed
    }

    fn sync(&self, store: &Path) -> e2e::Mirror {
        self.world.sync_to(store, &self.world.server.url())
    }

    /// Starts a sync and kills it: after a time, after a number of bytes, or near its publish.
    fn kill_one(&self, store: &Path, random: &mut Random, kind: u64) -> bool {
        let micros = |duration: Duration| u64::try_from(duration.as_micros()).expect("short");
        let sent = self.world.server.bytes_sent();
        let mut running = self.sync(store).spawn();
        let pause = match kind % 3 {
            0 => random.below(micros(self.duration) * 11 / 10),
            1 => {
                let bytes = random.below(self.bytes);
                poll(|| self.world.server.bytes_sent() - sent >= bytes || running.ended());
                0
            }
            _ => {
                let wanted = self.items();
                poll(|| wanted.is_subset(&blobs_in(store)) || running.ended());
                random.below(20_000)
            }
        };
        let end = Instant::now() + Duration::from_micros(pause);
        poll(|| Instant::now() >= end);
        running.signal(Signal::KILL);
        let code = running.wait().code;
        assert!(code == 137 || code == 0, "exit code {code}");
        code == 137
    }

    /// Digests of the items that the newer snapshot holds.
    fn items(&self) -> BTreeSet<String> {
        let items = self.new.files.keys().filter_map(|path| self.world.stream.items.get(path));
        items.map(fixtures::Item::sha256).collect()
    }

    fn check(&self, store: &Path, seed: u64) {
        let verify = self.world.at("verify", store).args(self.world.keyring_args());
        let run = verify.args(["-o", "json"]).run();
        assert_eq!(run.code, 0, "seed {seed}: {}", run.stdout);
        let report = run.json();
        assert_eq!(report["intact"], true, "seed {seed}");
        let current = self.snapshot(store);
        let whole = [&self.old, &self.new].into_iter().find(|held| held.snapshot == current);
        let whole = whole.unwrap_or_else(|| panic!("seed {seed}: {current} is neither"));
        if seed.is_multiple_of(8) {
            let serve = self.world.at("serve", store).args(["--listen", "127.0.0.1:0"]);
            let serving = Serving::ready(serve);
            whole.assert_served_by(&serving);
            serving.stop();
        }
    }

    fn snapshot(&self, store: &Path) -> String {
        let list = self.world.at("list", store).args(["-o", "json"]).run().expect(0).json();
        list["snapshot"].as_str().expect("snapshot").to_owned()
    }
}

/// Slow enough that a kill finds downloads under way.
fn slow() -> Fault {
    Fault::on("*").bandwidth(8_000_000)
}

/// Waits for `condition` as closely as a thread can.
fn poll(mut condition: impl FnMut() -> bool) {
    let end = Instant::now() + e2e::PATIENCE;
    while !condition() {
        assert!(Instant::now() < end, "waited in vain");
        std::thread::sleep(Duration::from_micros(200));
    }
}

/// Copies a store. Blobs never change, so they are linked.
fn copy_store(from: &Path, to: &Path) {
    for path in e2e::files_below(from) {
        let target = to.join(path.strip_prefix(from).expect("below"));
        fs::create_dir_all(target.parent().expect("parent")).expect("folder");
        if path.starts_with(from.join("blobs")) {
            fs::hard_link(&path, &target).expect("link");
        } else {
            fs::copy(&path, &target).expect("copy");
        }
    }
}

fn kills(group: u64) {
    let scene = Scene::set();
    let seeds = group * SEEDS..(group + 1) * SEEDS;
    let killed = seeds.filter(|seed| scene.kill(*seed)).count();
    // A test that always comes too late would prove nothing.
    assert!(killed >= 15, "only {killed} kills came in time");
}

#[test]
fn seeds_0_to_24() {
    kills(0);
}

#[test]
fn seeds_25_to_49() {
    kills(1);
}

#[test]
fn seeds_50_to_74() {
    kills(2);
}

#[test]
fn seeds_75_to_99() {
    kills(3);
}

/// The same, where there was nothing before: no snapshot, or the whole one.
#[test]
fn the_first_sync() {
    let world = World::new();
    let store = world.store();
    let mut random = Random(1);
    for seed in 0..20 {
        let running = world.sync().spawn();
        let end = Instant::now() + Duration::from_micros(random.below(150_000));
        poll(|| Instant::now() >= end);
        running.signal(Signal::KILL);
        running.wait();
        if store.join("oci-layout").exists() {
            world.verify().run().expect(0);
        }
        if seed % 2 == 1 {
            world.sync().run().expect(0);
            world.verify().run().expect(0);
            fs::remove_dir_all(&store).expect("remove");
        }
    }
}
