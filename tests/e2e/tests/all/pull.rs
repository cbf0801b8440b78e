//! Pull-through: items that are listed and not held.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::PathBuf;
use std::thread::{JoinHandle, spawn};

use e2e::http::{self, Answer};
use e2e::{Held, Mirror, PATIENCE, Run, Serving, Tmpfs, World, blobs_in, eventually};
use fixtures::{Fault, Gate, StreamSpec};
use rustix::process::Signal;
use serde_json::Value;

const SQUASHFS: &str = "xenial/amd64/20210928/squashfs";
const URL: &str = "/images/xenial/amd64/20210928/squashfs";
const UNLISTED: &str = "/images/xenial/amd64/20210929/squashfs";

/// What each response keeps back, as the documents say.
const HELD_BACK: usize = 64 * 1024;

/// A world whose mirror holds the manifests alone, a store and the bytes of the squashfs.
fn world() -> (World, Vec<u8>) {
    let world = World::new();
    world.sync().args(["ftype=manifest"]).run().expect(0);
    world.server.clear_log();
    let bytes = world.stream.content(SQUASHFS).expect("content");
    assert!(bytes.len() > 2 * HELD_BACK);
    (world, bytes)
}

/// A server that pulls, and whose own sync is done and finds nothing.
fn pulling(world: &World) -> Serving {
    let serving = Serving::ready(pull(world));
    eventually("the first sync", || serving.process().stderr().contains("synced"));
    serving
}

fn pull(world: &World) -> Mirror {
    world.serve_and_sync().args(["--pull-through", "ftype=manifest"])
}

fn partial(world: &World) -> PathBuf {
    world.store().join(".maas-mirror/partial").join(digest(world))
}

fn digest(world: &World) -> String {
    world.stream.items[SQUASHFS].sha256()
}

fn requests(world: &World) -> usize {
    world.server.count(SQUASHFS)
}

/// The word for programs in an error.
#[track_caller]
fn code(answer: &Answer) -> String {
    assert_eq!(answer.header("content-type"), "application/json");
    let value: Value = serde_json::from_str(&answer.text()).expect("JSON");
    assert_eq!(value["status"], answer.status);
    assert!(value["reason"].as_str().is_some_and(|reason| !reason.is_empty()));
    value["code"].as_str().expect("code").to_owned()
}

/// A request whose answer is read piece by piece.
struct Client {
    stream: TcpStream,
    reader: BufReader<TcpStream>,
    body: Vec<u8>,
}

impl Client {
    fn ask(serving: &Serving, headers: &[&str]) -> Self {
        let mut stream = http::connect(serving.address()).expect("connect");
        stream.write_all(&http::head("GET", URL, headers)).expect("send");
        let reader = BufReader::new(stream.try_clone().expect("clone"));
        Self { stream, reader, body: Vec::new() }
    }

    fn head(&mut self) -> Answer {
        http::read_head(&mut self.reader).expect("head")
    }

    /// Reads on until `length` bytes of the body are there.
    fn read_to(&mut self, length: usize) {
        let missing = length - self.body.len();
        let mut more = vec![0; missing];
        self.reader.read_exact(&mut more).expect("more of the body");
        self.body.extend(more);
    }

    /// Whether the server has nothing more to say now: of bytes that must not come, the first
    /// would be here within this time. Never fails for being slow.
    fn is_quiet(&mut self) -> bool {
        let limit = std::time::Duration::from_millis(300);
        self.stream.set_read_timeout(Some(limit)).expect("timeout");
        let more = self.reader.fill_buf().map(<[u8]>::len);
        self.stream.set_read_timeout(Some(PATIENCE)).expect("timeout");
        more.is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock)
    }

    /// Reads to the end of `answer`, whatever that is; whether it was whole.
    fn finish(mut self, answer: Answer) -> Answer {
        let expected: usize = answer.header("content-length").parse().expect("length");
        let left = (expected - self.body.len()) as u64;
        let read = self.reader.take(left).read_to_end(&mut self.body);
        let whole = read.is_ok() && self.body.len() == expected;
        Answer { body: self.body, whole, ..answer }
    }
}

fn in_background(serving: &Serving, headers: &'static [&str]) -> JoinHandle<Answer> {
    let address = serving.address().to_owned();
    spawn(move || http::request(&address, "GET", URL, headers).expect("answer"))
}

/// Paths that `list` has.
fn listed(world: &World) -> Vec<String> {
    Held::by(world).files.into_keys().collect()
}

/// Ends the server; what it pulled has joined, is intact, and is served without an upstream.
#[track_caller]
fn stop_and_check(world: &World, serving: Serving, bytes: &[u8]) -> Run {
    let run = serving.stop();
    assert!(listed(world).contains(&SQUASHFS.to_owned()), "{}", run.stderr);
    world.verify().run().expect(0);
    let serving = Serving::ready(world.serve());
    let answer = serving.get(URL);
    assert!(answer.status == 200 && answer.body == bytes);
    assert_eq!(answer.header("etag"), format!("\"{}\"", digest(world)));
    serving.stop();
    run
}

#[test]
fn fifty_clients_and_one_request() {
    let (world, bytes) = world();
    let serving = pulling(&world);
    let gate = Gate::new();
    world.server.fault(Fault::on(SQUASHFS).hold_after(100_000, &gate));
    let clients: Vec<_> = (0..50).map(|_| in_background(&serving, &[])).collect();
    assert!(world.server.wait_for(SQUASHFS, 1, PATIENCE));
    gate.open();
    for client in clients {
        let answer = client.join().expect("client");
        assert_eq!(answer.status, 200);
        assert!(answer.whole && answer.body == bytes);
    }
    assert_eq!(requests(&world), 1);
    stop_and_check(&world, serving, &bytes);
    assert_eq!(requests(&world), 1);
}

#[test]
fn bytes_leave_as_they_arrive_and_the_last_ones_wait() {
    let (world, bytes) = world();
    let serving = pulling(&world);
    let half = Gate::new();
    world.server.fault(Fault::on(SQUASHFS).hold_after(100_000, &half));
    let mut client = Client::ask(&serving, &[]);
    let head = client.head();
    assert_eq!(head.status, 200);
    assert_eq!(head.header("content-length"), bytes.len().to_string());
    for unknown in ["etag", "repr-digest"] {
        assert_eq!(head.header(unknown), "", "{unknown}");
    }
    assert_eq!(head.header("cache-control"), "no-store");
    // Upstream is held: these bytes came before the rest was there.
    client.read_to(100_000);
    half.open();
    let answer = client.finish(head);
    assert!(answer.whole && answer.body == bytes);
    let known = serving.get(URL);
    assert_eq!(known.header("etag"), format!("\"{}\"", digest(&world)));
    assert!(known.header("cache-control").contains("immutable"));
    assert!(known.header("repr-digest").starts_with("sha-256="));
    stop_and_check(&world, serving, &bytes);
}

#[test]
fn nothing_is_complete_before_the_last_byte_is_there() {
    let (world, bytes) = world();
    let serving = pulling(&world);
    let gate = Gate::new();
    let all_but_one = bytes.len() as u64 - 1;
    world.server.fault(Fault::on(SQUASHFS).hold_after(all_but_one, &gate));
    let size = bytes.len();
    let end = format!("Range: bytes={}-", size - 100_000);
    let several = format!("Range: bytes=0-9,100-199,{}-", size - 100);
    let mut whole = Client::ask(&serving, &[]);
    let head = whole.head();
    whole.read_to(size - HELD_BACK);
    let mut tail = Client::ask(&serving, &[&end]);
    let tail_head = tail.head();
    tail.read_to(100_000 - HELD_BACK);
    let mut middle = Client::ask(&serving, &["Range: bytes=1000-1999"]);
    let middle_head = middle.head();
    let mut parts = Client::ask(&serving, &[&several]);
    let parts_head = parts.head();
    eventually("all but the last byte", || {
        std::fs::metadata(partial(&world)).is_ok_and(|meta| meta.len() == all_but_one)
    });
    for client in [&mut whole, &mut tail, &mut middle] {
        assert!(client.is_quiet());
    }
    for head in [&tail_head, &middle_head, &parts_head] {
        assert_eq!((head.status, head.header("etag")), (206, ""));
    }
    gate.open();
    assert!(whole.finish(head).body == bytes);
    let tail = tail.finish(tail_head);
    assert!(tail.whole && tail.body == bytes[size - 100_000..]);
    let middle = middle.finish(middle_head);
    assert!(middle.whole && middle.body == bytes[1000..2000]);
    let parts = parts.finish(parts_head);
    assert!(parts.whole);
    // Byte for byte what is sent of the item once it is held.
    let held = serving.request("GET", URL, &[&several]);
    assert!(held.status == 206 && held.body == parts.body);
    assert_eq!(requests(&world), 1);
    stop_and_check(&world, serving, &bytes);
}

#[test]
fn a_range_waits_for_its_bytes() {
    let (world, bytes) = world();
    let serving = pulling(&world);
    let gate = Gate::new();
    world.server.fault(Fault::on(SQUASHFS).hold_after(10_000, &gate));
    let mut client = Client::ask(&serving, &["Range: bytes=20000-149999"]);
    let head = client.head();
    assert_eq!(head.status, 206);
    assert_eq!(head.header("content-range"), format!("bytes 20000-149999/{}", bytes.len()));
    assert!(client.is_quiet());
    gate.open();
    let answer = client.finish(head);
    assert!(answer.whole && answer.body == bytes[20_000..150_000]);
    stop_and_check(&world, serving, &bytes);
}

#[test]
fn what_needs_no_bytes_asks_upstream_nothing() {
    let (world, bytes) = world();
    let serving = pulling(&world);
    let head = serving.request("HEAD", URL, &[]);
    assert_eq!((head.status, head.header("etag")), (200, ""));
    assert_eq!(head.header("content-length"), bytes.len().to_string());
    let beyond = serving.request("GET", URL, &["Range: bytes=99999999-"]);
    assert_eq!(beyond.status, 416);
    assert_eq!(beyond.header("content-range"), format!("bytes */{}", bytes.len()));
    assert_eq!(serving.request("GET", URL, &["If-Match: \"x\""]).status, 412);
    let since = format!("If-Modified-Since: {}", head.header("last-modified"));
    assert_eq!(serving.request("GET", URL, &[&since]).status, 304);
    assert_eq!(serving.request("POST", URL, &["Content-Length: 0"]).status, 405);
    for method in ["GET", "HEAD"] {
        assert_eq!(serving.request(method, UNLISTED, &[]).status, 404);
    }
    assert_eq!(code(&serving.get(UNLISTED)), "not-listed");
    assert_eq!(requests(&world), 0);
    assert!(world.items_requested().is_empty());
    // A tag that is not known yet matches nothing: the whole file.
    let etag = digest(&world);
    let known = format!("If-None-Match: \"{etag}\"");
    assert!(serving.request("GET", URL, &[&known]).body == bytes);
    assert_eq!(serving.request("GET", URL, &[&known]).status, 304);
    serving.stop();
}

#[test]
fn without_it_a_listed_path_says_so() {
    let (world, _) = world();
    let serving = Serving::ready(world.serve());
    let answer = serving.get(URL);
    assert_eq!((answer.status, code(&answer)), (404, "not-mirrored".to_owned()));
    let answer = serving.get(UNLISTED);
    assert_eq!((answer.status, code(&answer)), (404, "not-listed".to_owned()));
    let head = serving.request("HEAD", URL, &[]);
    assert_eq!((head.status, head.body.len()), (404, 0));
    serving.stop();
    assert!(world.server.requests().is_empty());
    let run = world.serve().args(["--pull-through"]).run().expect(64);
    assert!(run.stderr.contains("--upstream"), "{}", run.stderr);
}

#[test]
fn the_upstream_may_be_in_the_file() {
    let (world, bytes) = world();
    let config = world.dir().join("config.toml");
    let text = format!("[serve]\nupstream = \"{}\"\n", world.server.url());
    std::fs::write(&config, text).expect("write");
    let serve = world.serve().args([std::path::Path::new("--config"), &config]);
    let serve = serve.args(world.keyring_args());
    let serving = Serving::ready(serve.args(["--pull-through", "--every", "1h", "ftype=manifest"]));
    assert!(serving.get(URL).body == bytes);
    serving.stop();
}

/// Nothing is kept, nobody gets a complete response, and the next request tries again.
#[track_caller]
fn is_cut(fault: Fault, status: u16) {
    let (world, bytes) = world();
    let serving = pulling(&world);
    world.server.fault(fault);
    let clients: Vec<_> = [&[][..], &["Range: bytes=0-149999"], &["Range: bytes=0-9,20-29"]]
        .into_iter()
        .map(|headers| in_background(&serving, headers))
        .collect();
    for client in clients {
        let answer = client.join().expect("client");
        if answer.status == status {
            assert_eq!(code(&answer), "upstream-mismatch");
        } else {
            assert!(matches!(answer.status, 200 | 206), "{}", answer.status);
            assert!(!answer.whole, "a complete response of wrong bytes");
        }
    }
    assert!(!blobs_in(&world.store()).contains(&digest(&world)));
    assert!(!partial(&world).exists());
    let soon = serving.get(URL);
    assert_eq!((soon.status, code(&soon).as_str()), (502, "upstream-mismatch"));
    assert!(soon.header("retry-after").parse::<u32>().is_ok_and(|seconds| seconds > 0));
    let asked = requests(&world);
    assert_eq!(serving.get(URL).status, 502);
    assert_eq!(requests(&world), asked, "a broken upstream is not asked at once again");
    let stderr = serving.process().stderr();
    assert!(stderr.contains("an item could not be pulled"), "{stderr}");
    world.server.clear_faults();
    eventually("the next try", || {
        let answer = serving.get(URL);
        answer.status == 200 && answer.whole && answer.body == bytes
    });
    stop_and_check(&world, serving, &bytes);
}

#[test]
fn a_wrong_byte() {
    is_cut(Fault::on(SQUASHFS).flip_byte(50_000), 502);
}

#[test]
fn a_wrong_last_byte() {
    is_cut(Fault::on(SQUASHFS).flip_byte(180_000), 502);
}

#[test]
fn too_long() {
    is_cut(Fault::on(SQUASHFS).longer(10).chunked(), 502);
    is_cut(Fault::on(SQUASHFS).longer(10), 502);
}

#[test]
fn too_short() {
    is_cut(Fault::on(SQUASHFS).shorter(10).chunked(), 502);
    is_cut(Fault::on(SQUASHFS).shorter(10), 502);
}

#[test]
fn upstream_dies_and_comes_back() {
    let (world, bytes) = world();
    let gate = Gate::new();
    world.server.fault(Fault::on(SQUASHFS).drop_after(120_000).times(1));
    world.server.fault(Fault::on(SQUASHFS).hold_after(10_000, &gate).skip(1).times(1));
    let serving = Serving::ready(pull(&world).env("MAAS_MIRROR_RETRIES", "3"));
    let mut client = Client::ask(&serving, &[]);
    let head = client.head();
    client.read_to(100_000);
    assert!(world.server.wait_for(SQUASHFS, 2, PATIENCE));
    gate.open();
    let answer = client.finish(head);
    assert!(answer.whole && answer.body == bytes);
    let second = world.server.requests().into_iter().filter(|r| r.path == SQUASHFS).nth(1);
    assert_eq!(second.expect("request").range.as_deref(), Some("bytes=120000-"));
    stop_and_check(&world, serving, &bytes);
}

/// An upstream that knows no ranges starts at the first byte: a client that has some is cut,
/// because nobody checks that they are the same, and the item is kept.
#[test]
fn upstream_dies_and_starts_anew() {
    let (world, bytes) = world();
    world.server.fault(Fault::on(SQUASHFS).drop_after(120_000).times(1));
    world.server.fault(Fault::on(SQUASHFS).no_ranges());
    let serving = Serving::ready(pull(&world).env("MAAS_MIRROR_RETRIES", "3"));
    let mut client = Client::ask(&serving, &[]);
    let head = client.head();
    client.read_to(50_000);
    let answer = client.finish(head);
    assert!(!answer.whole && bytes.starts_with(&answer.body));
    eventually("the item", || {
        let answer = serving.get(URL);
        answer.whole && answer.body == bytes
    });
    assert_eq!(requests(&world), 2);
    stop_and_check(&world, serving, &bytes);
}

#[test]
fn upstream_fails_before_the_first_byte() {
    let (world, bytes) = world();
    let serving = pulling(&world);
    for status in [404, 500] {
        world.server.clear_faults();
        world.server.fault(Fault::on(SQUASHFS).status(status));
        eventually("the failure", || {
            let answer = serving.get(URL);
            assert_eq!((answer.status, code(&answer)), (502, "upstream-failed".to_owned()));
            world.server.requests().iter().any(|r| r.path == SQUASHFS && r.status == status)
        });
    }
    world.server.clear_faults();
    eventually("the next try", || serving.get(URL).body == bytes);
    stop_and_check(&world, serving, &bytes);
}

#[test]
fn upstream_is_gone() {
    let (mut world, _) = world();
    let serving = pulling(&world);
    let other = fixtures::Server::start(world.upstream()).expect("server");
    drop(std::mem::replace(&mut world.server, other));
    let answer = serving.get(URL);
    assert_eq!((answer.status, code(&answer)), (502, "upstream-failed".to_owned()));
    serving.stop();
}

#[test]
fn upstream_is_silent() {
    let (world, _) = world();
    let serving = Serving::ready(pull(&world).args(["--stall-timeout", "1s"]));
    world.server.fault(Fault::on(SQUASHFS).stall_after(0));
    let answer = serving.get(URL);
    assert_eq!((answer.status, code(&answer)), (504, "upstream-timeout".to_owned()));
    serving.stop();
}

/// 256 items are under way or wait; who asks for more is told to come again.
#[test]
fn more_items_than_are_fetched_at_once() {
    let world = World::of(&StreamSpec::items(600));
    world.sync().args(["ftype=manifest"]).run().expect(0);
    let serving = pulling(&world);
    let gate = Gate::new();
    world.server.fault(Fault::on("*").hold_after(0, &gate));
    let items = world.stream.item_paths().into_iter().filter(|path| !path.contains("manifest"));
    // Each content once.
    let items: std::collections::BTreeMap<_, _> =
        items.map(|path| (world.stream.items[&path].sha256(), path)).collect();
    world.server.clear_log();
    let clients: Vec<_> = items
        .into_values()
        .take(300)
        .map(|path| {
            let address = serving.address().to_owned();
            spawn(move || http::request(&address, "GET", &format!("/images/{path}"), &[]))
        })
        .collect();
    assert_eq!(clients.len(), 300);
    eventually("the answers to those over the limit", || {
        clients.iter().filter(|client| client.is_finished()).count() == 300 - 256
    });
    gate.open();
    let answers: Vec<_> =
        clients.into_iter().map(|client| client.join().expect("client").expect("answer")).collect();
    let (given, refused): (Vec<_>, Vec<_>) =
        answers.into_iter().partition(|answer| answer.status == 200);
    assert_eq!((given.len(), refused.len()), (256, 44));
    assert!(given.iter().all(|answer| answer.whole));
    assert!(refused.iter().all(|answer| answer.status == 503 && code(answer) == "busy"));
    assert!(world.server.peak_in_flight() <= 4, "downloads at a time");
    serving.stop();
    world.verify().run().expect(0);
}

/// A blob that a snapshot names and that is gone, or damaged, is fetched again.
#[test]
fn a_blob_that_is_gone_is_pulled() {
    let world = World::synced();
    let bytes = world.stream.content(SQUASHFS).expect("content");
    let blob = world.store().join("blobs/sha256").join(digest(&world));
    let serving = Serving::ready(world.serve_and_sync().args(["--pull-through", "--every", "1h"]));
    eventually("the first sync", || serving.process().stderr().contains("synced"));
    world.server.clear_log();
    std::fs::write(&blob, &bytes[..1000]).expect("write");
    assert!(serving.get(URL).body == bytes);
    // It is put in its place after the last byte has left.
    eventually("the blob", || {
        std::fs::metadata(&blob).is_ok_and(|meta| meta.len() == bytes.len() as u64)
    });
    std::fs::remove_file(&blob).expect("remove");
    eventually("the look at the blob", || {
        assert!(serving.get(URL).body == bytes, "{}", serving.process().stderr());
        requests(&world) == 2
    });
    assert!(serving.get(URL).body == bytes);
    stop_and_check(&world, serving, &bytes);
}

#[test]
fn clients_that_vanish_leave_the_item() {
    let (world, bytes) = world();
    let serving = pulling(&world);
    let gate = Gate::new();
    world.server.fault(Fault::on(SQUASHFS).hold_after(100_000, &gate));
    let mut client = Client::ask(&serving, &[]);
    client.head();
    drop(client);
    gate.open();
    eventually("the blob", || blobs_in(&world.store()).contains(&digest(&world)));
    assert!(serving.get(URL).body == bytes);
    assert_eq!(requests(&world), 1);
    stop_and_check(&world, serving, &bytes);
}

#[test]
fn a_killed_pull_goes_on() {
    let (world, bytes) = world();
    let serving = pulling(&world);
    let gate = Gate::new();
    world.server.fault(Fault::on(SQUASHFS).hold_after(100_000, &gate).times(1));
    let mut client = Client::ask(&serving, &[]);
    let head = client.head();
    client.read_to(100_000);
    serving.process().signal(Signal::KILL);
    assert!(!client.finish(head).whole);
    drop(serving);
    let serving = pulling(&world);
    assert!(serving.get(URL).body == bytes);
    let asked: Vec<_> =
        world.server.requests().into_iter().filter(|r| r.path == SQUASHFS).collect();
    assert_eq!(asked.len(), 2);
    assert_eq!(asked[1].range.as_deref(), Some("bytes=100000-"));
    stop_and_check(&world, serving, &bytes);
}

/// What an earlier run left is not believed: a client that was sent some of it is cut.
#[test]
fn a_partial_that_is_wrong() {
    let (world, bytes) = world();
    std::fs::write(partial(&world), vec![7; 100_000]).expect("write");
    let serving = pulling(&world);
    let answer = serving.get(URL);
    assert!(!answer.whole || answer.body == bytes);
    eventually("the item", || serving.get(URL).body == bytes);
    assert_eq!(requests(&world), 2);
    stop_and_check(&world, serving, &bytes);
}

#[test]
fn a_full_disk() {
    let Some(disk) = Tmpfs::mount("8m") else {
        return;
    };
    let world = World::new();
    let bytes = world.stream.content(SQUASHFS).expect("content");
    let store = disk.path().join("store");
    world.sync_to(&store, &world.server.url()).args(["ftype=manifest"]).run().expect(0);
    let old = Held::at(&world, &store);
    let serve = world.at("serve", &store).args(["--listen", "127.0.0.1:0", "--pull-through"]);
    let serve = serve.args(["--upstream", &world.server.url()]).args(world.keyring_args());
    let serving = Serving::ready(serve.args(["--once", "ftype=manifest"]));
    eventually("the first sync", || serving.process().stderr().contains("synced"));
    world.server.clear_log();
    // Full before: refused before upstream is asked.
    let filler = disk.fill();
    let answer = serving.get(URL);
    assert_eq!((answer.status, code(&answer)), (507, "no-space".to_owned()));
    assert_eq!(requests(&world), 0);
    std::fs::remove_file(&filler).expect("remove");
    // Full on the way: cut.
    let gate = Gate::new();
    world.server.fault(Fault::on(SQUASHFS).hold_after(100_000, &gate));
    eventually("the pull", || {
        if requests(&world) == 0 {
            let _vanishes = Client::ask(&serving, &[]);
        }
        requests(&world) == 1
    });
    let mut client = Client::ask(&serving, &[]);
    let head = client.head();
    assert_eq!(head.status, 200);
    client.read_to(100_000);
    let filler = disk.fill();
    gate.open();
    assert!(!client.finish(head).whole);
    old.assert_served_by(&serving);
    std::fs::remove_file(&filler).expect("remove");
    eventually("the item", || serving.get(URL).body == bytes);
    serving.stop();
    world.at("verify", &store).args(world.keyring_args()).run().expect(0);
}

#[test]
fn what_joined_stays_while_it_is_listed() {
    let (mut world, bytes) = world();
    let before = Held::by(&world);
    let serving = pulling(&world);
    assert!(serving.get(URL).body == bytes);
    // By itself, while the server runs; the snapshot that it replaced is not kept.
    eventually("the join", || listed(&world).contains(&SQUASHFS.to_owned()));
    let index = std::fs::read_to_string(world.store().join("index.json")).expect("index");
    assert!(!index.contains(&before.snapshot));
    assert!(!blobs_in(&world.store()).contains(&before.snapshot));
    stop_and_check(&world, serving, &bytes);
    let joined = Held::by(&world);
    // A sync that selects none of it keeps it, and finds nothing new.
    let run = world.sync().args(["ftype=manifest"]).run().expect(0);
    assert!(run.stdout.starts_with("nothing new"), "{}", run.stdout);
    world.stream.add_version("20211015").expect("version");
    world.publish();
    world.sync().args(["ftype=manifest"]).run().expect(0);
    assert!(listed(&world).contains(&SQUASHFS.to_owned()));
    world.verify().run().expect(0);
    joined.assert_stands_but_newer(&world);
    // And drops it once upstream lists it no more.
    world.stream.add_version("20211016").expect("version");
    world.stream.remove_version("20210928");
    world.publish();
    world.sync().args(["ftype=manifest"]).run().expect(0);
    assert!(!listed(&world).contains(&SQUASHFS.to_owned()));
    world.sync().args(["ftype=manifest"]).run().expect(0);
    world.verify().run().expect(0);
    world.mirror("prune").args(["--grace", "0s"]).run().expect(0);
    assert!(!blobs_in(&world.store()).contains(&joined_digest(&joined)));
}

fn joined_digest(held: &Held) -> String {
    e2e::sha256(&held.files[SQUASHFS])
}

trait AllServed {
    fn assert_stands_but_newer(&self, world: &World);
}

impl AllServed for Held {
    /// A client that still has the earlier index finishes.
    fn assert_stands_but_newer(&self, world: &World) {
        let serving = Serving::ready(world.serve());
        for (path, bytes) in self.files.iter().filter(|(path, _)| !path.starts_with("streams/")) {
            assert!(serving.get(&format!("/images/{path}")).body == *bytes, "{path}");
        }
        serving.stop();
    }
}

#[test]
fn a_crash_before_the_join_loses_nothing() {
    let (world, bytes) = world();
    let serving = pulling(&world);
    assert!(serving.get(URL).body == bytes);
    serving.process().signal(Signal::KILL);
    drop(serving);
    let serving = pulling(&world);
    let answer = serving.get(URL);
    assert!(answer.body == bytes);
    assert_eq!(answer.header("etag"), format!("\"{}\"", digest(&world)));
    assert_eq!(requests(&world), 1);
    stop_and_check(&world, serving, &bytes);
}

#[test]
fn a_sync_under_way_stops_no_pull() {
    let (mut world, bytes) = world();
    let serving = Serving::ready(pull(&world).args(["--every", "10m"]));
    eventually("the first sync", || serving.process().stderr().contains("synced"));
    world.stream.add_version("20211015").expect("version");
    world.publish();
    let gate = Gate::new();
    world.server.fault(Fault::on("20211015/squashfs").hold_after(1000, &gate));
    let sync = world.sync().args(["--release", "xenial"]).spawn();
    assert!(world.server.wait_for("xenial/amd64/20211015/squashfs", 1, PATIENCE));
    assert!(serving.get(URL).body == bytes);
    eventually("the blob", || blobs_in(&world.store()).contains(&digest(&world)));
    // What both want is fetched by one of them: the sync has it, the pull waits.
    let address = serving.address().to_owned();
    gate.open();
    sync.wait().expect(0);
    eventually("the new version", || {
        let answer = http::request(&address, "GET", "/images/xenial/amd64/20211015/squashfs", &[]);
        answer.expect("answer").status == 200
    });
    assert_eq!(world.server.count("xenial/amd64/20211015/squashfs"), 1);
    eventually("the join", || listed(&world).contains(&SQUASHFS.to_owned()));
    stop_and_check(&world, serving, &bytes);
}

/// The sync finds the item on its way by a pull, waits, and fetches it no second time.
#[test]
fn a_sync_waits_for_a_pull() {
    let (world, bytes) = world();
    let serving = pulling(&world);
    let gate = Gate::new();
    world.server.fault(Fault::on(SQUASHFS).hold_after(100_000, &gate));
    let client = in_background(&serving, &[]);
    assert!(world.server.wait_for(SQUASHFS, 1, PATIENCE));
    eventually("the partial", || partial(&world).exists());
    let sync = world.sync().spawn();
    let kernel = "xenial/amd64/20210928/ga-16.04/generic/boot-kernel";
    assert!(world.server.wait_for(kernel, 1, PATIENCE));
    gate.open();
    sync.wait().expect(0);
    assert!(client.join().expect("client").body == bytes);
    assert_eq!(requests(&world), 1);
    stop_and_check(&world, serving, &bytes);
}

/// `prune` takes away neither what a pull is writing nor what it has written.
#[test]
fn prune_beside_a_pull() {
    let (world, bytes) = world();
    let serving = pulling(&world);
    let gate = Gate::new();
    world.server.fault(Fault::on(SQUASHFS).hold_after(100_000, &gate));
    let mut client = Client::ask(&serving, &[]);
    let head = client.head();
    client.read_to(100_000);
    world.mirror("prune").args(["--grace", "0s"]).run().expect(0);
    assert!(partial(&world).exists());
    gate.open();
    let answer = client.finish(head);
    assert!(answer.whole && answer.body == bytes);
    stop_and_check(&world, serving, &bytes);
}

#[test]
fn one_content_under_two_paths_is_pulled_once() {
    // The files of hwe-edge are those of hwe under paths of their own.
    let kernels = [fixtures::Kernel::Ga, fixtures::Kernel::Hwe, fixtures::Kernel::HweEdge];
    let world = World::of(&StreamSpec::new().kernels(&kernels));
    world.sync().args(["ftype=manifest"]).run().expect(0);
    let paths = world.stream.item_paths();
    let twins: Vec<_> = paths.iter().filter(|path| path.ends_with("boot-kernel")).collect();
    let content = |path: &str| world.stream.content(path).expect("content");
    let (one, other) = twins
        .iter()
        .flat_map(|one| twins.iter().map(move |other| (*one, *other)))
        .find(|(one, other)| one < other && content(one) == content(other))
        .expect("twins");
    world.server.clear_log();
    let serving = pulling(&world);
    let gate = Gate::new();
    world.server.fault(Fault::on("boot-kernel").hold_after(1000, &gate));
    let ask = |path: &str| {
        let (address, url) = (serving.address().to_owned(), format!("/images/{path}"));
        spawn(move || http::request(&address, "GET", &url, &[]).expect("answer"))
    };
    let (first, second) = (ask(one), ask(other));
    eventually("the request", || world.server.count(one) + world.server.count(other) == 1);
    gate.open();
    for answer in [first, second] {
        assert!(answer.join().expect("client").body == content(one));
    }
    assert!(serving.get(&format!("/images/{other}")).body == content(one));
    assert_eq!(world.server.count(one) + world.server.count(other), 1);
    serving.stop();
    assert!(listed(&world).contains(one));
    world.verify().run().expect(0);
}

#[test]
fn a_pull_that_ends_within_the_drain() {
    let (world, bytes) = world();
    let serving = pulling(&world);
    let gate = Gate::new();
    world.server.fault(Fault::on(SQUASHFS).hold_after(100_000, &gate));
    let mut client = Client::ask(&serving, &[]);
    let head = client.head();
    client.read_to(100_000);
    serving.process().signal(Signal::TERM);
    eventually("the drain", || serving.process().stderr().contains("no more connections"));
    gate.open();
    let answer = client.finish(head);
    assert!(answer.whole && answer.body == bytes);
    // It has joined too, before the end.
    stop_and_check(&world, serving, &bytes);
}

#[test]
fn a_pull_that_outlasts_the_drain() {
    let (world, bytes) = world();
    let serving = Serving::ready(pull(&world).args(["--drain", "0s"]));
    eventually("the first sync", || serving.process().stderr().contains("synced"));
    let gate = Gate::new();
    world.server.fault(Fault::on(SQUASHFS).hold_after(100_000, &gate).times(1));
    let mut client = Client::ask(&serving, &[]);
    let head = client.head();
    client.read_to(100_000);
    serving.stop();
    assert!(!client.finish(head).whole);
    let serving = pulling(&world);
    assert!(serving.get(URL).body == bytes);
    let last = world.server.requests().into_iter().rfind(|request| request.path == SQUASHFS);
    assert_eq!(last.expect("request").range.as_deref(), Some("bytes=100000-"));
    stop_and_check(&world, serving, &bytes);
}

/// A list that the operator's keyring does not vouch for is not followed.
#[test]
fn metadata_under_another_key_pulls_nothing() {
    let (world, _) = world();
    let stranger = World::new();
    let serve = world.serve().args(["--upstream", &world.server.url(), "--pull-through"]);
    let serving = Serving::ready(serve.args(stranger.keyring_args()));
    eventually("the refusal", || serving.process().stderr().contains("is not relied on"));
    let answer = serving.get(URL);
    assert_eq!((answer.status, code(&answer)), (404, "not-listed".to_owned()));
    assert_eq!(requests(&world), 0);
    serving.stop();
}
