//! A registry with images as a release has them, and another that is empty.

use std::path::{Path, PathBuf};
use std::process::Command;

use e2e::Registry;
use oci::digest::Digest;
use oci::layout::{INDEX, MANIFEST};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::Job;

/// The repositories of the images of a release with the small database.
pub(super) const NAMES: [&str; 4] =
    ["maas-deployer", "maas-rack-controller", "maas-region-controller", "postgres"];

/// Values with all of them.
pub(super) const VALUES: [&str; 2] = ["--set", "postgresql.enabled=true"];

/// An OCI layout in a folder, made by hand.
pub(super) struct Layout {
    pub(super) folder: TempDir,
    entries: Vec<Value>,
}

impl Layout {
    pub(super) fn new() -> Self {
        let folder = tempfile::tempdir().expect("folder");
        std::fs::create_dir_all(folder.path().join("blobs/sha256")).expect("blobs");
        let layout = r#"{"imageLayoutVersion":"1.0.0"}"#;
        std::fs::write(folder.path().join("oci-layout"), layout).expect("layout");
        Self { folder, entries: Vec::new() }
    }

    fn blob(&self, bytes: &[u8]) -> (String, usize) {
        let digest = Digest::of(bytes);
        let path = self.folder.path().join("blobs/sha256").join(digest.to_string());
        std::fs::write(path, bytes).expect("blob");
        (digest.to_oci(), bytes.len())
    }

    /// An image of one layer that holds a file with `content`.
    pub(super) fn image(&self, arch: &str, content: &[u8]) -> (String, usize) {
        let mut tar = oci::tar::Writer::new(Vec::new());
        tar.file("content", content).expect("tar");
        let (tar, diff_id, _) = tar.finish().expect("tar");
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        std::io::Write::write_all(&mut gzip, &tar).expect("gzip");
        let (layer, size) = self.blob(&gzip.finish().expect("gzip"));
        let config = json!({"architecture": arch, "os": "linux", "config": {},
            "rootfs": {"type": "layers", "diff_ids": [diff_id]}});
        let (config, config_size) = self.blob(config.to_string().as_bytes());
        let manifest = json!({"schemaVersion": 2, "mediaType": MANIFEST,
            "config": {"mediaType": "application/vnd.oci.image.config.v1+json",
                "digest": config, "size": config_size},
            "layers": [{"mediaType": "application/vnd.oci.image.layer.v1.tar+gzip",
                "digest": layer, "size": size}]});
        self.blob(manifest.to_string().as_bytes())
    }

    /// One image for several machines.
    pub(super) fn index(&self, images: &[(&str, (String, usize))]) -> (String, usize) {
        let manifests: Vec<Value> = images
            .iter()
            .map(|(arch, (digest, size))| {
                json!({"mediaType": MANIFEST, "digest": digest, "size": size,
                    "platform": {"architecture": arch, "os": "linux"}})
            })
            .collect();
        let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": manifests});
        self.blob(index.to_string().as_bytes())
    }

    /// Gives it a name.
    pub(super) fn name(&mut self, name: &str, kind: &str, (digest, size): &(String, usize)) {
        self.entries.push(json!({"mediaType": kind, "digest": digest, "size": size,
            "annotations": {"org.opencontainers.image.ref.name": name}}));
        let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": self.entries});
        std::fs::write(self.folder.path().join("index.json"), index.to_string()).expect("index");
    }
}

/// Runs skopeo without its policy's file and without TLS.
#[track_caller]
pub(super) fn skopeo(args: &[&str]) -> Vec<u8> {
    let output = Command::new("skopeo")
        .args(["--insecure-policy"])
        .args(args)
        .env_remove("REGISTRY_AUTH_FILE")
        .output()
        .expect("skopeo: install Debian's package of that name");
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

/// What `skopeo copy` copies, all of it.
#[track_caller]
pub(super) fn copy(from: &str, to: &str) {
    let tls = ["--src-tls-verify=false", "--dest-tls-verify=false"];
    skopeo(&[&["copy", "--all", "--quiet"], &tls[..], &[from, to]].concat());
}

/// The digest of what a registry has under a name.
#[track_caller]
pub(super) fn digest(registry: &str, name: &str) -> String {
    let url = format!("docker://{registry}/{name}");
    let raw = skopeo(&["inspect", "--raw", "--tls-verify=false", &url]);
    Digest::of(&raw).to_oci()
}

/// A registry that has the release's images below `boot/`, an empty one, and a
/// folder.
pub(super) struct Site {
    pub(super) from: Registry,
    pub(super) to: Registry,
    pub(super) folder: TempDir,
    /// Names with their tags, as the release has them.
    pub(super) images: Vec<String>,
}

impl Site {
    pub(super) fn new() -> Self {
        Self::with(&|_| b"small".to_vec())
    }

    /// `extra` is what else is in the layer of the image of that name.
    pub(super) fn with(extra: &dyn Fn(&str) -> Vec<u8>) -> Self {
        let (from, to) = (Registry::start(), Registry::start());
        let folder = tempfile::tempdir().expect("folder");
        let images = images(&[]);
        assert_eq!(images.len(), NAMES.len(), "{images:?}");
        let mut layout = Layout::new();
        for image in &images {
            let name = image.split(':').next().expect("name");
            let of = |arch: &str| [format!("{name} {arch}").as_bytes(), &extra(name)].concat();
            if name == "postgres" {
                let both = ["amd64", "arm64"].map(|arch| (arch, layout.image(arch, &of(arch))));
                let index = layout.index(&both);
                layout.name(image, INDEX, &index);
            } else {
                let one = layout.image("amd64", &of("amd64"));
                layout.name(image, MANIFEST, &one);
            }
        }
        let layout = layout.folder.path().display().to_string();
        for image in &images {
            let to = format!("docker://{}/boot/{image}", from.address());
            copy(&format!("oci:{layout}:{image}"), &to);
        }
        Self { from, to, folder, images }
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// `bundle FILE`, from the first registry.
    pub(super) fn make(&self, file: &Path, more: &[&str]) -> Job {
        let file = file.display().to_string();
        let source = format!("{}/boot", self.from.address());
        let own = ["bundle", &file, "--plain-http", "--registry", &source, "--no-program"];
        self.named(Job::verb(&[&own, &VALUES[..], more].concat()))
    }

    /// A bundle of that name, made.
    ///
    /// It has a program of some bytes in place of this one, which is large.
    #[track_caller]
    pub(super) fn made(&self, name: &str) -> PathBuf {
        let path = self.path(name);
        let program = self.path("maas-deployer");
        std::fs::write(&program, "#!/bin/sh\necho stand-in\n".repeat(20)).expect("write");
        let program = program.display().to_string();
        self.make(&path, &["--binary", &program]).run().expect(0);
        path
    }

    /// `bundle push FILE`, to the second registry.
    pub(super) fn push(&self, file: &Path, below: &str, more: &[&str]) -> Job {
        let destination = format!("{}/{below}", self.to.address());
        self.push_to(file, &destination, more)
    }

    pub(super) fn push_to(&self, file: &Path, destination: &str, more: &[&str]) -> Job {
        let file = file.display().to_string();
        let args = [&["bundle", "push", &file, destination, "--plain-http"], more];
        self.named(Job::verb(&args.concat()))
    }

    /// Names in place of what differs from run to run.
    fn named(&self, job: Job) -> Job {
        let folder = self.folder.path().display().to_string();
        job.named(self.from.address(), "SOURCE")
            .named(self.to.address(), "REGISTRY")
            .named(folder, "FOLDER")
    }
}

/// The images of a release, as `images` lists them.
#[track_caller]
pub(super) fn images(more: &[&str]) -> Vec<String> {
    let run = Job::verb(&[&["images"], &VALUES[..], more].concat()).run().expect(0);
    run.stdout.lines().map(str::to_owned).collect()
}
