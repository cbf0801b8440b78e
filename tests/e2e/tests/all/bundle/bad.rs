//! Archives that are damaged or hostile.

use std::fs;
use std::io::Write as _;
use std::process::Stdio;

use e2e::{TarEntry, read_tar, tar_header, write_tar};

use super::Gap;

#[test]
fn truncated_at_every_percent() {
    let gap = Gap::set();
    let bundle = gap.bundle();
    for percent in 0..100 {
        let stderr = gap.refuses(&bundle[..bundle.len() * percent / 100], 4);
        assert!(stderr.contains("cut short"), "at {percent} %: {stderr}");
    }
    // In the zeros at the end, too.
    for less in [1, 511, 512, 513, 1023, 1024, 1025] {
        gap.refuses(&bundle[..bundle.len() - less], 4);
    }
    gap.assert_stands();
}

#[test]
fn a_stream_that_ends_early() {
    let gap = Gap::set();
    let bundle = gap.bundle();
    let world = &gap.world;
    for percent in (0..100).step_by(7) {
        gap.put("cut.tar", &bundle[..bundle.len() * percent / 100]);
        let stream = fs::File::open(world.dir().join("cut.tar")).expect("bundle");
        let import = world.at("import", &gap.there).args(world.keyring_args()).args(["-"]);
        let run = import.stdin(stream).run().expect(4);
        assert!(run.stderr.contains("cut short"), "at {percent} %: {}", run.stderr);
        assert_eq!(gap.current(&gap.there), gap.old.snapshot);
    }
    gap.assert_stands();
}

/// A bit in every header, content, padding and in the zeros at the end. What is accepted all the
/// same must be the very snapshot.
#[test]
fn a_flipped_bit_in_every_part() {
    let gap = Gap::set();
    let bundle = gap.bundle();
    let mut places = vec![bundle.len() - 1, bundle.len() - 1000];
    let mut at = 0;
    for entry in read_tar(&bundle) {
        let size = entry.bytes.len();
        let end = at + 512 + size;
        places.extend([at + 3, at + 60, at + 130, at + 150, at + 156, at + 259, at + 400]);
        places.extend([at + 512, at + 512 + size / 2, end - 1]);
        at += 512 + size.next_multiple_of(512);
        if end < at {
            places.push(at - 1);
        }
    }
    let mut refused = 0;
    for (number, place) in places.iter().enumerate() {
        let mut bad = bundle.clone();
        bad[*place] ^= 1 << (number % 8);
        gap.put("bad.tar", &bad);
        let store = gap.world.dir().join("flipped");
        let run = gap.world.import_to(&store, &["bad.tar"]).run();
        if run.code == 0 {
            assert_eq!(gap.current(&store), gap.new.snapshot, "byte {place}");
            gap.world.at("verify", &store).args(gap.world.keyring_args()).run().expect(0);
            fs::remove_dir_all(&store).expect("remove");
        } else {
            refused += 1;
            assert!([4, 5].contains(&run.code), "byte {place}: {} {}", run.code, run.stderr);
            gap.world.at("list", &store).run().expect(1);
        }
    }
    assert!(refused * 20 >= places.len() * 19, "{refused} of {} were refused", places.len());
    gap.assert_stands();
}

/// The newer bundle with one more entry, in front of everything or behind it.
fn with(gap: &Gap, entry: &TarEntry) -> [Vec<u8>; 2] {
    let entries = read_tar(&gap.bundle());
    let mut front = vec![entry.clone()];
    front.extend(entries.clone());
    let mut behind = entries;
    behind.push(entry.clone());
    [write_tar(&front), write_tar(&behind)]
}

#[test]
fn hostile_entries() {
    let gap = Gap::set();
    let blob = format!("blobs/sha256/{}", "0".repeat(64));
    let upper = format!("blobs/sha256/{}", "A".repeat(64));
    for (entry, says) in [
        (TarEntry::file("../evil", b"x"), "no file of that name"),
        (TarEntry::file("blobs/../../evil", b"x"), "no file of that name"),
        (TarEntry::file("/etc/evil", b"x"), "no file of that name"),
        (TarEntry::file("./../evil", b"x"), "no file of that name"),
        (TarEntry::file(".maas-mirror/newest.json", b"{}"), "no file of that name"),
        (TarEntry::file("", b"x"), "no file of that name"),
        (TarEntry::file("blobs/sha256/x", b"x"), "no file of that name"),
        (TarEntry::file(&upper, b"x"), "no file of that name"),
        (TarEntry::file("evil\x1b[2J", b"x"), r"evil\u{1b}[2J"),
        (TarEntry::other(&blob, b'1'), "it is a link"),
        (TarEntry::other(&blob, b'2'), "it is a link"),
        (TarEntry::other(&blob, b'3'), "it is a device"),
        (TarEntry::other(&blob, b'4'), "it is a device"),
        (TarEntry::other(&blob, b'6'), "it is a device or a pipe"),
        (TarEntry::other(&blob, b'S'), "it is a sparse file"),
        (TarEntry::other("x", b'L'), "longer than any"),
        (TarEntry::other("x", b'g'), "records for the whole archive"),
        (TarEntry::other("x", b'Z'), "of a kind that is not known"),
        (TarEntry::other("evil/", b'5'), "no file of that name"),
        (TarEntry::file("index.json", b"{}"), "it is there twice"),
        (TarEntry::file("./oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#), "it is there twice"),
    ] {
        for bad in with(&gap, &entry) {
            let stderr = gap.refuses(&bad, 4);
            assert!(stderr.contains(says), "{entry:?}: {stderr}");
        }
        // A stream meets it before it believes anything, or behind all that it wants.
        let world = &gap.world;
        gap.put("bad.tar", &with(&gap, &entry)[0]);
        let stream = fs::File::open(world.dir().join("bad.tar")).expect("bundle");
        let import = world.at("import", &gap.there).args(world.keyring_args()).args(["-"]);
        import.stdin(stream).run().expect(4);
    }
    assert!(!gap.world.dir().join("evil").exists());
    gap.assert_stands();
}

#[test]
fn a_blob_that_is_there_twice() {
    let gap = Gap::set();
    for number in 2..read_tar(&gap.bundle()).len() {
        let entry = read_tar(&gap.bundle())[number].clone();
        let stderr = gap.refuses(&with(&gap, &entry)[1], 4);
        assert!(stderr.contains("it is there twice"), "{stderr}");
    }
    gap.assert_stands();
}

#[test]
fn hostile_records() {
    let gap = Gap::set();
    let pax = |records: &[u8]| TarEntry { name: "x".into(), kind: b'x', bytes: records.to_vec() };
    let bomb = vec![b'x'; 40_000];
    for (entry, says) in [
        (pax(b"22 GNU.sparse.major=1\n"), "it is a sparse file"),
        (pax(b"14 path=../ev\n"), "longer than any"),
        (pax(b"17 linkpath=../x\n"), "longer than any"),
        (pax(b"28 size=9223372036854775808\n"), "size cannot be read"),
        (pax(b"99 size=1\n"), "records are damaged"),
        (pax(&bomb), "records are too long"),
    ] {
        let stderr = gap.refuses(&with(&gap, &entry)[0], 4);
        assert!(stderr.contains(says), "{stderr}");
    }
    // Thousands of them before one file.
    let mut many = vec![pax(b"13 comment=x\n"); 2];
    many.extend(read_tar(&gap.bundle()));
    assert!(gap.refuses(&write_tar(&many), 4).contains("two sets of records"));
    gap.assert_stands();
}

#[test]
fn hostile_sizes() {
    let gap = Gap::set();
    let blob = format!("blobs/sha256/{}", "0".repeat(64));
    let binary = |size: u64| [&[0x80, 0, 0, 0][..], &size.to_be_bytes()].concat();
    for size in [
        binary(1 << 63),
        binary(u64::MAX),
        binary(i64::MAX as u64),
        binary(1 << 40),
        vec![0xff; 12],
        b"-0000000001\0".to_vec(),
        b"777777777777".to_vec(),
        b"0000000000x\0".to_vec(),
        vec![0; 12],
    ] {
        for kind in [b'0', b'x', b'5'] {
            let mut bad = tar_header(&blob, kind, &size).to_vec();
            bad.extend(gap.bundle());
            gap.refuses(&bad, 4);
            // As the size of index.json, which would be read whole.
            let mut bad = tar_header("index.json", kind, &size).to_vec();
            bad.extend(gap.bundle());
            gap.refuses(&bad, 4);
        }
    }
    gap.assert_stands();
}

#[test]
fn text_behind_the_end() {
    let gap = Gap::set();
    let mut padded = gap.bundle();
    padded.extend([0; 20 * 512]);
    let mut stray = padded.clone();
    stray.extend(b"x");
    assert!(gap.refuses(&stray, 4).contains("does not belong there"));
    let mut long = gap.bundle();
    long.resize(long.len() + 2 * 1024 * 1024, 0);
    gap.refuses(&long, 4);
    // What tar itself fills up with is no fault.
    gap.put("padded.tar", &padded);
    gap.world.import_to(&gap.there, &["padded.tar"]).run().expect(0);
    gap.new.assert_stands_at(&gap.world, &gap.there);
}

/// A damaged blob of the store ends the export, and nothing is left that looks like a bundle.
#[test]
fn a_damaged_store() {
    for args in [&[][..], &["--split", "150kB"]] {
        let (world, _) = e2e::World::held();
        let squashfs = world.stream.items["xenial/amd64/20210928/squashfs"].sha256();
        let blob = world.store().join("blobs/sha256").join(squashfs);
        let whole = fs::read(&blob).expect("blob");
        let (mut flipped, mut longer) = (whole.clone(), whole.clone());
        flipped[1000] ^= 1;
        longer.push(0);
        for bytes in [&flipped[..], &whole[..1000], &longer] {
            fs::write(&blob, bytes).expect("write");
            let run = world.export("x.tar").args(args).run().expect(4);
            assert!(run.stderr.contains("in the store is damaged"), "{}", run.stderr);
        }
        fs::remove_file(&blob).expect("remove");
        world.export("x.tar").args(args).run().failed(4, "export-damaged");
        let left = fs::read_dir(world.dir()).expect("folder").flatten();
        let left: Vec<_> = left.map(|entry| entry.file_name()).collect();
        assert!(left.iter().all(|name| !name.to_string_lossy().starts_with("x.")), "{left:?}");
        world.verify().args(["--repair"]).run().expect(4);
        world.sync().run().expect(0);
        world.export("x.tar").args(args).run().expect(0);
    }
}

/// Whichever blob of the snapshot is damaged, or gone: items, signed files, manifests.
#[test]
fn whatever_is_damaged_in_the_store() {
    let (world, old) = e2e::World::held();
    for name in &old.blobs {
        let blob = world.store().join("blobs/sha256").join(name);
        let whole = fs::read(&blob).expect("blob");
        let mut flipped = whole.clone();
        flipped[0] ^= 1;
        fs::write(&blob, &flipped).expect("write");
        let code = world.export("x.tar").run().code;
        // The empty config is known without being read.
        assert_eq!(code, if whole == b"{}" { 0 } else { 4 }, "{name}");
        fs::remove_file(&blob).expect("remove");
        let run = world.export("x.tar").args(["--overwrite"]).run();
        assert!([0, 1, 4].contains(&run.code), "{name}: {}", run.code);
        assert_eq!(run.code == 0, whole == b"{}", "{name}");
        fs::write(&blob, &whole).expect("write");
        let _ = fs::remove_file(world.dir().join("x.tar"));
    }
    world.verify().run().expect(0);
    world.export("x.tar").run().expect(0);
}

/// A pipe that is closed on the reader's side.
#[test]
fn a_reader_that_leaves() {
    let world = e2e::World::synced();
    let full = fs::OpenOptions::new().write(true).open("/dev/full").expect("/dev/full");
    let run = world.mirror("export").args(["-"]).stdout_to(full).run().expect(1);
    assert!(run.stderr.contains("cannot write standard output"), "{}", run.stderr);
    world.verify().run().expect(0);
}

/// A disk that fills while a bundle comes through a pipe.
#[test]
fn a_disk_that_fills_while_a_bundle_comes() {
    let Some(disk) = e2e::Tmpfs::mount("4m") else {
        return;
    };
    let gap = Gap::set();
    let there = disk.path().join("store");
    gap.world.import_to(&there, &["old.tar"]).run().expect(0);
    let bundle = gap.bundle();
    let (reader, mut writer) = std::io::pipe().expect("pipe");
    let import = gap.world.at("import", &there).args(gap.world.keyring_args()).args(["-"]);
    let running = import.stdin(Stdio::from(reader)).spawn();
    // All but the last tenth, of which the metadata is the first part.
    let (first, last) = bundle.split_at(bundle.len() * 3 / 10);
    writer.write_all(first).expect("pipe");
    e2e::eventually("the first item", || e2e::blobs_in(&there).len() > gap.old.blobs.len());
    let filler = disk.fill();
    // It hangs up when it can write no more.
    let _ = writer.write_all(last);
    drop(writer);
    let run = running.wait().expect(1);
    assert!(run.stderr.contains("hint: free some space"), "{}", run.stderr);
    gap.old.assert_stands_at(&gap.world, &there);
    fs::remove_file(filler).expect("remove");
    gap.world.import_to(&there, &["new.tar"]).run().expect(0);
    gap.new.assert_stands_at(&gap.world, &there);
}

#[test]
fn disks_that_are_too_small() {
    let Some(disk) = e2e::Tmpfs::mount("100k") else {
        return;
    };
    let gap = Gap::set();
    let there = disk.path().join("store");
    let run = gap.world.import_to(&there, &["new.tar"]).run().expect(5);
    assert!(run.stderr.contains("bytes are free in"), "{}", run.stderr);
    assert!(e2e::blobs_in(&there).is_empty());
    let target = disk.path().join("x.tar");
    let run = gap.world.mirror("export").args([&target]).run().expect(5);
    assert!(run.stderr.contains("bytes are free in"), "{}", run.stderr);
    assert!(!target.exists());
}

/// Ended by a signal, an export leaves nothing half written.
#[test]
fn an_export_that_is_interrupted() {
    let world = e2e::World::new();
    let gate = fixtures::Gate::new();
    let squashfs = "xenial/amd64/20210928/squashfs";
    world.server.fault(fixtures::Fault::on(squashfs).hold_after(50_000, &gate));
    let export = world.export("x.tar").args(["--from", &world.server.url()]);
    let running = export.args(world.keyring_args()).spawn();
    assert!(world.server.wait_for(squashfs, 1, e2e::PATIENCE));
    e2e::eventually("a file half written", || world.dir().join("x.tar.new").exists());
    running.signal(rustix::process::Signal::INT);
    running.wait().expect(130);
    gate.open();
    let left = fs::read_dir(world.dir()).expect("folder").flatten();
    let left: Vec<_> = left.map(|entry| entry.file_name()).collect();
    assert!(left.iter().all(|name| !name.to_string_lossy().starts_with("x.")), "{left:?}");
}

/// A disk that fills while a bundle is written: nothing of it is left.
#[test]
fn a_disk_that_fills_while_a_bundle_is_written() {
    let Some(disk) = e2e::Tmpfs::mount("4m") else {
        return;
    };
    let world = e2e::World::new();
    let gate = fixtures::Gate::new();
    let squashfs = "xenial/amd64/20210928/squashfs";
    world.server.fault(fixtures::Fault::on(squashfs).hold_after(50_000, &gate));
    let target = disk.path().join("x.tar");
    let export = || {
        let from = world.server.url();
        world.mirror("export").args([&target]).args(["--from", &from]).args(world.keyring_args())
    };
    let running = export().spawn();
    assert!(world.server.wait_for(squashfs, 1, e2e::PATIENCE));
    let filler = disk.fill();
    gate.open();
    let run = running.wait().expect(1);
    assert!(run.stderr.contains("hint: free some space"), "{}", run.stderr);
    assert_eq!(e2e::files_below(disk.path()), std::slice::from_ref(&filler));
    fs::remove_file(filler).expect("remove");
    world.server.clear_faults();
    export().run().expect(0);
    world.verify().args([&target]).run().expect(0);
}
