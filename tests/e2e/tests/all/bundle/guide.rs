//! Every command of the operator's guide, read from it and run, from the part on the mirror's own
//! way over an air gap. What comes before it is about MAAS as a whole, and the deployer's tests run it.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use e2e::{Held, World};

const GUIDE: &str = include_str!("../../../../../docs/operators-guide.md");
const UPSTREAM: &str = "https://images.maas.io/ephemeral-v3/stable/";

/// The blocks between "```sh" and "```".
fn blocks() -> Vec<String> {
    let (_, mirror) = GUIDE.split_once("\n## Over an air gap\n").expect("the part");
    let parts = mirror.split("```sh\n").skip(1);
    parts.map(|part| part.split("```").next().expect("a block").to_owned()).collect()
}

/// Runs a block as the guide's reader would, with a store, a keyring and an upstream of our own.
#[track_caller]
fn run(world: &World, block: &str, store: &Path) {
    let bin = world.dir().join("bin");
    if !bin.exists() {
        fs::create_dir(&bin).expect("folder");
        symlink(e2e::binary(), bin.join("maas-mirror")).expect("link");
    }
    let desk = world.dir().join("desk");
    fs::create_dir_all(&desk).expect("folder");
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").expect("PATH"));
    let script = block
        .replace(UPSTREAM, &world.server.url())
        .replace("/srv/", &format!("{}/", desk.display()));
    let output = Command::new("bash")
        .args(["-euo", "pipefail", "-c", &script])
        .current_dir(&desk)
        .env("PATH", path)
        .env("MAAS_MIRROR_STORE", store)
        .env("MAAS_MIRROR_KEYRING", world.dir().join("keyring.gpg"))
        .env("MAAS_MIRROR_UPSTREAM", world.server.url())
        .output()
        .expect("bash");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{script}\n{stderr}");
}

#[test]
fn the_air_gap_walk_through() {
    let mut world = World::new();
    let (here, there) = (world.store(), world.dir().join("there"));
    let mut later = false;
    let blocks = blocks();
    assert!(blocks.len() >= 8, "{blocks:?}");
    for block in blocks {
        if block.contains("--since") {
            world.stream.add_version("20211015").expect("version");
            world.publish();
            later = true;
        }
        let over_there = block.starts_with("maas-mirror import");
        run(&world, &block, if over_there { &there } else { &here });
        if over_there {
            let held = Held::at(&world, &there);
            assert_eq!(held.files.keys().any(|path| path.contains("20211015")), later);
        }
    }
    assert!(later);
    Held::at(&world, &there).assert_stands_at(&world, &there);
    let other = world.dir().join("desk/other");
    Held::at(&world, &other).assert_stands_at(&world, &other);
    assert!(world.dir().join("desk/images/streams/v1/index.sjson").exists());
}
