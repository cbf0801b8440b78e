//! The program as a server.

use rustix::process::Signal;

use crate::http::{self, Answer};
use crate::{Mirror, Run, Running, eventually};

/// A `maas-mirror serve` that listens.
#[derive(Debug)]
pub struct Serving {
    running: Running,
    address: String,
}

impl Serving {
    /// Starts it and waits for the line that says where it listens.
    #[track_caller]
    pub fn start(mirror: Mirror) -> Self {
        let mut running = mirror.spawn();
        eventually("the line 'listening on'", || {
            assert!(!running.ended(), "serve ended: {}", running.stderr());
            running.stdout().ends_with('\n')
        });
        let line = running.stdout();
        let url = line.trim().strip_prefix("listening on ");
        let address = url
            .and_then(|url| url.strip_prefix("http://").or_else(|| url.strip_prefix("https://")));
        let address = address.unwrap_or_else(|| panic!("it said: {line}")).to_owned();
        Self { running, address }
    }

    /// Starts it and waits until it has a snapshot to serve.
    #[track_caller]
    pub fn ready(mirror: Mirror) -> Self {
        let serving = Self::start(mirror);
        serving.wait_ready();
        serving
    }

    /// Waits until it has a snapshot to serve.
    #[track_caller]
    pub fn wait_ready(&self) {
        eventually("/readyz", || self.get("/readyz").status == 200);
    }

    /// `ADDRESS:PORT`.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// The process.
    #[must_use]
    pub fn process(&self) -> &Running {
        &self.running
    }

    /// Its address, and its process to be waited for.
    #[must_use]
    pub fn into_parts(self) -> (String, Running) {
        (self.address, self.running)
    }

    /// A GET on a connection of its own.
    #[track_caller]
    #[must_use]
    pub fn get(&self, path: &str) -> Answer {
        self.request("GET", path, &[])
    }

    /// A request on a connection of its own. `headers` are whole lines.
    #[track_caller]
    #[must_use]
    pub fn request(&self, method: &str, path: &str, headers: &[&str]) -> Answer {
        let answer = http::request(&self.address, method, path, headers);
        answer.unwrap_or_else(|error| panic!("{method} {path}: {error}: {}", self.running.stderr()))
    }

    /// Ends it by SIGTERM, which is to succeed.
    #[track_caller]
    pub fn stop(self) -> Run {
        self.running.signal(Signal::TERM);
        self.running.wait().expect(0)
    }
}
