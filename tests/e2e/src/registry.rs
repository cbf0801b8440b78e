//! Debian's `docker-registry` as a process.

use std::fs::{self, File};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use fixtures::Certificate;
use tempfile::TempDir;

use crate::{eventually, http};

/// The user that [`Registry::with_login`] knows.
pub const USER: &str = "mirror";
/// Their password.
pub const PASSWORD: &str = "not-to-be-seen";
/// The line of an htpasswd file for both; the registry takes bcrypt alone.
const HTPASSWD: &str = "mirror:$2y$05$If5lraBZt7r6muyQ4wC7he2DTn4O/Iq99WQ.JQMr76MzrsDqAD5zq\n";

/// A registry that listens. Dropped, it is killed, and what it stored removed.
#[derive(Debug)]
pub struct Registry {
    child: Child,
    log: File,
    address: String,
    dir: TempDir,
}

impl Registry {
    /// One that anybody may read and write.
    #[track_caller]
    #[must_use]
    pub fn start() -> Self {
        let registry = Self::run("", |_| String::new());
        eventually("/v2/", || registry.answers(200));
        registry
    }

    /// One that wants [`USER`] and [`PASSWORD`].
    #[track_caller]
    #[must_use]
    pub fn with_login() -> Self {
        let registry = Self::run("", |dir| {
            let path = dir.join("htpasswd");
            fs::write(&path, HTPASSWD).expect("htpasswd");
            format!("auth: {{htpasswd: {{realm: test, path: '{}'}}}}\n", path.display())
        });
        eventually("/v2/", || registry.answers(401));
        registry
    }

    /// One on TLS, by a certificate for 127.0.0.1.
    #[track_caller]
    #[must_use]
    pub fn with_tls(certificate: &Certificate) -> Self {
        let tls = ", tls: {certificate: cert.pem, key: key.pem}";
        Self::run(tls, |dir| {
            fs::write(dir.join("cert.pem"), &certificate.cert_pem).expect("certificate");
            fs::write(dir.join("key.pem"), &certificate.key_pem).expect("key");
            String::new()
        })
    }

    #[track_caller]
    fn run(http: &str, more: impl FnOnce(&Path) -> String) -> Self {
        let dir = tempfile::Builder::new().prefix("e2e-registry-").tempdir().expect("folder");
        let more = more(dir.path());
        let config = format!(
            "version: 0.1\nlog: {{level: info}}\n\
             storage: {{filesystem: {{rootdirectory: storage}}, delete: {{enabled: true}}}}\n\
             http: {{addr: '127.0.0.1:0'{http}}}\n{more}"
        );
        fs::write(dir.path().join("config.yml"), config).expect("configuration");
        let log = tempfile::tempfile().expect("log");
        let child = Command::new("docker-registry")
            .args(["serve", "config.yml"])
            .current_dir(dir.path())
            .env("OTEL_TRACES_EXPORTER", "none")
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("log"))
            .stderr(log.try_clone().expect("log"))
            .spawn()
            .expect("docker-registry: install Debian's package of that name");
        let mut registry = Self { child, log, address: String::new(), dir };
        eventually("the line 'listening on'", || {
            let ended = registry.child.try_wait().expect("look at the registry");
            assert!(ended.is_none(), "it ended: {}", registry.log());
            registry.log().contains("listening on 127.0.0.1:")
        });
        let log = registry.log();
        let (_, rest) = log.split_once("listening on ").expect("address");
        let end = rest.find(|c: char| !c.is_ascii_digit() && !".:".contains(c));
        registry.address = rest[..end.unwrap_or(rest.len())].to_owned();
        registry
    }

    fn answers(&self, status: u16) -> bool {
        http::request(&self.address, "GET", "/v2/", &[]).is_ok_and(|it| it.status == status)
    }

    /// `127.0.0.1:PORT`.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// `oci://127.0.0.1:PORT/NAME`.
    #[must_use]
    pub fn url(&self, name: &str) -> String {
        format!("oci://{}/{name}", self.address)
    }

    fn log(&self) -> String {
        let length = self.log.metadata().expect("log").len();
        let mut bytes = vec![0; usize::try_from(length).expect("length")];
        self.log.read_exact_at(&mut bytes, 0).expect("log");
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// `METHOD PATH STATUS` of each request that it has answered.
    #[must_use]
    pub fn requests(&self) -> Vec<String> {
        let log = self.log();
        let request = |line: &str| {
            let (_, line) = line.split_once("] \"")?;
            let (request, rest) = line.split_once(" HTTP/1.1\" ")?;
            Some(format!("{request} {}", rest.split(' ').next()?))
        };
        log.lines().filter_map(request).collect()
    }

    /// How many requests `since` the first so many had such a method and part of a path.
    #[must_use]
    pub fn count(&self, since: usize, method: &str, part: &str) -> usize {
        let requests = self.requests();
        let matching = |request: &&String| request.starts_with(method) && request.contains(part);
        requests.iter().skip(since).filter(matching).count()
    }

    /// The folder in which it keeps what it knows of a repository.
    #[must_use]
    pub fn repository(&self, name: &str) -> PathBuf {
        self.dir.path().join("storage/docker/registry/v2/repositories").join(name)
    }

    /// The file in which it keeps a blob or a manifest.
    #[must_use]
    pub fn stored(&self, digest: &str) -> PathBuf {
        let below =
            format!("storage/docker/registry/v2/blobs/sha256/{}/{digest}/data", &digest[..2]);
        self.dir.path().join(below)
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
