//! HTTP over TLS: both versions answer as the plain server does.

use e2e::sha256;

use super::{BOTH, SQUASHFS, Secured};

#[test]
fn every_file_over_http_1_and_2() {
    let (secured, held) = Secured::small();
    let serving = secured.serving(&[]);
    for (flag, version) in BOTH.into_iter().zip(["1.1", "2"]) {
        for (path, bytes) in &held.files {
            let got = secured.curl(&serving, &format!("/images/{path}"), &[flag]);
            assert_eq!(
                (got.exit, got.status.as_str(), got.version.as_str()),
                (0, "200", version),
                "{}",
                got.stderr
            );
            assert!(got.body == *bytes, "{flag} {path}");
        }
    }
    serving.stop();
}

#[test]
fn a_large_file_is_whole() {
    let secured = Secured::large();
    let serving = secured.serving(&[]);
    let ways: [&[&str]; 3] = [&["--http1.1"], &["--http2"], &["--tls-max", "1.2"]];
    for way in ways {
        let got = secured.curl(&serving, &format!("/images/{SQUASHFS}"), way);
        assert_eq!((got.exit, got.status.as_str()), (0, "200"), "{way:?}: {}", got.stderr);
        assert_eq!(sha256(&got.body), secured.large_item(), "{way:?}");
    }
    serving.stop();
}

#[test]
fn what_clients_of_files_ask() {
    let (secured, held) = Secured::small();
    let serving = secured.serving(&[]);
    let (url, bytes) = (format!("/images/{SQUASHFS}"), &held.files[SQUASHFS]);
    let etag = format!("If-None-Match: \"{}\"", sha256(bytes));
    for version in BOTH {
        let get = |path: &str, args: &[&str]| {
            let got = secured.curl(&serving, path, &[&[version], args].concat());
            assert_eq!(got.exit, 0, "{version} {args:?}: {}", got.stderr);
            got
        };
        let part = get(&url, &["-r", "100-70099"]);
        assert_eq!((part.status.as_str(), &part.body[..]), ("206", &bytes[100..70100]));
        let tail = get(&url, &["-r", "-1"]);
        assert_eq!((tail.status.as_str(), &tail.body[..]), ("206", &bytes[bytes.len() - 1..]));
        let parts = get(&url, &["-r", "0-9,40000-120000"]);
        assert_eq!(parts.status, "206");
        assert!(parts.head.contains("multipart/byteranges"), "{}", parts.head);
        assert!(parts.body.windows(80001).any(|window| *window == bytes[40000..=120_000]));
        let known = get(&url, &["-H", &etag]);
        assert_eq!((known.status.as_str(), known.body.len()), ("304", 0));
        let head = get(&url, &["-I"]);
        assert_eq!(head.status, "200");
        assert!(head.head.contains(&format!("content-length: {}", bytes.len())), "{}", head.head);
        assert_eq!(get(&url, &["-r", "99999999-"]).status, "416");
        assert_eq!(get("/images/nothing", &[]).status, "404");
        assert_eq!(get(&url, &["-X", "DELETE"]).status, "405");
        let products = format!("/images/{}", secured.world.products_path());
        let coded = get(&products, &["-H", "Accept-Encoding: zstd"]);
        assert!(coded.head.contains("content-encoding: zstd"), "{}", coded.head);
        let decoded = get(&products, &["--compressed"]);
        assert!(decoded.body == held.files[&secured.world.products_path()]);
    }
    serving.stop();
}

#[test]
fn many_streams_on_one_connection() {
    let secured = Secured::large();
    let serving = secured.serving(&[]);
    let mut command =
        secured.command(&serving, "/healthz", &["--http2", "-Z", "--parallel-max", "20"]);
    command.args(["-w", "%{num_connects} %{http_version} %{http_code}\n", "-o", "/dev/null"]);
    let count = 12;
    for index in 0..count {
        let out = secured.path(&format!("stream-{index}"));
        command.arg("-o").arg(out).arg(format!("https://{}/images/{SQUASHFS}", serving.address()));
    }
    let output = command.output().expect("curl");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8_lossy(&output.stdout);
    let connects: u32 = text
        .lines()
        .map(|line| line.split(' ').next().expect("word").parse::<u32>().expect("number"))
        .sum();
    assert_eq!(connects, 1, "{text}");
    for index in 0..count {
        let bytes = std::fs::read(secured.path(&format!("stream-{index}"))).expect("file");
        assert_eq!(sha256(&bytes), secured.large_item());
    }
    serving.stop();
}
