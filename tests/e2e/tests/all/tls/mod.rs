//! The server over TLS, as curl sees it.

mod clients;
mod http;
mod pair;

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use e2e::{Held, Mirror, Serving, World, eventually, sha256};
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

/// `openssl s_client` with these arguments; its input stays open.
fn s_client(serving: &Serving, args: &[&str]) -> Child {
    let mut command = Command::new("openssl");
    command.args(["s_client", "-connect", serving.address()]).args(args);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    command.spawn().expect("run openssl (Debian: apt-get install openssl)")
}
