//! A plain tree, for another web server.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use e2e::{Held, Mirror, World, files_below};

const SQUASHFS: &str = "xenial/amd64/20210928/squashfs";

fn export(world: &World, args: &[&str]) -> Mirror {
    let tree = world.dir().join("tree");
    world.mirror("export").args(["--tree".as_ref(), tree.as_os_str()]).args(args)
}

/// Content by path, without what the tree keeps of itself.
fn content(tree: &Path) -> BTreeMap<String, Vec<u8>> {
    let files = files_below(tree).into_iter().map(|path| {
        let name = path.strip_prefix(tree).expect("below").to_string_lossy().into_owned();
        (name, fs::read(path).expect("file"))
    });
    files.filter(|(name, _)| !name.starts_with(".maas-mirror")).collect()
}

#[test]
fn a_tree_is_what_is_served() {
    let (mut world, held) = World::held();
    let tree = world.dir().join("tree");
    export(&world, &[]).run().expect(0);
    assert!(content(&tree) == held.files);
    let again = export(&world, &[]).run().expect(0);
    assert!(again.stdout.contains("0 reflinked, 0 hard-linked, 0 copied"), "{}", again.stdout);

    world.stream.add_version("20211015").expect("version");
    world.publish();
    world.sync().run().expect(0);
    let new = Held::by(&world);
    let run = export(&world, &[]).run().expect(0);
    assert!(run.stdout.contains("--delete removes them"), "{}", run.stdout);
    let now = content(&tree);
    assert!(new.files.iter().all(|(path, bytes)| now.get(path) == Some(bytes)));
    assert!(held.files.keys().all(|path| now.contains_key(path)));
    // What others put there stays.
    fs::write(tree.join("notes.txt"), "mine").expect("write");
    export(&world, &["--delete"]).run().expect(0);
    let mut expected = new.files.clone();
    expected.insert("notes.txt".into(), b"mine".to_vec());
    assert!(content(&tree) == expected);
    assert!(!tree.join("xenial/amd64/20210928").exists());
    world.verify().run().expect(0);
}

#[test]
fn copies_share_nothing() {
    let (world, held) = World::held();
    let tree = world.dir().join("tree");
    export(&world, &["--copy"]).run().expect(0);
    assert!(content(&tree) == held.files);
    for path in held.files.keys() {
        let path = tree.join(path);
        assert_eq!(fs::metadata(&path).expect("file").nlink(), 1);
        fs::write(&path, "changed").expect("write");
    }
    world.verify().run().expect(0);
    // What was changed since is seen by its length, and mended.
    export(&world, &["--copy"]).run().expect(0);
    assert!(content(&tree) == held.files);
}

#[test]
fn one_that_was_cut_short_is_finished() {
    let (world, held) = World::held();
    let tree = world.dir().join("tree");
    export(&world, &[]).run().expect(0);
    for path in held.files.keys().step_by(2) {
        fs::remove_file(tree.join(path)).expect("remove");
    }
    fs::write(tree.join("streams/v1/index.sjson.new"), "half").expect("write");
    export(&world, &[]).run().expect(0);
    let mut now = content(&tree);
    now.remove("streams/v1/index.sjson.new");
    assert!(now == held.files);
}

#[test]
fn a_folder_that_holds_something_else() {
    let world = World::synced();
    let tree = world.dir().join("tree");
    fs::create_dir(&tree).expect("folder");
    fs::write(tree.join("thesis.txt"), "years of work").expect("write");
    export(&world, &["--delete"]).run().failed(5, "export-not-a-tree");
    assert_eq!(files_below(&tree), [tree.join("thesis.txt")]);
    export(&world, &["--split", "4GiB"]).run().expect(64);
}

/// Changes one byte of the squashfs in the store.
fn damage(world: &World) {
    let blob = world.store().join("blobs/sha256").join(world.stream.items[SQUASHFS].sha256());
    let mut bytes = fs::read(&blob).expect("blob");
    bytes[100] ^= 1;
    fs::write(&blob, bytes).expect("write");
}

#[test]
fn what_the_store_mended_is_mended_in_the_tree() {
    let (world, held) = World::held();
    let tree = world.dir().join("tree");
    export(&world, &[]).run().expect(0);
    damage(&world);
    world.verify().args(["--repair"]).run().expect(4);
    // Meanwhile there is nothing that could be exported.
    let before = content(&tree);
    let run = export(&world, &[]).run().expect(4);
    assert!(run.stderr.contains(SQUASHFS), "{}", run.stderr);
    assert!(content(&tree) == before);
    world.sync().run().expect(0);
    export(&world, &[]).run().expect(0);
    assert!(content(&tree) == held.files);
}

#[test]
fn a_store_that_lacks_the_end_of_a_file() {
    let (world, held) = World::held();
    let tree = world.dir().join("tree");
    let blob = world.store().join("blobs/sha256").join(world.stream.items[SQUASHFS].sha256());
    let file = fs::File::options().write(true).open(&blob).expect("blob");
    file.set_len(100).expect("cut");
    for args in [&[][..], &["--copy"]] {
        let run = export(&world, args).run().expect(4);
        assert!(run.stderr.contains(SQUASHFS), "{}", run.stderr);
        assert!(!tree.join("streams").exists() && !tree.join("xenial").exists());
    }
    world.verify().args(["--repair"]).run().expect(4);
    world.sync().run().expect(0);
    export(&world, &[]).run().expect(0);
    assert!(content(&tree) == held.files);
}

#[test]
fn a_copy_of_damaged_content_is_not_left() {
    let (world, held) = World::held();
    let tree = world.dir().join("tree");
    damage(&world);
    let run = export(&world, &["--copy"]).run().expect(4);
    assert!(run.stderr.contains(SQUASHFS), "{}", run.stderr);
    assert!(!tree.join("streams").exists());
    assert!(files_below(&tree).iter().all(|path| !path.to_string_lossy().ends_with(".new")));
    assert!(!tree.join(SQUASHFS).exists());
    world.verify().args(["--repair"]).run().expect(4);
    world.sync().run().expect(0);
    export(&world, &["--copy"]).run().expect(0);
    assert!(content(&tree) == held.files);
}
