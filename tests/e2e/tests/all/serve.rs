//! The server over real sockets.

use std::io::{BufReader, Read as _, Write as _};
use std::net::{Shutdown, TcpStream};

use e2e::http::{self, Answer};
use e2e::{Held, Mirror, Serving, World, eventually, sha256};
use fixtures::StreamSpec;

const SQUASHFS: &str = "xenial/amd64/20210928/squashfs";

fn serving() -> (World, Held, Serving) {
    let (world, held) = World::held();
    let serving = Serving::ready(world.serve());
    (world, held, serving)
}

/// A stream with a squashfs that fills every buffer between a server and a client.
fn large() -> World {
    let world = World::of(&StreamSpec::new().scale(0.1));
    world.sync().run().expect(0);
    world
}

#[test]
fn every_file_under_every_prefix() {
    let (_world, held, serving) = serving();
    held.assert_served_by(&serving);
    for prefix in ["/images", "/maas/images/ephemeral-v3/daily", "/maas/images/ephemeral-v3/stable"]
    {
        let url = format!("{prefix}/{SQUASHFS}");
        let bytes = &held.files[SQUASHFS];
        let answer = serving.get(&url);
        assert_eq!((answer.status, &answer.body), (200, bytes));
        assert_eq!(answer.header("etag"), format!("\"{}\"", sha256(bytes)));
        assert_eq!(answer.header("accept-ranges"), "bytes");
        assert!(answer.header("cache-control").contains("immutable"));
        let head = serving.request("HEAD", &url, &[]);
        assert_eq!((head.status, head.body.len()), (200, 0));
        assert_eq!(head.header("content-length"), bytes.len().to_string());
    }
    let index = serving.get("/images/streams/v1/index.sjson");
    assert_eq!(index.header("cache-control"), "no-cache");
    serving.stop();
}

#[test]
fn ranges_and_conditions() {
    let (_world, held, serving) = serving();
    let (url, bytes) = (format!("/images/{SQUASHFS}"), &held.files[SQUASHFS]);
    let get = |lines: &[&str]| serving.request("GET", &url, lines);
    let part = get(&["Range: bytes=100-199"]);
    assert_eq!((part.status, &part.body[..]), (206, &bytes[100..200]));
    assert_eq!(part.header("content-range"), format!("bytes 100-199/{}", bytes.len()));
    let tail = get(&["Range: bytes=-10"]);
    assert_eq!((tail.status, &tail.body[..]), (206, &bytes[bytes.len() - 10..]));
    let rest = get(&["Range: bytes=190000-"]);
    assert_eq!((rest.status, &rest.body[..]), (206, &bytes[190_000..]));
    let beyond = get(&["Range: bytes=99999999-"]);
    assert_eq!(beyond.status, 416);
    assert_eq!(beyond.header("content-range"), format!("bytes */{}", bytes.len()));
    let etag = format!("\"{}\"", sha256(bytes));
    let known = get(&[&format!("If-None-Match: {etag}")]);
    assert_eq!((known.status, known.body.len()), (304, 0));
    assert_eq!(known.header("etag"), etag);
    assert_eq!(get(&["If-None-Match: \"other\""]).status, 200);
    let modified = get(&[]).header("last-modified").to_owned();
    assert_eq!(get(&[&format!("If-Modified-Since: {modified}")]).status, 304);
    assert_eq!(get(&["If-Match: \"other\""]).status, 412);
    assert_eq!(get(&["Range: bytes=0-1", &format!("If-Range: {etag}")]).status, 206);
    assert_eq!(get(&["Range: bytes=0-1", "If-Range: \"other\""]).status, 200);
    serving.stop();
}

#[test]
fn what_is_not_served() {
    let (_world, _, serving) = serving();
    for path in [
        "/",
        "/images/",
        "/images/nothing",
        "/images/../etc/passwd",
        "/images/%2e%2e/x",
        "/images/%00",
        "/images//x",
    ] {
        let answer = serving.get(path);
        assert_eq!(answer.status, 404, "{path}");
        assert_eq!(answer.header("content-type"), "application/json", "{path}");
        let value: serde_json::Value = serde_json::from_str(&answer.text()).expect("JSON");
        assert_eq!(value["status"], 404);
    }
    for method in ["POST", "PUT", "DELETE", "PATCH"] {
        for path in [format!("/images/{SQUASHFS}"), "/healthz".to_owned()] {
            let answer = serving.request(method, &path, &["Content-Length: 0"]);
            assert_eq!(answer.status, 405, "{method} {path}");
            assert!(answer.header("allow").contains("GET"), "{method} {path}");
        }
    }
    assert_eq!(serving.get("/healthz").text(), "ok\n");
    serving.stop();
}

#[test]
fn one_connection_for_many_requests() {
    let (_world, held, serving) = serving();
    let mut stream = http::connect(serving.address()).expect("connect");
    let mut reader = BufReader::new(stream.try_clone().expect("clone"));
    let paths: Vec<_> = held.files.keys().collect();
    for path in &paths {
        stream.write_all(&http::head("GET", &format!("/images/{path}"), &[])).expect("send");
        let answer = http::read_answer(&mut reader, false).expect("answer");
        assert!(answer.body == held.files[*path], "{path}");
    }
    // All at once; they come back in order.
    let all: Vec<u8> =
        paths.iter().flat_map(|path| http::head("GET", &format!("/images/{path}"), &[])).collect();
    stream.write_all(&all).expect("send");
    for path in &paths {
        let answer = http::read_answer(&mut reader, false).expect("answer");
        assert!(answer.body == held.files[*path], "{path}");
    }
    drop((stream, reader));
    serving.stop();
}

#[test]
fn a_client_that_closed_its_half() {
    let (_world, held, serving) = serving();
    let mut stream = http::connect(serving.address()).expect("connect");
    stream.write_all(&http::head("GET", &format!("/images/{SQUASHFS}"), &[])).expect("send");
    stream.shutdown(Shutdown::Write).expect("shutdown");
    let answer = http::read_answer(&mut BufReader::new(stream), false).expect("answer");
    assert!(answer.whole && answer.body == held.files[SQUASHFS]);
    serving.stop();
}

/// Asks for the large squashfs and reads the head alone.
fn begin(serving: &Serving) -> (Answer, BufReader<TcpStream>) {
    let mut stream = http::connect(serving.address()).expect("connect");
    stream.write_all(&http::head("GET", &format!("/images/{SQUASHFS}"), &[])).expect("send");
    let mut reader = BufReader::new(stream);
    let head = http::read_head(&mut reader).expect("head");
    (head, reader)
}

#[test]
fn a_body_under_way_ends_before_the_server() {
    let world = large();
    let serving = Serving::ready(world.serve());
    let address = serving.address().to_owned();
    let (head, mut reader) = begin(&serving);
    let mut idle = BufReader::new(http::connect(&address).expect("connect"));
    idle.get_mut().write_all(&http::head("GET", "/healthz", &[])).expect("send");
    http::read_answer(&mut idle, false).expect("answer");
    serving.process().signal(rustix::process::Signal::TERM);
    eventually("a refused connection", || TcpStream::connect(&address).is_err());
    // A connection without another request is closed, not waited for.
    assert_eq!(idle.read(&mut [0; 10]).expect("closed"), 0);
    let answer = http::read_body(head, &mut reader, false).expect("body");
    assert!(answer.whole);
    assert_eq!(sha256(&answer.body), world.stream.items[SQUASHFS].sha256());
    serving.stop();
}

#[test]
fn a_body_that_takes_too_long_is_cut() {
    let world = large();
    let serving = Serving::ready(world.serve().args(["--drain", "200ms"]));
    let (head, mut reader) = begin(&serving);
    let run = serving.stop();
    assert!(run.stderr.contains("some responses did not end in time"), "{}", run.stderr);
    let answer = http::read_body(head, &mut reader, false).expect("body");
    assert!(!answer.whole);
}

#[test]
fn an_address_that_is_taken() {
    let (world, _, serving) = serving();
    let run = world.mirror("serve").args(["--listen", serving.address()]).run();
    run.failed(1, "address-taken");
    serving.stop();
}

#[test]
fn the_line_for_programs() {
    let (world, _) = World::held();
    let running = world.serve().args(["--log-format", "json"]).spawn();
    eventually("the line", || running.stdout().ends_with('\n'));
    let line: serde_json::Value = serde_json::from_str(&running.stdout()).expect("JSON");
    assert_eq!(line["event"], "listening");
    let address = line["url"].as_str().expect("url").replace("http://", "");
    assert_eq!(http::request(&address, "GET", "/readyz", &[]).expect("answer").status, 200);
    running.signal(rustix::process::Signal::INT);
    let run = running.wait().expect(0);
    for line in run.stderr.lines() {
        let _: serde_json::Value = serde_json::from_str(line).expect(line);
    }
}

#[test]
fn a_server_without_a_store() {
    let world = World::new();
    let store = world.dir().join("new");
    let serving =
        Serving::start(Mirror::new(["serve", "--listen", "127.0.0.1:0", "--store"]).args([&store]));
    let readyz = serving.get("/readyz");
    assert_eq!(readyz.status, 503);
    assert!(readyz.text().contains("there is no snapshot yet"), "{}", readyz.text());
    assert_eq!(serving.get("/healthz").status, 200);
    serving.stop();
}
