//! Bundles: there and back, what is refused, and what is left when it goes wrong.

mod bad;
mod content;
mod guide;
mod kill;
mod pulled;
mod round;
mod split;
mod tree;
mod upstream;

use std::path::{Path, PathBuf};

use e2e::{Held, World};

/// A store on the other side that holds an older snapshot, and `new.tar`, a bundle of a newer one.
struct Gap {
    world: World,
    there: PathBuf,
    old: Held,
    new: Held,
}

impl Gap {
    fn set() -> Self {
        let mut world = World::synced();
        world.export("old.tar").run().expect(0);
        let there = world.dir().join("there");
        world.import_to(&there, &["old.tar"]).run().expect(0);
        let old = Held::at(&world, &there);
        world.stream.add_version("20211015").expect("version");
        world.publish();
        world.sync().run().expect(0);
        let new = Held::by(&world);
        world.export("new.tar").run().expect(0);
        Self { world, there, old, new }
    }

    /// The newer bundle.
    fn bundle(&self) -> Vec<u8> {
        std::fs::read(self.world.dir().join("new.tar")).expect("bundle")
    }

    fn put(&self, name: &str, bytes: &[u8]) {
        std::fs::write(self.world.dir().join(name), bytes).expect("write");
    }

    /// Imports a bundle, which is to fail and leave what is served as it was. Returns stderr.
    #[track_caller]
    fn refuses(&self, bytes: &[u8], code: i32) -> String {
        self.put("bad.tar", bytes);
        let run = self.world.import_to(&self.there, &["bad.tar"]).run().expect(code);
        assert!(run.stderr.starts_with("error: cannot import "), "{}", run.stderr);
        assert_eq!(self.current(&self.there), self.old.snapshot);
        run.stderr
    }

    fn current(&self, store: &Path) -> String {
        let list = self.world.at("list", store).args(["-o", "json"]).run().expect(0).json();
        list["snapshot"].as_str().expect("snapshot").to_owned()
    }

    /// What every failed import ends with: the older snapshot is served as ever, and the next
    /// import succeeds.
    #[track_caller]
    fn assert_stands(&self) {
        self.old.assert_stands_at(&self.world, &self.there);
        self.world.import_to(&self.there, &["new.tar"]).run().expect(0);
        self.new.assert_stands_at(&self.world, &self.there);
    }
}
