//! The server over TLS, as curl sees it.

use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use e2e::{Held, Mirror, Serving, World, eventually, http, sha256};
use fixtures::{Certificate, StreamSpec};
use rustix::process::Signal;

const SQUASHFS: &str = "xenial/amd64/20210928/squashfs";
const BOTH: [&str; 2] = ["--http1.1", "--http2"];

/// A world with a certificate beside its store.
struct Secured {
    world: World,
}

/// The answer that curl got.
struct Got {
    exit: i32,
    status: String,
    version: String,
    head: String,
    body: Vec<u8>,
    stderr: String,
}

impl Secured {
    fn new(world: World) -> Self {
        let secured = Self { world };
        secured.put(&Certificate::generate().expect("certificate"));
        secured
    }

    /// The default stream.
    fn small() -> (Self, Held) {
        let (world, held) = World::held();
        (Self::new(world), held)
    }

    /// A squashfs that fills every buffer between a server and a client.
    fn large() -> Self {
        let world = World::of(&StreamSpec::new().scale(0.1));
        world.sync().run().expect(0);
        Self::new(world)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.world.dir().join(name)
    }

    /// Puts a pair in place, each file at once, and what trusts it.
    fn put(&self, certificate: &Certificate) {
        let files = [
            ("tls.crt", &certificate.cert_pem),
            ("tls.key", &certificate.key_pem),
            ("ca.crt", &certificate.ca_pem),
        ];
        for (name, text) in files {
            let new = self.path("new");
            std::fs::write(&new, text).expect("write");
            std::fs::set_permissions(&new, std::os::unix::fs::PermissionsExt::from_mode(0o600))
                .expect("mode");
            std::fs::rename(new, self.path(name)).expect("rename");
        }
    }

    fn mirror(&self) -> Mirror {
        let (cert, key) = (self.path("tls.crt"), self.path("tls.key"));
        self.world.serve().args([Path::new("--tls-cert"), &cert, Path::new("--tls-key"), &key])
    }

    fn serving(&self, args: &[&str]) -> Serving {
        let serving = Serving::start(self.mirror().args(args));
        eventually("/readyz", || self.curl(&serving, "/readyz", &[]).status == "200");
        serving
    }

    fn command(&self, serving: &Serving, path: &str, args: &[&str]) -> Command {
        let mut command = Command::new("curl");
        command.args(["-q", "-sS", "--max-time", "60", "--noproxy", "*", "--cacert"]);
        command.arg(self.path("ca.crt")).args(args);
        command.arg(format!("https://{}{path}", serving.address()));
        command
    }

    fn curl(&self, serving: &Serving, path: &str, args: &[&str]) -> Got {
        let folder = tempfile::tempdir_in(self.world.dir()).expect("folder");
        let (head, body) = (folder.path().join("head"), folder.path().join("body"));
        let mut command = self.command(serving, path, args);
        command
            .arg("-D")
            .arg(&head)
            .arg("-o")
            .arg(&body)
            .args(["-w", "%{http_code} %{http_version}"]);
        let output = command.output().expect("run curl (Debian: apt-get install curl)");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let (status, version) = text.split_once(' ').unwrap_or_default();
        Got {
            exit: output.status.code().expect("exit code"),
            status: status.to_owned(),
            version: version.to_owned(),
            head: std::fs::read_to_string(head).unwrap_or_default().to_lowercase(),
            body: std::fs::read(body).unwrap_or_default(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    fn large_item(&self) -> String {
        self.world.stream.items[SQUASHFS].sha256()
    }

    /// A download of the squashfs, into the file `slow`, by a curl that is halted after the first
    /// bytes.
    fn halted_download(&self, serving: &Serving, version: &str) -> Slow {
        let path = self.path("slow");
        let args = [version, "--limit-rate", "20M"];
        let mut command = self.command(serving, &format!("/images/{SQUASHFS}"), &args);
        let child = command.arg("-o").arg(&path).stderr(Stdio::null()).spawn().expect("curl");
        let slow = Slow { child, path };
        eventually("the first bytes", || slow.length() > 0);
        slow.signal(Signal::STOP);
        slow
    }
}

struct Slow {
    child: Child,
    path: PathBuf,
}

impl Slow {
    fn length(&self) -> u64 {
        std::fs::metadata(&self.path).map_or(0, |meta| meta.len())
    }

    fn signal(&self, signal: Signal) {
        rustix::process::kill_process(rustix::process::Pid::from_child(&self.child), signal)
            .expect("signal");
    }

    fn runs(&mut self) -> bool {
        self.child.try_wait().expect("curl").is_none()
    }

    /// Lets curl go on to its end: its exit code, and the digest of what came.
    fn end(mut self) -> (i32, String) {
        self.signal(Signal::CONT);
        let status = self.child.wait().expect("curl");
        (status.code().expect("exit code"), sha256(&std::fs::read(&self.path).expect("file")))
    }
}

impl Drop for Slow {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

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

/// Waits until new handshakes are judged good by the authority in `ca.crt`.
fn eventually_trusted(secured: &Secured, serving: &Serving) {
    eventually("the new certificate", || secured.curl(serving, "/healthz", &[]).exit == 0);
}

#[test]
fn a_new_pair_is_taken_up_while_a_download_goes_on() {
    let secured = Secured::large();
    let serving = secured.serving(&[]);
    for version in BOTH {
        let mut slow = secured.halted_download(&serving, version);
        secured.put(&Certificate::generate().expect("certificate"));
        assert_ne!(secured.curl(&serving, "/healthz", &[]).exit, 0, "an authority of its own");
        eventually_trusted(&secured, &serving);
        assert!(slow.runs(), "the download ended too early to show anything");
        assert_eq!(slow.end(), (0, secured.large_item()), "{version}");
    }
    serving.stop();
}

#[test]
fn links_are_swapped_above_the_names() {
    // As mounts of Kubernetes secrets do: tls.crt -> data/tls.crt, data -> one.
    let (secured, _) = Secured::small();
    for name in ["one", "two"] {
        std::fs::create_dir(secured.path(name)).expect("folder");
        let certificate = Certificate::generate().expect("certificate");
        secured.put(&certificate);
        for file in ["tls.crt", "tls.key", "ca.crt"] {
            std::fs::rename(secured.path(file), secured.path(name).join(file)).expect("rename");
        }
    }
    let link = |to: &str, at: PathBuf| std::os::unix::fs::symlink(to, at);
    link("one", secured.path("data")).expect("link");
    for file in ["tls.crt", "tls.key", "ca.crt"] {
        link(&format!("data/{file}"), secured.path(file)).expect("link");
    }
    let serving = secured.serving(&[]);
    link("two", secured.path("data-new")).expect("link");
    std::fs::rename(secured.path("data-new"), secured.path("data")).expect("swap");
    eventually_trusted(&secured, &serving);
    serving.stop();
}

#[test]
fn a_bad_new_pair_leaves_the_old_in_use() {
    let (secured, _) = Secured::small();
    let serving = secured.serving(&[]);
    let complaints = || {
        let said = serving.process().stderr();
        said.matches("cannot be used; the old ones stay in use").count()
    };
    let (new, other) = (Certificate::generate().unwrap(), Certificate::generate().unwrap());
    let key = secured.path("tls.key");
    let old = std::fs::read(&key).expect("key");
    // Half written; a stranger's; gone.
    std::fs::write(&key, &new.key_pem.as_bytes()[..100]).expect("write");
    eventually("a complaint", || complaints() == 1);
    assert_eq!(secured.curl(&serving, "/healthz", &[]).exit, 0);
    std::fs::write(&key, &other.key_pem).expect("write");
    eventually("a complaint", || complaints() == 2);
    std::fs::remove_file(&key).expect("remove");
    eventually("a complaint", || complaints() == 3);
    assert_eq!(secured.curl(&serving, "/healthz", &[]).exit, 0);
    // The old pair again, and then a new one: no more complaints.
    std::fs::write(&key, &old).expect("write");
    eventually("the old pair", || {
        serving.process().stderr().contains("a new TLS certificate is in use")
    });
    assert_eq!(secured.curl(&serving, "/healthz", &[]).exit, 0);
    let run = serving.stop();
    assert!(!run.stderr.contains(&new.key_pem[40..90]), "the key is told");
    let told = run.stderr.lines().filter(|line| line.contains("the old ones stay in use")).count();
    assert_eq!(told, 3, "{}", run.stderr);
}

#[test]
fn pairs_that_stop_the_start() {
    let (secured, _) = Secured::small();
    let (cert, key) = (secured.path("tls.crt"), secured.path("tls.key"));
    let good = [std::fs::read(&cert).unwrap(), std::fs::read(&key).unwrap()];
    let other = Certificate::generate().expect("certificate");
    let refused = |name: &str| secured.mirror().run().failed(1, name);

    std::fs::write(&key, &other.key_pem).expect("write");
    refused("tls-mismatch");
    std::fs::write(&key, &good[1][..80]).expect("write");
    refused("tls-key-cut");
    std::fs::write(&key, &good[0]).expect("write");
    refused("tls-key-is-a-certificate");
    std::fs::remove_file(&key).expect("remove");
    refused("tls-key-missing");
    std::fs::write(&key, &good[1]).expect("write");
    std::fs::write(&cert, "nothing\n").expect("write");
    refused("tls-cert-is-none");
    std::fs::remove_file(&cert).expect("remove");
    std::fs::create_dir(&cert).expect("folder");
    refused("tls-cert-is-a-folder");
}

#[test]
fn one_of_the_two_options() {
    let (world, _) = World::held();
    for (given, other) in [("--tls-cert", "--tls-key"), ("--tls-key", "--tls-cert")] {
        let run = world.serve().args([given, "x.pem"]).run().expect(64);
        assert!(
            run.stderr.contains(&format!("{given} is given without {other}")),
            "{}",
            run.stderr
        );
    }
    world.serve().env("MAAS_MIRROR_TLS_CERT", "x.pem").run().expect(64);
}

#[test]
fn the_pair_from_file_and_environment() {
    let (secured, _) = Secured::small();
    let config = secured.path("config.toml");
    let text = format!("[serve]\ntls-cert = \"{}\"\n", secured.path("tls.crt").display());
    std::fs::write(&config, text).expect("write");
    let mirror = secured.world.serve().args([Path::new("--config"), &config]);
    let mirror = mirror.args(["--log-format", "json"]);
    let running = mirror.env("MAAS_MIRROR_TLS_KEY", secured.path("tls.key")).spawn();
    eventually("the line", || running.stdout().ends_with('\n'));
    let line: serde_json::Value = serde_json::from_str(&running.stdout()).expect("JSON");
    assert!(line["url"].as_str().expect("url").starts_with("https://127.0.0.1:"), "{line}");
    running.signal(Signal::TERM);
    running.wait().expect(0);
}

#[test]
fn keys_of_every_form() {
    let (secured, _) = Secured::small();
    let (cert, key, first) =
        (secured.path("tls.crt"), secured.path("tls.key"), secured.path("first"));
    let openssl = |args: &[&str], files: &[(&str, &PathBuf)]| {
        let mut command = Command::new("openssl");
        command.args(args);
        for (flag, file) in files {
            command.arg(flag).arg(file);
        }
        let output = command.output().expect("run openssl (Debian: apt-get install openssl)");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    };
    let kinds: [(&str, &[&str], &[&str]); 2] = [
        ("BEGIN RSA PRIVATE KEY", &["rsa:2048"], &["rsa", "-traditional"]),
        ("BEGIN EC PRIVATE KEY", &["ec", "-pkeyopt", "ec_paramgen_curve:P-256"], &["ec"]),
    ];
    for (title, new, convert) in kinds {
        let ask = [
            "req",
            "-x509",
            "-nodes",
            "-days",
            "2",
            "-subj",
            "/CN=localhost",
            "-addext",
            "subjectAltName=IP:127.0.0.1",
            "-newkey",
        ];
        openssl(&[&ask, new].concat(), &[("-keyout", &first), ("-out", &cert)]);
        openssl(convert, &[("-in", &first), ("-out", &key)]);
        assert!(std::fs::read_to_string(&key).expect("key").contains(title));
        std::fs::copy(&cert, secured.path("ca.crt")).expect("copy");
        secured.serving(&[]).stop();
    }
}

#[test]
fn a_key_that_everybody_can_read() {
    let (secured, _) = Secured::small();
    let serving = secured.serving(&[]);
    assert!(!serving.stop().stderr.contains("can read the TLS key"));
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o644);
    std::fs::set_permissions(secured.path("tls.key"), mode).expect("mode");
    let serving = secured.serving(&[]);
    let run = serving.stop();
    assert!(
        run.stderr.contains("every user of this machine can read the TLS key"),
        "{}",
        run.stderr
    );
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

/// `openssl s_client` with these arguments; its input stays open.
fn s_client(serving: &Serving, args: &[&str]) -> Child {
    let mut command = Command::new("openssl");
    command.args(["s_client", "-connect", serving.address()]).args(args);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    command.spawn().expect("run openssl (Debian: apt-get install openssl)")
}

#[test]
fn an_http_2_client_that_asks_for_nothing() {
    let (secured, _) = Secured::small();
    let serving = secured.serving(&["--header-timeout", "300ms"]);
    let mut client = s_client(&serving, &["-alpn", "h2", "-quiet"]);
    eventually("the server to close", || client.try_wait().expect("openssl").is_some());
    serving.stop();
}

#[test]
fn sessions_are_resumed_until_the_pair_changes() {
    let (secured, _) = Secured::small();
    let serving = secured.serving(&[]);
    let session = secured.path("session");
    let session = session.to_str().expect("path");
    let shake = |args: &[&str]| {
        let mut client = s_client(&serving, &[&["-tls1_2"], args].concat());
        drop(client.stdin.take());
        let mut text = String::new();
        client.stdout.take().expect("stdout").read_to_string(&mut text).expect("text");
        client.wait().expect("openssl");
        text
    };
    assert!(shake(&["-sess_out", session]).contains("New, TLSv1.2"));
    assert!(shake(&["-sess_in", session]).contains("Reused, TLSv1.2"));
    secured.put(&Certificate::generate().expect("certificate"));
    eventually_trusted(&secured, &serving);
    assert!(shake(&["-sess_in", session]).contains("New, TLSv1.2"));
    serving.stop();
}
