//! A bundle that is made.

use e2e::Proxy;
use rustix::process::Signal;

use super::site::{Layout, Site, digest};
use crate::support::{Job, eventually};

#[test]
fn the_same_images_give_the_same_bytes() {
    let site = Site::new();
    let (one, two) = (site.made("one.tar"), site.made("two.tar"));
    assert!(std::fs::read(&one).unwrap() == std::fs::read(&two).unwrap());
    // What is there is not written over unasked.
    site.make(&one, &[]).run().failed(5, "bundle-exists");
    site.make(&one, &["--force"]).run().expect(0);
    let run = site.make(&one, &["--force", "-o", "json"]).run().expect(0);
    let report = run.json();
    let bytes = std::fs::read(&one).unwrap();
    assert_eq!(report["sha256"], e2e::sha256(&bytes));
    assert_eq!(report["bytes"], bytes.len());
}

/// A device would be gone, and a file in its place.
#[test]
fn a_bundle_takes_the_place_of_nothing_but_a_file() {
    let site = Site::new();
    let (pipe, link) = (site.path("pipe"), site.path("link"));
    crate::support::fifo(&pipe);
    site.make(&pipe, &["--force"]).run().failed(5, "bundle-no-file");
    assert!(crate::support::is_fifo(&pipe));
    std::os::unix::fs::symlink(site.path("none"), &link).unwrap();
    site.make(&link, &["--force"]).run().expect(5);
    assert!(link.is_symlink());
    // Nor where a bundle is unpacked.
    let path = site.made("b.tar").display().to_string();
    let out = site.path("out");
    std::fs::create_dir(&out).unwrap();
    crate::support::fifo(&out.join("README.md"));
    Job::verb(&["bundle", "unpack", &path, &out.display().to_string()]).run().expect(5);
    assert!(crate::support::is_fifo(&out.join("README.md")));
}

#[test]
fn a_dry_run_says_what_would_be_in_it_and_writes_nothing() {
    let site = Site::new();
    let path = site.path("b.tar");
    let run = site.make(&path, &["--dry-run", "-o", "json"]).run().expect(0);
    let dry = run.json();
    assert!(!path.exists());
    let run = site.make(&path, &["-o", "json"]).run().expect(0);
    assert_eq!(dry["bytes"], run.json()["bytes"]);
    assert_eq!(dry["images"], run.json()["images"]);
}

#[test]
fn inspect_says_what_is_in_it_and_the_readme_what_to_do() {
    let site = Site::new();
    let path = site.path("b.tar");
    let own = env!("CARGO_BIN_EXE_maas-deployer");
    site.make(&path, &["--binary", own]).run().expect(0);
    let file = path.display().to_string();
    let run = Job::verb(&["bundle", "inspect", &file, "--verify", "-o", "json"]).run().expect(0);
    let listed = run.json();
    assert_eq!(listed["schema"], "maas-deployer/bundle/1");
    assert_eq!(listed["verified"], true);
    for (listed, image) in listed["images"].as_array().unwrap().iter().zip(&site.images) {
        assert_eq!(listed["name"].as_str(), Some(image.as_str()));
        let there = digest(site.from.address(), &format!("boot/{image}"));
        assert_eq!(listed["digest"].as_str(), Some(there.as_str()));
    }
    let postgres = &listed["images"][3];
    assert_eq!(postgres["platforms"], serde_json::json!(["linux/amd64", "linux/arm64"]));
    // The first file of the archive tells a person what to do, and how to get the program.
    let archive = e2e::read_tar(&std::fs::read(&path).unwrap());
    assert_eq!(archive[0].name, "README.md");
    let readme = String::from_utf8(archive[0].bytes.clone()).unwrap();
    let program = listed["files"][0]["digest"].as_str().unwrap().replace("sha256:", "");
    assert!(readme.contains(&format!("tar -xOf BUNDLE blobs/sha256/{program}")), "{readme}");
    assert!(readme.contains("bundle push BUNDLE REGISTRY"), "{readme}");
    let program = archive.iter().find(|entry| entry.name.ends_with(&program)).unwrap();
    assert!(program.bytes == std::fs::read(own).unwrap());
}

#[test]
fn images_that_are_not_there_are_all_named_at_once() {
    let site = Site::new();
    let path = site.path("b.tar");
    let source = format!("{}/elsewhere", site.from.address());
    let job = Job::verb(&[
        "bundle",
        &path.display().to_string(),
        "--plain-http",
        "--no-program",
        "--registry",
        &source,
        "--set",
        "postgresql.enabled=true",
    ]);
    let job = job.named(site.from.address(), "SOURCE");
    job.named(site.folder.path().display().to_string(), "FOLDER").run().failed(5, "bundle-missing");
    assert_eq!(std::fs::read_dir(site.folder.path()).unwrap().count(), 0);
}

#[test]
fn machines_that_are_asked_for_alone_come_along() {
    let site = Site::new();
    let path = site.path("b.tar");
    let run = site.make(&path, &["--arch", "amd64", "-o", "json"]).run().expect(0);
    let listed = run.json();
    assert_eq!(listed["images"][3]["platforms"], serde_json::json!(["linux/amd64"]));
    site.push(&path, "x", &[]).run().expect(0);
    // One of an index is the image itself: its digest is upstream's.
    let image = &site.images[3];
    let there = digest(site.to.address(), &format!("x/{image}"));
    assert_eq!(listed["images"][3]["digest"].as_str(), Some(there.as_str()));
    assert_ne!(there, digest(site.from.address(), &format!("boot/{image}")));
    // The others are for amd64 alone.
    let again = site.path("c.tar");
    site.make(&again, &["--arch", "arm64"]).run().failed(5, "bundle-no-arch");
}

#[test]
fn a_download_that_is_cut_goes_on_where_it_was() {
    let site = Site::with(&|_| noise(3_000_000));
    let proxy = Proxy::before(site.from.address());
    let path = site.path("b.tar");
    proxy.cut_downloads(1_000_000, 2);
    let source = format!("{}/boot", proxy.address());
    let run = Job::verb(&[
        "bundle",
        &path.display().to_string(),
        "--plain-http",
        "--no-program",
        "--registry",
        &source,
        "--set",
        "postgresql.enabled=true",
    ]);
    run.run().expect(0);
    assert_eq!(proxy.cuts_left(), 0);
    let again = site.requests_with_ranges();
    assert!(again > 0, "no request went on where another was cut");
    let file = path.display().to_string();
    Job::verb(&["bundle", "inspect", &file, "--verify"]).run().expect(0);
}

/// A registry that has a few bytes more for each try would hold the bundle for ever.
#[test]
fn a_download_that_gets_nowhere_is_given_up() {
    let site = Site::with(&|_| noise(3_000_000));
    let proxy = Proxy::before(site.from.address());
    let path = site.path("b.tar");
    proxy.cut_downloads(20_000, 1000);
    let source = format!("{}/boot", proxy.address());
    let args = ["--plain-http", "--no-program", "--registry", &source, "--retries", "2"];
    let values = ["--set", "postgresql.enabled=true"];
    let file = path.display().to_string();
    let run = Job::verb(&[&["bundle", &file], &args[..], &values].concat()).run().expect(1);
    assert!(run.message().contains("because cannot copy "), "{}", run.message());
    assert_eq!(1000 - proxy.cuts_left(), 3, "one try, and two more");
    assert!(!path.exists());
}

#[test]
fn a_signal_leaves_nothing_behind() {
    let site = Site::with(&|_| noise(2_000_000));
    let proxy = Proxy::before(site.from.address());
    // Each connection is cut: it cannot end by itself.
    proxy.cut_downloads(500_000, 1000);
    let path = site.path("b.tar");
    let source = format!("{}/boot", proxy.address());
    let running = Job::verb(&[
        "bundle",
        &path.display().to_string(),
        "--plain-http",
        "--no-program",
        "--registry",
        &source,
        "--retries",
        "100",
        "--set",
        "postgresql.enabled=true",
    ])
    .spawn();
    eventually("it to try again", || running.stderr().contains("trying again"));
    running.signal(Signal::INT);
    let run = running.wait().expect(130);
    assert!(run.stderr.contains("interrupted: nothing of the bundle is left"), "{}", run.stderr);
    assert_eq!(std::fs::read_dir(site.folder.path()).unwrap().count(), 0);
}

#[test]
fn what_does_not_fit_is_refused_before_anything_is_fetched() {
    let Some(disk) = e2e::Tmpfs::mount("1m") else { return };
    let site = Site::with(&|_| noise(2_000_000));
    let run = site.make(&disk.path().join("b.tar"), &[]).run().expect(5);
    assert!(run.message().contains("has room for"), "{}", run.message());
    assert_eq!(std::fs::read_dir(disk.path()).unwrap().count(), 0);
}

#[test]
fn an_image_by_its_digest_keeps_it() {
    let site = Site::new();
    let image = &site.images[3];
    let index = digest(site.from.address(), &format!("boot/{image}"));
    let pinned = format!("images.tags.postgresql=postgres@{index}");
    let path = site.path("b.tar");
    site.make(&path, &["--set", &pinned]).run().expect(0);
    site.push(&path, "x", &[]).run().expect(0);
    assert_eq!(digest(site.to.address(), &format!("x/postgres@{index}")), index);
    // The digest of the whole index would not hold for a part of it.
    let run =
        site.make(&site.path("c.tar"), &["--set", &pinned, "--arch", "amd64"]).run().expect(5);
    assert!(run.message().contains("--arch cannot narrow it"), "{}", run.message());
}

#[test]
fn images_of_objects_that_the_values_hold_come_along_with_a_warning() {
    let site = Site::new();
    let mut layout = Layout::new();
    let image = layout.image("amd64", b"extra");
    layout.name("tool:1", oci::layout::MANIFEST, &image);
    let address = site.from.address().to_owned();
    let folder = layout.folder.path().display().to_string();
    super::site::copy(&format!("oci:{folder}:tool:1"), &format!("docker://{address}/x/tool:1"));
    let values = site.path("extra.yaml");
    std::fs::write(
        &values,
        format!(
            "extraObjects:\n- apiVersion: v1\n  kind: Pod\n  metadata: {{name: extra}}\n  \
             spec: {{containers: [{{name: a, image: '{address}/x/tool:1'}}]}}\n"
        ),
    )
    .unwrap();
    let path = site.path("b.tar");
    let run = site.make(&path, &["-f", &values.display().to_string()]).run().expect(0);
    assert!(run.stderr.contains("so name it there as REGISTRY/x/tool:1"), "{}", run.stderr);
    site.push(&path, "", &[]).run().expect(0);
    assert_eq!(digest(site.to.address(), "x/tool:1"), image.0);
}

/// Bytes that no compression makes fewer.
pub(super) fn noise(length: usize) -> Vec<u8> {
    let mut state = 88_172_645_463_325_252_u64;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend(state.to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}

impl Site {
    /// How many of the first registry's answers were parts of a blob.
    fn requests_with_ranges(&self) -> usize {
        let requests = self.from.requests();
        requests.iter().filter(|request| request.ends_with(" 206")).count()
    }
}
