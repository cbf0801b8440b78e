//! What clients get while an item arrives.

use e2e::{PATIENCE, Serving, eventually};
use fixtures::{Fault, Gate};

use super::{
    Client, HELD_BACK, SQUASHFS, UNLISTED, URL, code, digest, in_background, partial, pulling,
    requests, stop_and_check, world,
};

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
    let whole = serving.request("GET", URL, &[&known]);
    assert_eq!((whole.status, whole.body.len()), (200, bytes.len()), "{}", whole.text());
    assert!(whole.body == bytes);
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
