//! The bytes of files on their way out: damage, prune, and clients of every kind.

use std::fs::File;
use std::io::{BufReader, Read as _, Write as _};
use std::net::{Shutdown, TcpStream};
use std::path::PathBuf;

use e2e::http::{self, Answer};
use e2e::{Serving, Tmpfs, World, eventually, sha256};
use fixtures::StreamSpec;

const SQUASHFS: &str = "xenial/amd64/20210928/squashfs";
const URL: &str = "/images/xenial/amd64/20210928/squashfs";
const INDEX: &str = "/images/streams/v1/index.sjson";

/// A stream with a squashfs that fills every buffer between a server and a client.
fn large() -> World {
    let world = World::of(&StreamSpec::new().scale(0.1));
    world.sync().run().expect(0);
    world
}

fn digest(world: &World) -> String {
    world.stream.items[SQUASHFS].sha256()
}

fn blob(world: &World) -> PathBuf {
    world.store().join("blobs/sha256").join(digest(world))
}

fn quarantined(world: &World) -> PathBuf {
    world.store().join(".maas-mirror/quarantine").join(digest(world))
}

fn shorten(blob: &PathBuf, by: u64) {
    let file = File::options().write(true).open(blob).expect("open");
    let length = file.metadata().expect("blob").len();
    file.set_len(length - by).expect("shorten");
}

/// A connection on which `path` was asked for.
fn ask(serving: &Serving, path: &str) -> BufReader<TcpStream> {
    let mut stream = http::connect(serving.address()).expect("connect");
    stream.write_all(&http::head("GET", path, &[])).expect("send");
    BufReader::new(stream)
}

/// Asks for the squashfs and reads the head alone.
fn begin(serving: &Serving) -> (Answer, BufReader<TcpStream>) {
    let mut reader = ask(serving, URL);
    let head = http::read_head(&mut reader).expect("head");
    assert_eq!(head.status, 200);
    (head, reader)
}

fn damaged_blobs(serving: &Serving) -> u64 {
    let readyz: serde_json::Value =
        serde_json::from_str(&serving.get("/readyz").text()).expect("JSON");
    readyz["damaged_blobs"].as_u64().expect("a number")
}

/// What a server has open: the targets of its descriptors.
fn open_files(serving: &Serving) -> Vec<String> {
    let folder = format!("/proc/{}/fd", serving.process().pid());
    let entries = std::fs::read_dir(folder).expect("descriptors").flatten();
    let targets = entries.filter_map(|entry| std::fs::read_link(entry.path()).ok());
    targets.map(|target| target.display().to_string()).collect()
}

fn sockets(serving: &Serving) -> usize {
    open_files(serving).iter().filter(|target| target.starts_with("socket:")).count()
}

/// The next sync fetches what went to quarantine, and it is served whole again.
#[track_caller]
fn assert_mends(world: &World, serving: &Serving) {
    world.sync().run().expect(0);
    let answer = serving.get(URL);
    assert!(answer.status == 200 && answer.whole, "{}", answer.status);
    assert_eq!(sha256(&answer.body), digest(world));
    world.verify().run().expect(0);
}

#[test]
fn a_blob_that_shrinks_under_way() {
    let world = large();
    let serving = Serving::ready(world.serve());
    assert_eq!(damaged_blobs(&serving), 0);
    let (head, mut reader) = begin(&serving);
    shorten(&blob(&world), 1);
    // Cut, and never padded.
    let answer = http::read_body(head, &mut reader, false).expect("body");
    assert!(!answer.whole);
    eventually("the quarantine", || quarantined(&world).exists());
    assert!(!blob(&world).exists());
    assert_eq!(damaged_blobs(&serving), 1);
    for (method, lines) in [("GET", &[][..]), ("GET", &["Range: bytes=0-9"]), ("HEAD", &[])] {
        assert_eq!(serving.request(method, URL, lines).status, 500, "{method} {lines:?}");
    }
    assert_mends(&world, &serving);
    let run = serving.stop();
    assert_eq!(run.stderr.matches("a blob was cut short on the disk").count(), 1, "{}", run.stderr);
    assert!(run.stderr.contains("damaged_blobs=1"), "{}", run.stderr);
    assert!(run.stderr.contains("a damaged blob was moved away"), "{}", run.stderr);
}

#[test]
fn a_blob_that_is_too_short_is_never_a_short_answer() {
    let world = World::synced();
    let serving = Serving::ready(world.serve());
    let bytes = std::fs::read(blob(&world)).expect("blob");
    std::fs::write(blob(&world), &bytes[..1000]).expect("truncate");
    let ask = |method: &str, lines: &[&str]| serving.request(method, URL, lines).status;
    assert_eq!(ask("GET", &["Range: bytes=0-9"]), 500);
    assert_eq!(ask("GET", &[]), 500);
    assert_eq!(ask("HEAD", &[]), 500);
    eventually("the quarantine", || quarantined(&world).exists());
    assert_eq!(damaged_blobs(&serving), 1);
    // Mended by hand, and damaged again: that counts.
    std::fs::write(blob(&world), &bytes).expect("mend");
    assert_eq!(ask("GET", &[]), 200);
    shorten(&blob(&world), 1);
    eventually("another look", || ask("HEAD", &[]) == 500);
    assert_eq!(damaged_blobs(&serving), 2);
    eventually("the quarantine", || !blob(&world).exists());
    assert_mends(&world, &serving);
    let run = serving.stop();
    assert!(run.stderr.contains("a listed file cannot be served"), "{}", run.stderr);
}

/// A store that takes no writes can only be told of.
#[test]
fn a_damaged_blob_on_a_disk_that_takes_no_writes() {
    let Some(disk) = Tmpfs::mount("64m") else { return };
    let world = World::new();
    let store = disk.path().join("store");
    world.sync_to(&store, &world.server.url()).run().expect(0);
    let blob = store.join("blobs/sha256").join(digest(&world));
    shorten(&blob, 1);
    disk.read_only(true);
    let serving = Serving::ready(world.at("serve", &store).args(["--listen", "127.0.0.1:0"]));
    assert_eq!(serving.get(URL).status, 500);
    eventually("a line", || {
        serving.process().stderr().contains("a damaged blob stays in the store")
    });
    assert!(blob.exists());
    assert_eq!(damaged_blobs(&serving), 1);
    assert_eq!(serving.get(INDEX).status, 200);
    serving.stop();
    disk.read_only(false);
}

#[test]
fn a_blob_that_is_pruned_while_it_is_sent() {
    let mut world = large();
    let old = digest(&world);
    let path = blob(&world);
    let serving = Serving::ready(world.serve());
    let (head, mut reader) = begin(&serving);
    world.stream.add_version("20211015").expect("version");
    world.stream.remove_version("20210928");
    world.publish();
    world.sync().args(["--grace", "0s"]).run().expect(0);
    assert!(!path.exists());
    // The server has taken up the new snapshot, and lets go of what it had open.
    eventually("404", || serving.get(URL).status == 404);
    let answer = http::read_body(head, &mut reader, false).expect("body");
    assert!(answer.whole && sha256(&answer.body) == old);
    drop(reader);
    let held = |serving: &Serving| open_files(serving).iter().any(|name| name.contains(&old));
    eventually("the space of the blob", || !held(&serving));
    serving.stop();
}

#[test]
fn clients_that_vanish_leave_nothing() {
    let world = large();
    let serving = Serving::ready(world.serve());
    assert!(serving.get(INDEX).whole);
    let before = sockets(&serving);
    let clients: Vec<_> = (0..20).map(|_| begin(&serving)).collect();
    assert!(sockets(&serving) >= before + 20);
    drop(clients);
    eventually("the descriptors of the clients", || sockets(&serving) <= before);
    let answer = serving.get(URL);
    assert!(answer.whole && sha256(&answer.body) == digest(&world));
    serving.stop();
}

/// Requests of every kind in one write, on one connection; each answer whole and in order.
#[test]
fn pipelined_requests_of_every_kind() {
    let world = large();
    let serving = Serving::ready(world.serve());
    let bytes = world.stream.content(SQUASHFS).expect("content");
    let index = serving.get(INDEX).body;
    let etag = format!("If-None-Match: \"{}\"", sha256(&index));
    let requests: [(&str, &str, &[&str]); 9] = [
        ("GET", INDEX, &[]),
        ("GET", URL, &["Range: bytes=1000000-9999999"]),
        ("GET", INDEX, &[]),
        ("HEAD", URL, &[]),
        ("GET", INDEX, &[&etag]),
        ("GET", URL, &[]),
        ("GET", "/images/none", &[]),
        ("GET", URL, &["Range: bytes=-3"]),
        ("GET", INDEX, &[]),
    ];
    let all: Vec<u8> = requests.iter().flat_map(|(m, path, l)| http::head(m, path, l)).collect();
    let mut stream = http::connect(serving.address()).expect("connect");
    stream.write_all(&all).expect("send");
    let mut reader = BufReader::new(stream);
    let mut next = |method: &str| http::read_answer(&mut reader, method == "HEAD").expect("answer");
    let answers: Vec<_> = requests.iter().map(|(method, ..)| next(method)).collect();
    let statuses: Vec<_> = answers.iter().map(|answer| answer.status).collect();
    assert_eq!(statuses, [200, 206, 200, 200, 304, 200, 404, 206, 200]);
    for place in [0, 2, 8] {
        assert!(answers[place].body == index, "{place}");
    }
    assert!(answers[1].body == bytes[1_000_000..10_000_000]);
    assert!(answers[5].body == bytes);
    assert_eq!(answers[7].body, bytes[bytes.len() - 3..]);
    serving.stop();
}

/// A client that says that it sends nothing more, and reads slowly.
#[test]
fn a_large_file_for_a_client_that_closed_its_half() {
    let world = large();
    let serving = Serving::ready(world.serve());
    let (head, mut reader) = begin(&serving);
    reader.get_mut().shutdown(Shutdown::Write).expect("shutdown");
    let answer = http::read_body(head, &mut reader, false).expect("body");
    assert!(answer.whole && sha256(&answer.body) == digest(&world));
    assert_eq!(reader.read(&mut [0; 1]).expect("closed"), 0);
    serving.stop();
}

/// An item of no bytes at all is mirrored and served as any other.
#[test]
fn a_file_of_no_bytes() {
    let mut world = World::new();
    let path = "xenial/amd64/20210928/squashfs.manifest";
    let empty = sha256(b"");
    world.stream.replace_content(path, "");
    for file in world.stream.products.values_mut() {
        describe_as_empty(file, path, &empty);
    }
    world.publish();
    world.sync().run().expect(0);
    let serving = Serving::ready(world.serve());
    let url = format!("/images/{path}");
    let mut stream = http::connect(serving.address()).expect("connect");
    let lines: [&[&str]; 4] = [&[], &["Range: bytes=0-"], &["Range: bytes=-5"], &[]];
    let all: Vec<u8> = lines.iter().flat_map(|lines| http::head("GET", &url, lines)).collect();
    stream.write_all(&all).expect("send");
    let mut reader = BufReader::new(stream);
    for status in [200, 416, 416, 200] {
        let answer = http::read_answer(&mut reader, false).expect("answer");
        assert!(answer.status == status && answer.whole, "{}", answer.status);
        if status == 200 {
            assert_eq!(answer.header("content-length"), "0");
            assert_eq!(answer.header("etag"), format!("\"{empty}\""));
        }
    }
    serving.stop();
}

/// Changes every item at `path`, however deep, to one of no bytes.
fn describe_as_empty(value: &mut serde_json::Value, path: &str, sha256: &str) {
    match value {
        serde_json::Value::Object(map) if map.get("path").is_some_and(|found| found == path) => {
            map.insert("size".to_owned(), 0.into());
            map.insert("sha256".to_owned(), sha256.into());
        }
        serde_json::Value::Object(map) => {
            map.values_mut().for_each(|value| describe_as_empty(value, path, sha256));
        }
        _ => {}
    }
}
