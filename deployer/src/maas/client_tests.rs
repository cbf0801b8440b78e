use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;

/// A server that answers each connection's one request with what `answer` gives
/// for its number, from 0; with nothing, where that is empty, and stays silent.
fn server(answer: impl Fn(usize) -> Vec<u8> + Send + 'static) -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/MAAS", listener.local_addr().unwrap());
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    std::thread::spawn(move || {
        let mut silent = Vec::new();
        for mut stream in listener.incoming().flatten() {
            let mut head = Vec::new();
            let mut byte = [0];
            while !head.ends_with(b"\r\n\r\n") && stream.read_exact(&mut byte).is_ok() {
                head.push(byte[0]);
            }
            let answer = answer(count.fetch_add(1, Ordering::SeqCst));
            if answer.is_empty() {
                silent.push(stream);
            } else {
                let _ = stream.write_all(&answer);
            }
        }
    });
    (url, asked)
}

fn answer(status: u16, headers: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!("HTTP/1.1 {status} X\r\nConnection: close\r\nContent-Length: {length}\r\n{headers}\r\n{body}")
        .into_bytes()
}

fn client(url: &str, retries: u32) -> Client {
    let first = Duration::from_millis(1);
    let retries = Retries { count: retries, first, ..Retries::default() };
    let options = Options { retries, call: Duration::from_millis(200), ..Options::default() };
    Client::new(url, &options).unwrap().with_key("C:T:S".parse().unwrap())
}

#[tokio::test]
async fn a_server_that_hangs_does_not_hang_the_call() {
    let (url, asked) = server(|_| Vec::new());
    let error = client(&url, 1).boot_sources().await.unwrap_err();
    assert!(matches!(error.problem, Problem::Transport(_)), "{error:?}");
    assert!(error.passes());
    assert_eq!(asked.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn an_answer_that_never_ends_is_given_up() {
    let long = format!("[{}", " ".repeat(100));
    let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n";
    let (url, _) = server(move |_| format!("{head}Content-Length: 5000\r\n\r\n{long}").into());
    let error = client(&url, 0).boot_sources().await.unwrap_err();
    assert!(matches!(error.problem, Problem::Transport(_)), "{error:?}");
}

#[tokio::test]
async fn an_answer_has_a_largest_size() {
    let announced = "HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n[";
    let (url, _) = server(|_| announced.as_bytes().to_vec());
    let error = client(&url, 0).boot_sources().await.unwrap_err();
    assert!(error.problem.to_string().contains("larger than 67108864 bytes"), "{error:?}");
    // Without a length it is counted.
    let (url, _) = server(|_| {
        let mut all = b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n".to_vec();
        all.resize(LARGEST + 1000, b' ');
        all
    });
    let options = Options { retries: Retries::NONE, ..Options::default() };
    let error = Client::new(&url, &options).unwrap().boot_sources().await.unwrap_err();
    assert!(error.problem.to_string().contains("larger than 67108864 bytes"), "{error:?}");
}

#[tokio::test]
async fn thousands_of_images_are_listed() {
    let one = r#"{"id": 1, "name": "ubuntu/noble", "architecture": "amd64/ga-24.04"}"#;
    let all = format!("[{}]", vec![one; 5000].join(","));
    let (url, _) = server(move |_| answer(200, "Content-Type: application/json\r\n", &all));
    let options = Options { retries: Retries::NONE, ..Options::default() };
    let found = Client::new(&url, &options).unwrap().boot_resources().await.unwrap();
    assert_eq!(found.len(), 5000);
}

#[tokio::test]
async fn a_call_that_happened_though_its_answer_was_lost_is_not_sent_again() {
    let made = r#"[{"id": 7, "url": "http://m/", "keyring_filename": "/k.gpg"}]"#;
    let (url, asked) = server(|number| match number {
        0 => answer(502, "Content-Type: text/html\r\n", "<html></html>"),
        _ => answer(200, "", made),
    });
    let keyring = crate::maas::Keyring::File("/k.gpg".to_owned());
    let found = client(&url, 3).create_boot_source("http://m/", &keyring).await.unwrap();
    assert_eq!((found.id, asked.load(Ordering::SeqCst)), (7, 2));
}

#[tokio::test]
async fn a_call_that_has_not_happened_is_sent_again() {
    let made = r#"{"id": 8, "url": "http://m/", "keyring_filename": "/k.gpg"}"#;
    // POST, GET, and so on.
    let (url, asked) = server(|number| match number {
        0 | 2 => answer(500, "", "server closed the connection unexpectedly"),
        1 | 3 => answer(200, "", "[]"),
        _ => answer(201, "", made),
    });
    let keyring = crate::maas::Keyring::File("/k.gpg".to_owned());
    let found = client(&url, 3).create_boot_source("http://m/", &keyring).await.unwrap();
    assert_eq!((found.id, asked.load(Ordering::SeqCst)), (8, 5));
    // Within a bound.
    let (url, asked) = server(|number| match number % 2 {
        0 => answer(500, "", ""),
        _ => answer(200, "", "[]"),
    });
    client(&url, 2).create_boot_source("http://m/", &keyring).await.unwrap_err();
    assert_eq!(asked.load(Ordering::SeqCst), 6);
}

#[tokio::test]
async fn a_clock_that_differs_is_made_up_for_once() {
    let refusal = || {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
        let text = format!("Expired timestamp: given 1 and now {} has …", now.as_secs() + 600);
        answer(401, "Content-Type: text/plain\r\n", &text)
    };
    let (url, asked) = server(move |number| match number {
        0 => refusal(),
        _ => answer(200, "", "[]"),
    });
    // Not counted as a retry.
    client(&url, 0).boot_sources().await.unwrap();
    assert_eq!(asked.load(Ordering::SeqCst), 2);
    // Where it does not help, it is told.
    let (url, asked) = server(move |_| refusal());
    let error = client(&url, 3).boot_sources().await.unwrap_err();
    assert!(error.problem.to_string().contains("10 min behind MAAS's"), "{error:?}");
    assert_eq!(asked.load(Ordering::SeqCst), 2);
}
