//! MAAS's API as a client of it sees it.

use std::io::{BufReader, Read as _, Write as _};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::Value;

use crate::{Forward, Kube, eventually};

/// A client with an API key.
#[derive(Debug)]
pub struct Maas {
    forward: Forward,
    key: String,
}

impl Maas {
    /// A client of the region behind that Service.
    #[must_use]
    pub fn new(kube: &Kube, service: &str, key: &str) -> Self {
        let target = format!("service/{service}");
        let forward = eventually("a way to the region", || {
            let forward = Forward::to(kube, &target, 80)?;
            raw(forward.address(), "/MAAS/api/2.0/version/", "").map(|_| forward)
        });
        Self { forward, key: key.to_owned() }
    }

    /// `GET` of a path below `api/2.0/`; `None` where the answer is no 200 or no JSON.
    #[must_use]
    pub fn get(&self, path: &str) -> Option<Value> {
        let header = authorization(&self.key);
        raw(self.forward.address(), &format!("/MAAS/api/2.0/{path}"), &header)
    }

    /// What a setting is.
    #[track_caller]
    #[must_use]
    pub fn setting(&self, name: &str) -> Value {
        let path = format!("maas/?op=get_config&name={name}");
        eventually(&format!("setting {name}"), || self.get(&path))
    }
}

/// OAuth 1.0 with the signature method PLAINTEXT, as MAAS takes it.
fn authorization(key: &str) -> String {
    static NONCE: AtomicU64 = AtomicU64::new(0);
    let parts: Vec<&str> = key.trim().split(':').collect();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock");
    let nonce = format!("{}-{}", now.as_nanos(), NONCE.fetch_add(1, Ordering::Relaxed));
    format!(
        "Authorization: OAuth oauth_version=\"1.0\", oauth_signature_method=\"PLAINTEXT\", \
         oauth_consumer_key=\"{}\", oauth_token=\"{}\", oauth_signature=\"%26{}\", \
         oauth_nonce=\"{nonce}\", oauth_timestamp=\"{}\"\r\n",
        parts[0],
        parts[1],
        parts[2],
        now.as_secs()
    )
}

/// One request by HTTP/1.0, whose answer ends with the connection.
fn raw(address: &str, path: &str, headers: &str) -> Option<Value> {
    let mut stream = e2e::http::connect(address).ok()?;
    write!(stream, "GET {path} HTTP/1.0\r\nHost: {address}\r\n{headers}\r\n").ok()?;
    let mut reader = BufReader::new(stream);
    let head = e2e::http::read_head(&mut reader).ok()?;
    let mut body = String::new();
    reader.read_to_string(&mut body).ok()?;
    if head.status != 200 {
        return None;
    }
    serde_json::from_str(&body).ok()
}
