//! What keeps slow and many clients from others.

use std::io::{BufReader, ErrorKind, Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use e2e::{Serving, World, eventually, http, sha256};
use fixtures::StreamSpec;

const INDEX: &str = "/images/streams/v1/index.sjson";
const SQUASHFS: &str = "/images/xenial/amd64/20210928/squashfs";

#[test]
fn a_client_that_sends_no_request() {
    let (world, _) = World::held();
    let serving = Serving::ready(world.serve().args(["--header-timeout", "200ms"]));
    let mut stream = http::connect(serving.address()).expect("connect");
    stream.write_all(b"GET /images/").expect("send");
    // Closed, with or without a 408.
    let mut rest = Vec::new();
    let _ = stream.read_to_end(&mut rest);
    assert!(!String::from_utf8_lossy(&rest).contains(" 200 "));
    serving.stop();
}

/// A client that says a little now and then has no longer than one that says nothing.
#[test]
fn a_client_that_drips_its_request() {
    let (world, _) = World::held();
    let serving = Serving::ready(world.serve().args(["--header-timeout", "300ms"]));
    let mut stream = http::connect(serving.address()).expect("connect");
    stream.set_read_timeout(Some(Duration::from_millis(20))).expect("timeout");
    stream.write_all(b"GET /images/").expect("send");
    eventually("the server to close", || {
        let _ = stream.write_all(b"x");
        match stream.read(&mut [0; 512]) {
            Ok(read) => read == 0,
            Err(error) => error.kind() != ErrorKind::WouldBlock,
        }
    });
    assert_eq!(serving.get(INDEX).status, 200);
    serving.stop();
}

#[test]
fn a_client_that_takes_nothing() {
    // More than the buffers of two sockets hold.
    let world = World::of(&StreamSpec::new().scale(0.1));
    world.sync().run().expect(0);
    let serving = Serving::ready(world.serve().args(["--body-timeout", "300ms", "-vv"]));
    let mut stream = http::connect(serving.address()).expect("connect");
    stream.write_all(&http::head("GET", SQUASHFS, &[])).expect("send");
    let mut reader = BufReader::new(stream);
    let head = http::read_head(&mut reader).expect("head");
    eventually("the end of it", || serving.process().stderr().contains("a connection broke"));
    let answer = http::read_body(head, &mut reader, false).expect("body");
    assert!(!answer.whole);
    // Who takes what is sent is served.
    let whole = serving.get(SQUASHFS);
    assert_eq!(sha256(&whole.body), world.stream.items["xenial/amd64/20210928/squashfs"].sha256());
    serving.stop();
}

#[test]
fn when_all_places_are_taken_the_next_one_waits() {
    let (world, _) = World::held();
    let serving = Serving::ready(world.serve().args(["--connections", "2"]));
    let keep = |stream: TcpStream| {
        let mut reader = BufReader::new(stream);
        reader.get_mut().write_all(&http::head("GET", INDEX, &[])).expect("send");
        assert_eq!(http::read_answer(&mut reader, false).expect("answer").status, 200);
        reader
    };
    let taken: Vec<_> =
        (0..2).map(|_| keep(http::connect(serving.address()).expect("connect"))).collect();
    // The kernel takes it, the server does not.
    let mut third = http::connect(serving.address()).expect("connect");
    third.write_all(&http::head("GET", INDEX, &[])).expect("send");
    third.set_read_timeout(Some(Duration::from_millis(200))).expect("timeout");
    let none = third.read(&mut [0]).expect_err("no place yet");
    assert_eq!(none.kind(), ErrorKind::WouldBlock);
    drop(taken);
    third.set_read_timeout(Some(e2e::PATIENCE)).expect("timeout");
    assert_eq!(http::read_answer(&mut BufReader::new(third), false).expect("answer").status, 200);
    serving.stop();
}

#[test]
fn an_address_has_its_share_of_connections() {
    let (world, held) = World::held();
    let serving = Serving::ready(world.serve().args(["--connections-by-address", "3"]));
    // The one of the last probe may not be closed yet.
    let mut held_open = Vec::new();
    eventually("three connections", || {
        let mut stream = http::connect(serving.address()).expect("connect");
        let asked = stream.write_all(&http::head("GET", INDEX, &[]));
        let mut reader = BufReader::new(stream);
        if asked.is_ok() && http::read_answer(&mut reader, false).is_ok_and(|a| a.status == 200) {
            held_open.push(reader);
        }
        held_open.len() == 3
    });
    assert!(http::request(serving.address(), "GET", INDEX, &[]).is_err());
    // A place that is given back is taken again.
    held_open.clear();
    eventually("a free place", || http::request(serving.address(), "GET", INDEX, &[]).is_ok());
    assert_eq!(serving.get(SQUASHFS).body, held.files[SQUASHFS.trim_start_matches("/images/")]);
    serving.stop();
}
