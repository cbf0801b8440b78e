//! The stand-in MAAS: a region as a process.

use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;

use serde_json::json;

use super::world::World;

/// The stand-in: `STAND_IN_MAAS_BIN` where it is set, or built beside the tests, once.
pub(crate) fn binary() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| {
        if let Some(given) = std::env::var_os("STAND_IN_MAAS_BIN") {
            return given.into();
        }
        let own = Path::new(env!("CARGO_BIN_EXE_maas-deployer"));
        let profile = own.parent().expect("folder of the profile");
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let status = Command::new(cargo)
            .args(["build", "--quiet", "--package", "stand-in-maas", "--manifest-path"])
            .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/../Cargo.toml"))
            .arg("--target-dir")
            .arg(profile.parent().expect("target folder"))
            .status()
            .expect("run cargo");
        assert!(status.success(), "the stand-in could not be built");
        profile.join("stand-in-maas")
    })
}

/// A region that runs. Dropped, it is killed.
pub(crate) struct Maas {
    child: Child,
    /// Up to `/MAAS`.
    pub(crate) url: String,
}

impl Maas {
    /// A region on the database that `world`'s jobs made; the settings name it from now on.
    pub(crate) fn start(world: &mut World, extra: &[(&str, &str)]) -> Self {
        let key = world.path("root/usr/share/keyrings/ubuntu-cloudimage-keyring.gpg");
        fixtures::write_file(&key, b"not used").expect("keyring");
        let mut command = Command::new(binary());
        command.args(["maas-region", "regiond", "--foreground", "--listen", "127.0.0.1:0"]);
        command.env("MAAS_DEFAULT_IMAGES_URL", "http://127.0.0.1:9/");
        command.env("STAND_IN_LOOK_MS", "100").env("STAND_IN_RETRY_MS", "200");
        command.envs(world.variables()).envs(extra.iter().copied());
        let log = File::create(world.path("regiond.log")).expect("log");
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log);
        let mut child = command.spawn().expect("start the stand-in");
        let mut lines = BufReader::new(child.stdout.take().expect("stdout")).lines();
        let line = lines.next().and_then(Result::ok).unwrap_or_else(|| {
            let log = std::fs::read_to_string(world.path("regiond.log")).unwrap_or_default();
            panic!("the stand-in does not start: {log}")
        });
        // Nobody needs the rest, and the pipe must not fill.
        std::thread::spawn(move || lines.for_each(drop));
        let url = format!("{}/MAAS", line.trim_start_matches("listening on "));
        world.settings["region"]["url"] = json!(url);
        Self { child, url }
    }

    /// Ends it as the kernel does.
    pub(crate) fn kill(&mut self) {
        self.child.kill().expect("kill");
        self.child.wait().expect("wait");
    }

    /// The first API key of a user.
    pub(crate) fn key_of(world: &World, user: &str) -> String {
        let output = Command::new(binary())
            .args(["maas-region", "apikey", "--username", user])
            .envs(world.variables())
            .output()
            .expect("apikey");
        let key = String::from_utf8(output.stdout).expect("text");
        key.lines().next().expect("a key").to_owned()
    }

    /// A region with an administrator, whose key is mounted; hidden from now on.
    pub(crate) fn with_key(world: &mut World, extra: &[(&str, &str)]) -> Self {
        world.job(&["create-admin"]).run().expect(0);
        let maas = Self::start(world, extra);
        let key = Self::key_of(world, "admin");
        world.hide(key.rsplit(':').next().expect("secret"));
        world.secret("secrets/api-key/token", &key);
        maas
    }

    /// A GET of the API as its administrator, by another client than the deployer's.
    pub(crate) fn get(&self, world: &World, path: &str) -> serde_json::Value {
        let text = self.call(world, &[], path);
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{path}: {error}: {text}"))
    }

    /// A call of the API as its administrator, as somebody makes it by hand; `args` are curl's.
    pub(crate) fn call(&self, world: &World, args: &[&str], path: &str) -> String {
        let key = std::fs::read_to_string(world.path("etc/secrets/api-key/token")).expect("key");
        let parts: Vec<&str> = key.trim().split(':').collect();
        let nonce = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .expect("time")
            .as_nanos();
        let header = format!(
            "Authorization: OAuth oauth_version=\"1.0\", oauth_signature_method=\"PLAINTEXT\", \
             oauth_consumer_key=\"{}\", oauth_token=\"{}\", oauth_signature=\"%26{}\", \
             oauth_nonce=\"{nonce}\", oauth_timestamp=\"{}\"",
            parts[0],
            parts[1],
            parts[2],
            nonce / 1_000_000_000
        );
        let output = Command::new("curl")
            .args(["--silent", "--show-error", "--fail-with-body", "--header", &header])
            .args(args)
            .arg(format!("{}/api/2.0/{path}", self.url))
            .output()
            .expect("curl");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{path}: {text}");
        text
    }
}

impl Drop for Maas {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
