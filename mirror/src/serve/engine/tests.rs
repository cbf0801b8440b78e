//! The engine under hyper, over real sockets.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use http::Response;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::blob::Blob;
use super::body::BlobBody;
use super::damage::Damage;
use super::inflight::InFlight;
use super::stream::{FileStream, is_full};
use crate::simplestreams::Digest;

/// A blob of `size` bytes, and what is in it.
fn blob(size: usize) -> (tempfile::TempDir, Arc<Blob>, Vec<u8>) {
    let folder = tempfile::tempdir().expect("folder");
    let bytes: Vec<u8> = (0..size).map(|i| u8::try_from(i % 251).expect("small")).collect();
    let path = folder.path().join("blob");
    std::fs::write(&path, &bytes).expect("write");
    let damage = Arc::new(Damage::default());
    let blob = Blob::open(&path, Digest::of(&bytes), size as u64, &damage).expect("open");
    (folder, Arc::new(blob), bytes)
}

/// The whole answer to one request for `blob`, head and body.
async fn answer(blob: Arc<Blob>) -> Vec<u8> {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
    let address = listener.local_addr().expect("address");
    let serve = async {
        let (socket, _) = listener.accept().await.expect("accept");
        let files = Arc::new(InFlight::default());
        let stream = FileStream::new(socket, Arc::clone(&files), Duration::from_secs(60));
        let service = service_fn(move |_| {
            let body = BlobBody::new(Arc::clone(&blob), Arc::clone(&files), 0..blob.size());
            async move { Ok::<_, Infallible>(Response::new(body)) }
        });
        http1::Builder::new().serve_connection(stream, service).await.expect("served");
    };
    let ask = async {
        let mut client = TcpStream::connect(address).await.expect("connect");
        let request = b"GET / HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n";
        client.write_all(request).await.expect("request");
        let mut answer = Vec::new();
        client.read_to_end(&mut answer).await.expect("answer");
        answer
    };
    tokio::join!(serve, ask).1
}

/// Makes any look at the mapping's bytes end this process.
#[allow(unsafe_code, reason = "mprotect has no safe wrapper")]
fn forbid(blob: &Blob) {
    let map = blob.mapping().expect("a large blob is mapped");
    // SAFETY: the addresses are the mapping's; that nobody reads them is what
    // is tested.
    let done =
        unsafe { libc::mprotect(map.as_ptr().cast_mut().cast(), map.len(), libc::PROT_NONE) };
    assert_eq!(done, 0, "{}", std::io::Error::last_os_error());
}

#[tokio::test]
async fn plain_http_touches_no_page_of_a_mapping() {
    // Some pieces, and a last one that is no whole page.
    let (_folder, blob, bytes) = blob(5 * 1024 * 1024 + 123);
    forbid(&blob);
    let answer = answer(blob).await;
    assert!(answer.ends_with(&bytes));
    let head = String::from_utf8_lossy(&answer[..answer.len() - bytes.len()]).into_owned();
    assert!(head.contains(&format!("content-length: {}\r\n", bytes.len())), "{head}");
    assert!(head.ends_with("\r\n\r\n"), "{head}");
}

#[tokio::test]
async fn an_empty_blob_is_an_empty_body() {
    let (_folder, blob, _) = blob(0);
    let answer = String::from_utf8(answer(blob).await).expect("a head");
    assert!(answer.contains("content-length: 0\r\n") && answer.ends_with("\r\n\r\n"), "{answer}");
}

#[tokio::test]
async fn nothing_is_in_flight_after_the_last_byte() {
    let (_folder, blob, bytes) = blob(3 * 1024 * 1024);
    let held = Arc::downgrade(&blob);
    assert!(answer(blob).await.ends_with(&bytes));
    assert!(held.upgrade().is_none(), "somebody still holds the blob");
}

/// The rest of a short write waits for exactly as long as this says.
#[tokio::test]
async fn a_socket_is_full_until_the_client_reads() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
    let address = listener.local_addr().expect("address");
    let (client, accepted) = tokio::join!(TcpStream::connect(address), listener.accept());
    let (mut client, (server, _)) = (client.expect("connect"), accepted.expect("accept"));
    assert!(!is_full(&server));
    let mut sent = 0;
    while !is_full(&server) {
        sent += server.try_write(&[0; 64 * 1024]).unwrap_or_default();
    }
    let mut received = vec![0; sent];
    client.read_exact(&mut received).await.expect("read");
    server.writable().await.expect("room");
    assert!(!is_full(&server));
}
