//! The way into a registry.

use std::path::Path;
use std::process::Command;

use e2e::{Proxy, Registry};
use rustix::process::Signal;

use super::making::noise;
use super::site::{Layout, Site, VALUES, copy, digest, images};
use crate::support::{Job, eventually};

#[test]
fn a_registry_gets_what_install_pulls_and_nothing_twice() {
    let site = Site::new();
    let path = site.made("b.tar");
    let run = site.push(&path, "site/maas", &["-o", "json"]).run().expect(0);
    assert_eq!(run.json()["schema"], "maas-deployer/bundle-push/1");
    // The names are those of a release that is installed with --registry.
    let there = format!("{}/site/maas", site.to.address());
    let named = images(&["--registry", &there]);
    assert_eq!(named.len(), site.images.len());
    for (name, image) in named.iter().zip(&site.images) {
        let (registry, rest) = name.split_once('/').unwrap();
        let original = digest(site.from.address(), &format!("boot/{image}"));
        assert_eq!(digest(registry, rest), original, "{name}");
    }
    // What is there is not sent again.
    let before = site.to.requests().len();
    let run = site.push(&path, "site/maas", &[]).run().expect(0);
    assert_eq!(run.stdout.matches("there already").count(), site.images.len() + 1);
    for method in ["POST", "PUT", "PATCH"] {
        assert_eq!(site.to.count(before, method, "/v2/"), 0, "{method}");
    }
}

#[test]
fn on_a_terminal_there_are_bars_and_then_only_what_was_done() {
    let site = Site::new();
    let path = site.made("b.tar");
    let running = site.push(&path, "site/maas", &[]).on_terminal(24);
    let shown = running.wait().expect(0).stdout;
    // Drawn over, and at the end taken away.
    assert!(shown.contains("\u{1b}[2K"), "{shown:?}");
    let (_, last) = shown.rsplit_once("\u{1b}[2K").expect("a line that was cleared");
    for image in &site.images {
        assert!(last.contains(&format!("site/maas/{image}: sent")), "{last:?}");
    }
}

#[test]
fn skopeo_copies_images_out_of_a_bundle_and_back() {
    let site = Site::new();
    let path = site.made("b.tar").display().to_string();
    let back = Registry::start();
    for image in &site.images {
        let original = digest(site.from.address(), &format!("boot/{image}"));
        let to = format!("docker://{}/peer/{image}", back.address());
        copy(&format!("oci-archive:{path}:{image}"), &to);
        assert_eq!(digest(back.address(), &format!("peer/{image}")), original, "{image}");
    }
    // And a bundle of what skopeo put there is made of the same content.
    let again = site.path("again.tar");
    let source = format!("{}/peer", back.address());
    let file = again.display().to_string();
    let own = ["bundle", &file, "--plain-http", "--registry", &source, "--no-program"];
    let args = [&own, &VALUES[..]];
    Job::verb(&args.concat()).run().expect(0);
    let digests = |file: &str| {
        let run = Job::verb(&["bundle", "inspect", file, "-o", "json"]).run().expect(0);
        let images = run.json()["images"].clone();
        images.as_array().unwrap().iter().map(|it| it["digest"].clone()).collect::<Vec<_>>()
    };
    assert_eq!(digests(&path), digests(&file));
}

#[test]
fn helm_pulls_the_chart_from_the_registry() {
    let helm = std::env::var_os("HELM").unwrap_or_else(|| "helm".into());
    let site = Site::new();
    let path = site.made("b.tar");
    site.push(&path, "site", &[]).run().expect(0);
    let chart = format!("oci://{}/site/charts/maas", site.to.address());
    let rendered = |args: &[&str]| {
        let output = Command::new(&helm)
            .args(["template", "maas", "--kube-version", "1.33.0"])
            .args(args)
            .args(VALUES)
            .current_dir(site.folder.path())
            .output()
            .expect("helm: make cluster-up builds one; HELM names it");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    let pulled = rendered(&[&chart, "--plain-http"]);
    let room = Path::new(env!("CARGO_MANIFEST_DIR")).join("../chart");
    assert_eq!(pulled, rendered(&[&room.display().to_string()]));
}

#[test]
fn a_dry_run_says_what_is_missing_and_sends_nothing() {
    let site = Site::new();
    let path = site.made("b.tar");
    let run = site.push(&path, "x", &["--dry-run"]).run().expect(0);
    assert!(run.stdout.contains("would send"), "{}", run.stdout);
    for method in ["POST", "PUT"] {
        assert_eq!(site.to.count(0, method, "/v2/"), 0, "{method}");
    }
}

#[test]
fn a_push_that_was_cut_short_goes_on_and_tags_nothing_incomplete() {
    let site = Site::with(&|name| if name == "maas-deployer" { noise(3_000_000) } else { vec![] });
    let path = site.made("b.tar");
    let proxy = Proxy::before(site.to.address());
    proxy.cut_uploads(1_000_000, 1000);
    let destination = format!("{}/x", proxy.address());
    let running = site.push_to(&path, &destination, &["--retries", "100"]).spawn();
    eventually("it to try again", || running.stderr().contains("trying again"));
    running.signal(Signal::TERM);
    let run = running.wait().expect(143);
    assert!(run.stderr.contains("run the same command again to go on"), "{}", run.stderr);
    // Its name names nothing yet.
    let tag = format!("/v2/x/{}/manifests/", site.images[0].split(':').next().unwrap());
    assert_eq!(site.to.count(0, "PUT", &tag), 0);
    proxy.cut_uploads(0, 0);
    let before = site.to.requests().len();
    site.push_to(&path, &destination, &[]).run().expect(0);
    let image = &site.images[0];
    let original = digest(site.from.address(), &format!("boot/{image}"));
    assert_eq!(digest(site.to.address(), &format!("x/{image}")), original);
    // And once more: what that run sent is there.
    assert!(site.to.count(before, "PUT", "/v2/") > 0);
    let before = site.to.requests().len();
    site.push_to(&path, &destination, &[]).run().expect(0);
    assert_eq!(site.to.count(before, "PUT", "/v2/"), 0);
}

#[test]
fn an_upload_that_breaks_is_made_again() {
    let site = Site::with(&|name| if name == "maas-deployer" { noise(3_000_000) } else { vec![] });
    let path = site.made("b.tar");
    let proxy = Proxy::before(site.to.address());
    proxy.cut_uploads(1_000_000, 2);
    let run = site.push_to(&path, &format!("{}/x", proxy.address()), &[]).run().expect(0);
    assert!(run.stderr.contains("trying again"), "{}", run.stderr);
    assert_eq!(proxy.cuts_left(), 0);
}

#[test]
fn what_could_be_sent_is_there_where_the_rest_could_not() {
    let site = Site::with(&|name| if name == "maas-deployer" { noise(3_000_000) } else { vec![] });
    let path = site.made("b.tar");
    let proxy = Proxy::before(site.to.address());
    proxy.cut_uploads(1_000_000, 1000);
    let destination = format!("{}/x", proxy.address());
    let run = site.push_to(&path, &destination, &["--retries", "0"]).run().expect(3);
    let told = run.message();
    assert!(told.contains("because 1 of 5 images is not there\n"), "{told}");
    assert!(told.contains("then run it again: it goes on from there"), "{told}");
    let (lost, sent): (Vec<_>, Vec<_>) =
        site.images.iter().partition(|image| image.starts_with("maas-deployer:"));
    assert_eq!(lost.len(), 1);
    for image in sent {
        let original = digest(site.from.address(), &format!("boot/{image}"));
        assert_eq!(digest(site.to.address(), &format!("x/{image}")), original);
        assert!(run.stdout.contains(&format!("x/{image}: sent")), "{}", run.stdout);
    }
    let tag = "/v2/x/maas-deployer/manifests/";
    assert_eq!(site.to.count(0, "PUT", tag), 0, "nothing incomplete has a name");
    // The next run sends what is missing.
    proxy.cut_uploads(0, 0);
    let run = site.push_to(&path, &destination, &[]).run().expect(0);
    assert_eq!(run.stdout.matches("there already").count(), site.images.len());
}

/// A registry may know one repository less than the others: by rights, by a quota, by its disk.
#[test]
fn an_image_that_cannot_be_asked_about_keeps_no_other_back() {
    let site = Site::new();
    let path = site.made("b.tar");
    let (lost, others) = site.images.split_first().unwrap();
    let (repository, _) = lost.split_once(':').unwrap();
    // A file where the registry looks for a folder, which it answers with 500.
    let broken = site.to.repository("x").join(repository);
    std::fs::create_dir_all(broken.parent().unwrap()).unwrap();
    std::fs::write(&broken, "").unwrap();
    let push = || site.push(&path, "x", &["--retries", "0"]).run();
    let run = push().expect(3);
    let told = run.message();
    assert!(told.contains("because 1 of 5 images is not there\n"), "{told}");
    assert!(told.contains(&format!("x/{lost}")) && told.contains("answered 500"), "{told}");
    for image in others {
        let original = digest(site.from.address(), &format!("boot/{image}"));
        assert_eq!(digest(site.to.address(), &format!("x/{image}")), original);
        assert!(run.stdout.contains(&format!("x/{image}: sent")), "{}", run.stdout);
    }
    std::fs::remove_file(&broken).unwrap();
    let run = push().expect(0);
    assert_eq!(run.stdout.matches("there already").count(), site.images.len());
}

#[test]
fn layers_that_images_share_are_mounted() {
    let site = Site::new();
    let path = site.path("b.tar");
    // Another name for an image that is there: all its layers are another's.
    let mut layout = Layout::new();
    let base = layout.image("amd64", b"shared");
    layout.name("a", oci::layout::MANIFEST, &base);
    let folder = layout.folder.path().display().to_string();
    for name in [&site.images[0], &site.images[1]] {
        let to = format!("docker://{}/boot/{name}", site.from.address());
        copy(&format!("oci:{folder}:a"), &to);
    }
    site.make(&path, &[]).run().expect(0);
    site.push(&path, "x", &[]).run().expect(0);
    assert!(site.to.count(0, "POST", "mount=sha256:") >= 2);
    assert_eq!(digest(site.to.address(), &format!("x/{}", site.images[1])), base.0);
}

#[test]
fn a_registry_that_cannot_be_reached_is_told_at_once() {
    let site = Site::new();
    let path = site.made("b.tar");
    let job = site.push_to(&path, "127.0.0.1:1/x", &["--retries", "0"]);
    job.run().failed(1, "bundle-push-unreachable");
    let file = path.display().to_string();
    let tls = Job::verb(&["bundle", "push", &file, site.to.address(), "--retries", "0"]);
    tls.named(file, "FILE").run().failed(1, "bundle-push-no-tls");
}

#[test]
fn a_registry_asks_for_a_login() {
    let site = Site::new();
    let path = site.made("b.tar");
    let closed = Registry::with_login();
    let folder = tempfile::tempdir().unwrap();
    let none = folder.path().join("none.json");
    let push = |auth: &Path| {
        site.push_to(&path, &format!("{}/x", closed.address()), &["--retries", "0"])
            .named(folder.path().display().to_string(), "LOGINS")
            .env("REGISTRY_AUTH_FILE", auth)
            .hiding(&[e2e::PASSWORD.to_owned()])
    };
    push(&none).run().failed(1, "bundle-push-login");
    let file = |name: &str, password: &str| {
        use base64::Engine as _;
        let login = format!("{}:{password}", e2e::USER);
        let login = base64::engine::general_purpose::STANDARD.encode(login);
        let path = folder.path().join(name);
        let auths = serde_json::json!({"auths": {closed.address(): {"auth": login}}});
        std::fs::write(&path, auths.to_string()).unwrap();
        path
    };
    push(&file("wrong.json", "another")).run().failed(1, "bundle-push-wrong-login");
    push(&file("right.json", e2e::PASSWORD)).run().expect(0);
}

#[test]
fn a_registry_with_a_ca_of_its_own() {
    let site = Site::new();
    let path = site.made("b.tar");
    let certificate = fixtures::Certificate::generate().unwrap();
    let registry = Registry::with_tls(&certificate);
    let ca = site.path("ca.pem");
    std::fs::write(&ca, &certificate.ca_pem).unwrap();
    let (file, ca) = (path.display().to_string(), ca.display().to_string());
    let to = format!("{}/x", registry.address());
    let push = |more: &[&str]| Job::verb(&[&["bundle", "push", &file, &to], more].concat());
    let run = push(&["--retries", "0"]).run().expect(1);
    assert!(run.message().contains("--ca-file"), "{}", run.message());
    push(&["--ca-file", &ca]).run().expect(0);
}
