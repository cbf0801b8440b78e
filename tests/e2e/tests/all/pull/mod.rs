//! Pull-through: items that are listed and not held.

mod arriving;
mod faults;
mod kept;

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::PathBuf;
use std::thread::{JoinHandle, spawn};

use e2e::http::{self, Answer};
use e2e::{Held, Mirror, PATIENCE, Run, Serving, World, eventually};
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
