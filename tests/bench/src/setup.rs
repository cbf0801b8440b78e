//! Upstreams and stores to measure on.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use fixtures::{Server, SigningKey, Stream, StreamSpec};
use tempfile::TempDir;

use crate::Result;
use crate::process::{maas_mirror, measure};

/// A signed upstream on loopback.
pub(crate) struct Upstream {
    folder: TempDir,
    server: Server,
}

impl Upstream {
    pub(crate) fn new(spec: &StreamSpec) -> Result<Self> {
        Self::of(&spec.build())
    }

    fn of(stream: &Stream) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        // apache gives up root.
        std::fs::set_permissions(folder.path(), Permissions::from_mode(0o755))?;
        let key = SigningKey::generate("Benchmark <bench@example.invalid>")?;
        stream.publish(&folder.path().join("tree"), &key)?;
        key.write_keyring(&folder.path().join("keyring.gpg"))?;
        let server = Server::start(folder.path().join("tree"))?;
        server.stop_log();
        Ok(Self { folder, server })
    }

    pub(crate) fn url(&self) -> String {
        self.server.url()
    }

    /// The folder that is served, readable for everybody.
    pub(crate) fn tree(&self) -> PathBuf {
        self.folder.path().join("tree")
    }

    pub(crate) fn keyring(&self) -> PathBuf {
        self.folder.path().join("keyring.gpg")
    }

    /// `maas-mirror sync` of everything to `store`.
    pub(crate) fn sync(&self, store: &Path) -> Result<Command> {
        let mut command = Command::new(maas_mirror()?);
        command.arg("sync").arg("--store").arg(store);
        command.args(["--max-versions", "all", "--upstream", &self.url(), "--keyring"]);
        command.arg(self.keyring()).args(["--", "path~."]);
        Ok(command)
    }

    /// A store that holds everything.
    pub(crate) fn store(&self) -> Result<TempDir> {
        let store = tempfile::tempdir()?;
        measure(&mut self.sync(&store.path().join("store"))?)?;
        Ok(store)
    }
}
