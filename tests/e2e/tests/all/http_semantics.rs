//! The parts of HTTP that clients of files use, and `curl` as one of them.

use std::io::{BufReader, Read as _, Write as _};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use e2e::http::{self, Answer};
use e2e::{Held, Serving, World, eventually, sha256};
use fixtures::StreamSpec;

const SQUASHFS: &str = "/images/xenial/amd64/20210928/squashfs";
const INDEX: &str = "/images/streams/v1/index.sjson";

fn serving() -> (World, Held, Serving) {
    let (world, held) = World::held();
    let serving = Serving::ready(world.serve());
    (world, held, serving)
}

fn body_of<'a>(held: &'a Held, url: &str) -> &'a [u8] {
    &held.files[url.trim_start_matches("/images/")]
}

/// Content-Range and content of each part of a `multipart/byteranges` body.
fn parts(answer: &Answer) -> Vec<(String, Vec<u8>)> {
    let kind = answer.header("content-type");
    let boundary = kind.strip_prefix("multipart/byteranges; boundary=").expect(kind);
    let mark = format!("--{boundary}");
    let mut rest = &answer.body[..];
    let mut parts = Vec::new();
    loop {
        rest = rest.strip_prefix(mark.as_bytes()).expect("boundary");
        if rest.starts_with(b"--") {
            assert_eq!(rest, b"--\r\n");
            return parts;
        }
        let end = rest.windows(4).position(|w| w == b"\r\n\r\n").expect("head");
        let head = String::from_utf8_lossy(&rest[..end]).into_owned();
        let place = head.lines().find_map(|line| line.strip_prefix("Content-Range: bytes "));
        let place = place.expect("Content-Range").to_owned();
        let (range, _) = place.split_once('/').expect("total");
        let (first, last) = range.split_once('-').expect("range");
        let length =
            last.parse::<usize>().expect("last") - first.parse::<usize>().expect("first") + 1;
        parts.push((place, rest[end + 4..end + 4 + length].to_vec()));
        rest = rest[end + 4 + length..].strip_prefix(b"\r\n").expect("line end");
    }
}

#[test]
fn several_ranges_at_once() {
    let (_world, held, serving) = serving();
    let bytes = body_of(&held, SQUASHFS);
    let answer = serving.request("GET", SQUASHFS, &["Range: bytes=-5, 0-9, 100000-100099"]);
    assert!((answer.status, answer.whole) == (206, true), "{answer:?}");
    let size = bytes.len();
    let tail = (format!("{}-{}/{size}", size - 5, size - 1), bytes[size - 5..].to_vec());
    let expected = [
        (format!("0-9/{size}"), bytes[..10].to_vec()),
        (format!("100000-100099/{size}"), bytes[100_000..100_100].to_vec()),
        tail,
    ];
    assert_eq!(parts(&answer), expected);
    // Ranges that touch are one, and one range is no multipart.
    let one = serving.request("GET", SQUASHFS, &["Range: bytes=0-9,10-19"]);
    assert_eq!(one.header("content-range"), format!("bytes 0-19/{size}"));
    assert_eq!(one.body, bytes[..20]);
    // Too many are answered with the whole file.
    let many: Vec<_> = (0..100).map(|i| format!("{}-{}", i * 10, i * 10)).collect();
    let all = serving.request("GET", SQUASHFS, &[&format!("Range: bytes={}", many.join(","))]);
    assert_eq!((all.status, all.body.as_slice()), (200, bytes));
    serving.stop();
}

#[test]
fn metadata_in_the_coding_that_the_client_takes() {
    let world = World::of(&StreamSpec::items(200));
    world.sync().run().expect(0);
    let held = Held::by(&world);
    let serving = Serving::ready(world.serve());
    let bytes = body_of(&held, INDEX);
    let ask =
        |coding: &str| serving.request("GET", INDEX, &[&format!("Accept-Encoding: {coding}")]);
    eventually("compressed metadata", || ask("gzip").header("content-encoding") == "gzip");
    let plain = serving.get(INDEX);
    let mut etags = vec![plain.header("etag").to_owned()];
    assert_eq!((plain.header("content-encoding"), plain.body.as_slice()), ("", bytes));
    for coding in ["gzip", "zstd"] {
        let answer = ask(coding);
        assert_eq!(answer.header("content-encoding"), coding);
        assert_eq!(answer.header("vary"), "accept-encoding");
        assert!(answer.whole && answer.body.len() < bytes.len());
        etags.push(answer.header("etag").to_owned());
        // The ETag is of this coding alone.
        let etag = format!("If-None-Match: {}", answer.header("etag"));
        let accept = format!("Accept-Encoding: {coding}");
        assert_eq!(serving.request("GET", INDEX, &[&etag, &accept]).status, 304);
        assert_eq!(serving.request("GET", INDEX, &[&etag]).status, 200);
        // A part of it is a part of the compressed bytes.
        let part = serving.request("GET", INDEX, &[&accept, "Range: bytes=5-14"]);
        assert_eq!((part.status, &part.body[..]), (206, &answer.body[5..15]));
    }
    etags.sort();
    etags.dedup();
    assert_eq!(etags.len(), 3, "a coding shares its ETag");
    assert_eq!(curl(&serving, INDEX, &["--compressed"]), bytes);
    // Items are compressed already.
    let item = serving.request("GET", SQUASHFS, &["Accept-Encoding: gzip"]);
    assert_eq!(item.header("content-encoding"), "");
    serving.stop();
}

#[test]
fn the_digest_of_what_is_sent() {
    let (_world, held, serving) = serving();
    for url in [SQUASHFS, INDEX] {
        let answer = serving.get(url);
        let digest = answer.header("repr-digest").to_owned();
        let base64 = digest.strip_prefix("sha-256=:").and_then(|d| d.strip_suffix(':'));
        let hex = decode_base64(base64.expect("a sha-256"));
        assert_eq!(hex, sha256(body_of(&held, url)));
        // Of the whole, also where a part is sent.
        let part = serving.request("GET", url, &["Range: bytes=1-2"]);
        assert_eq!(part.header("repr-digest"), digest);
        assert_eq!(serving.request("HEAD", url, &[]).header("repr-digest"), digest);
    }
    serving.stop();
}

/// Base64 to hex, by `base64` and `od` of coreutils: another's word.
fn decode_base64(text: &str) -> String {
    let script = format!("printf %s '{text}' | base64 -d | od -An -v -tx1 | tr -d ' \\n'");
    let output = Command::new("sh").args(["-c", &script]).output().expect("sh");
    String::from_utf8(output.stdout).expect("hex")
}

/// MAAS 3.6 sends `Transfer-Encoding: chunked` on a GET.
#[test]
fn a_get_with_a_chunked_body() {
    let (_world, held, serving) = serving();
    let mut stream = http::connect(serving.address()).expect("connect");
    let head = http::head("GET", SQUASHFS, &["Transfer-Encoding: chunked"]);
    stream.write_all(&head).expect("head");
    // The head has been read before the body comes, which MAAS sends apart.
    stream.set_read_timeout(Some(Duration::from_millis(200))).expect("timeout");
    let early = stream.read(&mut [0]).expect_err("no answer before the request is whole");
    assert_eq!(early.kind(), std::io::ErrorKind::WouldBlock);
    stream.set_read_timeout(Some(e2e::PATIENCE)).expect("timeout");
    stream.write_all(b"5\r\nhello\r\n").expect("body");
    stream.write_all(b"0\r\n\r\n").expect("end of body");
    // And the connection goes on after it.
    stream.write_all(&http::head("GET", INDEX, &["Connection: close"])).expect("second");
    let mut reader = BufReader::new(stream);
    for url in [SQUASHFS, INDEX] {
        let answer = http::read_answer(&mut reader, false).expect("answer");
        assert_eq!((answer.status, answer.body.as_slice()), (200, body_of(&held, url)));
    }
    serving.stop();
}

#[test]
fn a_body_that_nobody_asked_for() {
    let (_world, _held, serving) = serving();
    let address = serving.address();
    for (length, status) in [(200_000, 405), (1024 * 1024 + 1, 413)] {
        let mut stream = http::connect(address).expect("connect");
        let line = format!("Content-Length: {length}");
        stream.write_all(&http::head("POST", SQUASHFS, &[&line])).expect("head");
        stream.write_all(&vec![b'x'; length]).expect("body");
        let answer = http::read_answer(&mut BufReader::new(stream), false).expect("answer");
        assert_eq!(answer.status, status, "{length}");
    }
    assert_eq!(serving.get(INDEX).status, 200);
    serving.stop();
}

#[test]
fn methods_that_are_not_served() {
    let (_world, _held, serving) = serving();
    for method in ["POST", "PUT", "DELETE", "PATCH", "TRACE"] {
        let answer = serving.request(method, SQUASHFS, &["Content-Length: 0"]);
        assert_eq!(
            (answer.status, answer.header("allow")),
            (405, "GET, HEAD, OPTIONS"),
            "{method}"
        );
    }
    let options = serving.request("OPTIONS", SQUASHFS, &[]);
    assert_eq!((options.status, options.header("allow")), (204, "GET, HEAD, OPTIONS"));
    serving.stop();
}

fn curl(serving: &Serving, url: &str, args: &[&str]) -> Vec<u8> {
    let url = format!("http://{}{url}", serving.address());
    let mut command = Command::new("curl");
    command.args(["--silent", "--show-error", "--noproxy", "*"]);
    let output = command.args(args).arg(url).output().expect("curl");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

/// Status and total bytes that curl saw.
fn curl_code(serving: &Serving, url: &str, args: &[&str]) -> String {
    let args = [args, &["--output", "/dev/null", "--write-out", "%{http_code} %{size_download}"]];
    String::from_utf8(curl(serving, url, &args.concat())).expect("text")
}

#[test]
fn curl_agrees() {
    let (world, held, serving) = serving();
    let bytes = body_of(&held, SQUASHFS);
    let etag = format!("If-None-Match: \"{}\"", sha256(bytes));
    let other = "If-Match: \"other\"";
    assert_eq!(curl(&serving, SQUASHFS, &[]), bytes);
    assert_eq!(curl(&serving, SQUASHFS, &["--range", "10-19"]), bytes[10..20]);
    assert_eq!(curl(&serving, SQUASHFS, &["--range", "-7"]), bytes[bytes.len() - 7..]);
    assert_eq!(curl_code(&serving, SQUASHFS, &["--header", &etag]), "304 0");
    assert!(curl_code(&serving, SQUASHFS, &["--header", other]).starts_with("412"));
    assert!(curl_code(&serving, SQUASHFS, &["--range", "99999999-"]).starts_with("416"));
    assert_eq!(curl_code(&serving, SQUASHFS, &["--head"]), "200 0");
    assert!(curl_code(&serving, "/images/none", &[]).starts_with("404"));
    let since = ["--header", "If-Modified-Since: Tue, 28 Sep 2021 00:00:00 GMT"];
    assert_eq!(curl_code(&serving, SQUASHFS, &since), "304 0");
    curl_resumes(&serving, world.dir(), bytes);
    serving.stop();
}

#[test]
fn curl_agrees_on_validators_codings_and_methods() {
    let (world, held, serving) = serving();
    let (bytes, index) = (body_of(&held, SQUASHFS), body_of(&held, INDEX));
    for (etag, part) in [(sha256(bytes), &bytes[10..20]), ("other".into(), bytes)] {
        let line = format!("If-Range: \"{etag}\"");
        assert_eq!(curl(&serving, SQUASHFS, &["--range", "10-19", "--header", &line]), part);
    }
    let several = curl(&serving, SQUASHFS, &["--range", "0-4,10-14"]);
    let text = String::from_utf8_lossy(&several);
    for range in ["0-4", "10-14"] {
        let line = format!("Content-Range: bytes {range}/{}", bytes.len());
        assert!(text.to_lowercase().contains(&line.to_lowercase()), "{text}");
    }
    assert!(several.windows(5).any(|w| w == &bytes[..5]));
    assert!(several.windows(5).any(|w| w == &bytes[10..15]));
    // The codings are made after the start.
    eventually("gzip", || {
        let head = curl(&serving, INDEX, &["--head", "--header", "Accept-Encoding: gzip"]);
        String::from_utf8_lossy(&head).to_lowercase().contains("content-encoding: gzip")
    });
    assert_eq!(curl(&serving, INDEX, &["--compressed"]), index);
    let digest = format!("repr-digest: sha-256=:{}:", base64_of(&sha256(bytes)));
    let head = String::from_utf8(curl(&serving, SQUASHFS, &["--head"])).expect("text");
    assert!(head.contains(&digest), "{digest} in {head}");
    assert_eq!(curl_code(&serving, SQUASHFS, &["--request", "OPTIONS"]), "204 0");
    assert!(curl_code(&serving, SQUASHFS, &["--request", "DELETE"]).starts_with("405"));
    let body = world.dir().join("body");
    std::fs::write(&body, "hello").expect("body");
    let data = format!("@{}", body.display());
    let chunked = ["--request", "GET", "--header", "Transfer-Encoding: chunked", "--data-binary"];
    assert_eq!(curl(&serving, SQUASHFS, &[&chunked[..], &[&data]].concat()), bytes);
    serving.stop();
}

/// A digest in hex, in base64.
fn base64_of(hex: &str) -> String {
    use base64::Engine as _;
    let digit = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).expect("hex");
    let bytes: Vec<u8> = (0..hex.len()).step_by(2).map(digit).collect();
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

/// `curl --continue-at -` on half a file.
fn curl_resumes(serving: &Serving, folder: &Path, bytes: &[u8]) {
    let half = folder.join("half");
    std::fs::write(&half, &bytes[..bytes.len() / 2]).expect("half");
    let path = half.to_str().expect("text");
    curl(serving, SQUASHFS, &["--continue-at", "-", "--output", path]);
    assert_eq!(std::fs::read(&half).expect("whole"), bytes);
}
