//! A pod of a test's own: mounted secrets, settings, programs of the image.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use fixtures::Postgres;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::run::Job;

/// The name and password of MAAS's user, unless a test has others.
pub(crate) const USER: &str = "maas";
/// A password with what breaks naive quoting.
pub(crate) const PASSWORD: &str = "Pä$$'w\"o;r\\d %40&:#{}-test";
/// The administrator's password.
pub(crate) const ADMIN_PASSWORD: &str = "adm'in \"pa$$ wörd;&%:#";
/// The shared secret.
pub(crate) const SHARED: &str = "00112233445566778899aabbccddeeff";

/// A pod of a test's own.
pub(crate) struct World {
    dir: TempDir,
    /// What the chart would give all jobs.
    pub(crate) settings: Value,
    /// Texts that no output may show.
    secrets: Vec<String>,
    /// Variables of every run.
    env: BTreeMap<String, String>,
}

impl World {
    /// A pod that has its own user's secrets, and no settings.
    pub(crate) fn new() -> Self {
        let dir = tempfile::Builder::new().prefix("deployer-").tempdir().expect("folder");
        let mut world =
            Self { dir, settings: json!({}), secrets: Vec::new(), env: BTreeMap::new() };
        for folder in ["etc", "bin", "root/etc/maas", "root/var/lib/maas"] {
            std::fs::create_dir_all(world.path(folder)).expect("folder");
        }
        std::fs::write(world.path("root/etc/group"), "maas:x:999:\n").expect("group");
        world.set_release();
        world.public("secrets/db-user/DATABASE_USERNAME", USER);
        world.secret("secrets/db-user/DATABASE_PASSWORD", PASSWORD);
        world.public("secrets/admin/USERNAME", "admin");
        world.public("secrets/admin/EMAIL", "admin@localhost");
        world.secret("secrets/admin/PASSWORD", ADMIN_PASSWORD);
        world.secret("secrets/region/REGION_SECRET", SHARED);
        world.env("MAAS_ROOT", world.path("root"));
        world.env("MAAS_REGION_CONFIG", world.path("root/etc/maas/regiond.conf"));
        world.env("STAND_IN_MIGRATION_MS", "0");
        // No cluster unless a test gives one.
        world.env("KUBECONFIG", world.path("no-kubeconfig"));
        world.image_version("1:3.6.4-17623-g0ab1c2");
        world
    }

    /// A pod whose database is `server`'s; nothing is in it yet.
    pub(crate) fn with_server(server: &Postgres) -> Self {
        let mut world = Self::new();
        world.use_server(server, "maasdb");
        world
    }

    /// Points the settings at a server.
    pub(crate) fn use_server(&mut self, server: &Postgres, database: &str) {
        self.settings["database"] = json!({"host": server.host(), "port": server.port(),
            "name": database, "tls": {"mode": "disable"}});
        self.public("secrets/db-admin/DATABASE_USERNAME", server.superuser());
        self.secret("secrets/db-admin/DATABASE_PASSWORD", server.password());
        self.settings["region"] = json!({"url": "http://127.0.0.1:9/MAAS",
            "maas_url": "http://maas.example.org/MAAS", "statefulset": "maas-region"});
    }

    fn set_release(&mut self) {
        self.settings["release"] = json!({"name": "maas", "namespace": "maas", "fullname": "maas"});
    }

    /// A path in the test's folder.
    pub(crate) fn path(&self, below: &str) -> PathBuf {
        self.dir.path().join(below)
    }

    /// A variable of every run.
    pub(crate) fn env(&mut self, name: &str, value: impl AsRef<Path>) {
        self.env.insert(name.to_owned(), value.as_ref().to_str().expect("text").to_owned());
    }

    /// A mounted file that is no secret.
    pub(crate) fn public(&self, below: &str, content: impl AsRef<[u8]>) {
        fixtures::write_file(&self.path("etc").join(below), content.as_ref()).expect("mount");
    }

    /// A mounted secret.
    pub(crate) fn secret(&mut self, below: &str, text: &str) {
        self.public(below, text);
        self.hide(text);
    }

    /// A text that no output may show.
    pub(crate) fn hide(&mut self, text: &str) {
        self.secrets.push(text.to_owned());
    }

    /// A program of the image.
    pub(crate) fn program(&self, name: &str, script: &str) {
        let path = self.path("bin").join(name);
        std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).expect("program");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).expect("mode");
    }

    /// What dpkg says of MAAS's package; and the stand-in follows.
    pub(crate) fn image_version(&mut self, version: &str) {
        self.program("dpkg-query", &format!("printf '%s' '{version}'"));
        let upstream = version.rsplit(':').next().and_then(|v| v.split('-').next());
        self.env("STAND_IN_VERSION", upstream.expect("version"));
    }

    /// Has the stand-in for `maas-region` and `maas-rack` on the path.
    pub(crate) fn stand_in(&self) {
        let binary = super::maas::binary();
        for name in ["maas-region", "maas-rack"] {
            let script = format!("exec '{}' {name} \"$@\"", binary.display());
            self.program(name, &script);
        }
        self.program("systemctl", "exit 0");
    }

    /// A run of a job.
    pub(crate) fn job(&self, args: &[&str]) -> Job {
        let path =
            format!("{}:{}", self.path("bin").display(), std::env::var("PATH").expect("PATH"));
        let mut job = Job::new(args)
            .env("PATH", path)
            .env("MAAS_DEPLOYER_ETC", self.path("etc"))
            .env("MAAS_DEPLOYER_SETTINGS", self.settings.to_string())
            .named(self.dir.path().display().to_string(), "DIR")
            .hiding(&self.secrets);
        for (name, value) in &self.env {
            job = job.env(name, value);
        }
        job
    }

    /// A run of a verb that is no job.
    pub(crate) fn verb(&self, args: &[&str]) -> Job {
        let mut job = Job::verb(args).named(self.dir.path().display().to_string(), "DIR");
        for (name, value) in &self.env {
            job = job.env(name, value);
        }
        job.env("USER", "tester").hiding(&self.secrets)
    }

    /// Runs db-init and db-sync.
    pub(crate) fn made_database(&self) {
        self.job(&["db-init"]).run().expect(0);
        self.job(&["db-sync"]).run().expect(0);
    }

    /// What a run of every job gets.
    pub(crate) fn variables(&self) -> &BTreeMap<String, String> {
        &self.env
    }
}
