//! Registries that never come to an end.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::thread;

use super::*;

const PATIENCE: Duration = Duration::from_millis(300);

/// A registry that answers at once with `first`, and then drips bytes.
fn dripping(first: &'static str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("listen");
    let address = listener.local_addr().expect("address").to_string();
    let drip = move |stream: TcpStream| {
        let mut writer = &stream;
        let mut lines = BufReader::new(&stream).lines().map_while(Result::ok);
        assert!(lines.any(|line| line.is_empty()), "no request");
        let mut written = writer.write_all(first.as_bytes());
        while written.is_ok() {
            thread::sleep(Duration::from_millis(10));
            written = writer.write_all(b"x");
        }
    };
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            thread::spawn(move || drip(stream));
        }
    });
    address
}

fn registry(address: &str) -> Registry {
    let options = Options { plain_http: true, metadata_timeout: PATIENCE, ..Options::default() };
    let reference = Reference::new(address, "a", Version::Tag("1".to_owned())).expect("a name");
    let http = crate::client::http_client(&options).expect("a client");
    Registry::new(http, &reference, &options).expect("a client")
}

#[tokio::test]
async fn what_drips_is_given_up() {
    let body = registry(&dripping("HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n"));
    let head = registry(&dripping("HTTP/1.1 200 OK\r\nX-Long: "));
    let digest = Digest::of(b"a");
    for error in [
        body.manifest("1", MAX_MANIFEST).await.expect_err("a manifest"),
        body.small_blob(&digest, 100_000).await.expect_err("a config"),
        head.manifest("1", MAX_MANIFEST).await.expect_err("a manifest"),
        head.resolve_tag("1").await.expect_err("a tag"),
        head.blob(&digest, &Resume::default(), None).await.expect_err("a blob"),
    ] {
        assert!(matches!(error, FetchError::Slow { limit: PATIENCE, .. }), "{error}");
    }
}
