//! Clients and files that fail, and the end.

use std::io::{Read as _, Write as _};

use e2e::{eventually, http};
use rustix::process::Signal;

use super::{BOTH, SQUASHFS, Secured, s_client};

#[test]
fn a_blob_that_shrinks_under_way_cuts_the_download() {
    for version in BOTH {
        let secured = Secured::large();
        let serving = secured.serving(&[]);
        let slow = secured.halted_download(&serving, version);
        let blob = secured.world.store().join("blobs/sha256").join(secured.large_item());
        let length = std::fs::metadata(&blob).expect("blob").len();
        let file = std::fs::File::options().write(true).open(&blob).expect("open");
        file.set_len(length - 1).expect("shrink");
        let path = slow.path.clone();
        let (exit, _) = slow.end();
        assert_ne!(exit, 0, "{version}");
        let came = std::fs::read(path).expect("file");
        let rest = std::fs::read(&blob).expect("blob");
        assert!(rest.starts_with(&came), "{version}: never padded");
        let url = format!("/images/{SQUASHFS}");
        assert_eq!(secured.curl(&serving, &url, &[version]).status, "500");
        let run = serving.stop();
        assert!(run.stderr.contains("a blob cannot be read"), "{}", run.stderr);
    }
}

#[test]
fn plain_http_to_the_tls_port() {
    let (secured, _) = Secured::small();
    let serving = secured.serving(&[]);
    let mut stream = http::connect(serving.address()).expect("connect");
    stream.write_all(&http::head("GET", "/healthz", &[])).expect("send");
    // Closed by the server, the client's half still open: read_to_end ends.
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    assert!(!String::from_utf8_lossy(&answer).contains("HTTP/1.1"));
    assert_eq!(secured.curl(&serving, "/healthz", &[]).status, "200");
    serving.stop();
}

#[test]
fn clients_that_do_not_shake_hands() {
    let (secured, _) = Secured::small();
    let serving = secured.serving(&["--header-timeout", "300ms", "--connections-by-address", "20"]);
    // More than there are places for: each is cut, and gives its place back.
    for _ in 0..3 {
        let mut silent: Vec<_> = (0..20)
            .filter_map(|_| {
                let mut stream = http::connect(serving.address()).ok()?;
                stream.write_all(&[22, 3, 1]).ok()?;
                Some(stream)
            })
            .collect();
        for stream in &mut silent {
            let _ = stream.read_to_end(&mut Vec::new());
        }
    }
    eventually("a place", || secured.curl(&serving, "/healthz", &[]).status == "200");
    serving.stop();
}

#[test]
fn a_handshake_under_way_does_not_hold_up_the_end() {
    let (secured, _) = Secured::small();
    let serving = secured.serving(&["--header-timeout", "10m", "--drain", "10m"]);
    let mut stream = http::connect(serving.address()).expect("connect");
    stream.write_all(&[22, 3, 1]).expect("send");
    // Answered after it was accepted.
    assert_eq!(secured.curl(&serving, "/healthz", &[]).status, "200");
    serving.stop();
}

#[test]
fn downloads_under_way_end_before_the_server() {
    for version in BOTH {
        let secured = Secured::large();
        let serving = secured.serving(&[]);
        let mut slow = secured.halted_download(&serving, version);
        serving.process().signal(Signal::TERM);
        eventually("a refused connection", || http::connect(serving.address()).is_err());
        assert!(slow.runs(), "the download ended too early to show anything");
        assert_eq!(slow.end(), (0, secured.large_item()), "{version}");
        serving.stop();
    }
}

#[test]
fn clients_that_take_nothing_are_cut() {
    for version in BOTH {
        let secured = Secured::large();
        let serving = secured.serving(&["--body-timeout", "500ms"]);
        let slow = secured.halted_download(&serving, version);
        let pid = serving.process().pid();
        let sockets = || {
            let entries = std::fs::read_dir(format!("/proc/{pid}/fd")).expect("descriptors");
            let links = entries.flatten().filter_map(|entry| std::fs::read_link(entry.path()).ok());
            links.filter(|link| link.to_string_lossy().starts_with("socket:")).count()
        };
        let with = sockets();
        eventually("a connection that is closed", || sockets() < with);
        let (exit, _) = slow.end();
        assert_ne!(exit, 0, "{version}");
        assert_eq!(secured.curl(&serving, "/healthz", &[version]).status, "200");
        serving.stop();
    }
}

#[test]
fn an_http_2_client_that_asks_for_nothing() {
    let (secured, _) = Secured::small();
    let serving = secured.serving(&["--header-timeout", "300ms"]);
    let mut client = s_client(&serving, &["-alpn", "h2", "-quiet"]);
    eventually("the server to close", || client.try_wait().expect("openssl").is_some());
    serving.stop();
}
