//! A registry as target and as upstream: Debian's docker-registry, and skopeo beside it.

use std::path::{Path, PathBuf};
use std::process::Command;

use e2e::{Held, Mirror, PASSWORD, Registry, Run, Serving, USER, World, eventually};
use fixtures::{Certificate, Release, StreamSpec};

/// An export of the world's store, which tries nothing twice.
pub(crate) fn export(world: &World, url: &str) -> Mirror {
    world.mirror("export").args([url, "--plain-http"]).env("MAAS_MIRROR_RETRIES", "0")
}

/// A sync from a registry to a store of its own.
pub(crate) fn replica(world: &World, url: &str) -> Mirror {
    world.sync_to(&replica_store(world), url).args(["--plain-http"])
}

pub(crate) fn replica_store(world: &World) -> PathBuf {
    world.dir().join("replica")
}

/// A mirrored world, and a registry that its snapshot was pushed to.
pub(crate) fn pushed() -> (World, Held, Registry, String) {
    let (world, held) = World::held();
    let registry = Registry::start();
    let url = registry.url("maas/images");
    export(&world, &url).run().expect(0);
    (world, held, registry, url)
}

pub(crate) fn skopeo(args: &[&str]) {
    let run = Command::new("skopeo").arg("--insecure-policy").args(args).output();
    let run = run.expect("skopeo: install Debian's package of that name");
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
}

#[test]
fn there_and_back() {
    let (world, held, registry, url) = pushed();
    let before = registry.requests().len();
    let again = export(&world, &url).args(["-o", "json"]).run().expect(0).json();
    assert_eq!(again["changed"], false, "{again}");
    assert_eq!(again["sent_blobs"], 0, "{again}");
    assert_eq!(again["snapshot"], format!("sha256:{}", held.snapshot.replace("sha256:", "")));
    for method in ["POST", "PUT", "PATCH"] {
        assert_eq!(registry.count(before, method, "/"), 0, "{:?}", registry.requests());
    }

    replica(&world, &url).run().expect(0);
    let copy = Held::at(&world, &replica_store(&world));
    assert_eq!(copy.snapshot, held.snapshot);
    assert_eq!(copy.files, held.files);
    held.assert_stands_at(&world, &replica_store(&world));

    // Nothing new: one request, which has no body.
    let before = registry.requests().len();
    let report = replica(&world, &url).args(["-o", "json"]).run().expect(0).json();
    assert_eq!(report["changed"], false, "{report}");
    assert_eq!(report["fetched_bytes"], 0, "{report}");
    let requests = registry.requests().split_off(before);
    assert_eq!(requests, ["HEAD /v2/maas/images/manifests/current 200"]);
}

#[test]
fn by_digest_and_by_import() {
    let (world, held, registry, url) = pushed();
    let digest = held.snapshot.trim_start_matches("sha256:");
    let store = world.dir().join("imported");
    let import = |url: &str| {
        let run = world.at("import", &store).args([url, "--plain-http"]);
        run.args(world.keyring_args()).run()
    };
    import(&format!("oci://{}/maas/images@sha256:{digest}", registry.address())).expect(0);
    assert_eq!(Held::at(&world, &store).snapshot, held.snapshot);
    // The digest says it all, and the store has it.
    let before = registry.requests().len();
    import(&format!("oci://{}/maas/images@sha256:{digest}", registry.address())).expect(0);
    assert_eq!(registry.requests().len(), before);
    import(&url).expect(0);
    held.assert_stands_at(&world, &store);
    let none =
        import(&format!("oci://{}/maas/images@sha256:{}", registry.address(), "0".repeat(64)));
    let none = none.expect(1);
    assert!(none.stderr.contains("the registry knows no such name or tag"), "{}", none.stderr);
}

#[test]
fn a_replica_follows_a_tag() {
    let (mut world, old, registry, url) = pushed();
    let serve = world.at("serve", &replica_store(&world)).args(world.keyring_args());
    let serve = serve.args(["--listen", "127.0.0.1:0", "--upstream", &url, "--every", "1s"]);
    let serving = Serving::ready(serve.args(["--plain-http"]));
    old.assert_served_by(&serving);
    world.stream.add_version("20211015").expect("version");
    world.publish();
    world.sync().run().expect(0);
    let new = Held::by(&world);
    export(&world, &url).run().expect(0);
    let squashfs = "/images/xenial/amd64/20211015/squashfs";
    eventually("the new version", || serving.get(squashfs).status == 200);
    new.assert_served_by(&serving);
    let asks = |times| registry.count(0, "HEAD", "/manifests/current 200") >= times;
    let now = registry.count(0, "HEAD", "/manifests/current 200");
    eventually("two more looks at the tag", || asks(now + 2));
    serving.stop();
    assert_eq!(Held::at(&world, &replica_store(&world)).snapshot, new.snapshot);
    // Nothing was fetched twice: neither items nor manifests that did not change.
    let mut fetched: Vec<_> = registry.requests();
    fetched.retain(|request| request.starts_with("GET") && request.contains("sha256:"));
    let all = fetched.len();
    fetched.sort();
    fetched.dedup();
    assert_eq!(fetched.len(), all);
}

#[test]
fn a_tag_that_goes_back_is_refused() {
    let (mut world, old, registry, url) = pushed();
    replica(&world, &url).run().expect(0);
    world.stream.add_version("20211015").expect("version");
    world.publish();
    world.sync().run().expect(0);
    export(&world, &url).run().expect(0);
    replica(&world, &url).run().expect(0);
    let new = Held::at(&world, &replica_store(&world));
    assert_ne!(new.snapshot, old.snapshot);
    let digest = old.snapshot.trim_start_matches("sha256:");
    let image = format!("docker://{}/maas/images", registry.address());
    skopeo(&[
        "copy",
        "--all",
        "--src-tls-verify=false",
        "--dest-tls-verify=false",
        &format!("{image}@sha256:{digest}"),
        &format!("{image}:current"),
    ]);
    replica(&world, &url).run().failed(4, "registry-older");
    new.assert_stands_at(&world, &replica_store(&world));
    replica(&world, &url).args(["--allow-older"]).run().expect(0);
    old.assert_stands_at(&world, &replica_store(&world));
}

#[test]
fn a_push_needs_a_tag() {
    let (world, held, registry, _url) = pushed();
    let digest = held.snapshot.trim_start_matches("sha256:");
    let before = registry.requests().len();
    let url = format!("oci://{}/maas@sha256:{digest}", registry.address());
    assert!(export(&world, &url).run().expect(64).stderr.contains("a push needs a tag"));
    for args in [["--since", "1234"], ["--split", "dvd"]] {
        export(&world, &registry.url("maas")).args(args).run().expect(64);
    }
    assert_eq!(registry.requests().len(), before);
}

#[test]
fn what_the_snapshot_holds_is_what_a_replica_takes() {
    let spec = StreamSpec::new().releases(&[Release::Xenial, Release::Bionic]).version_count(3);
    let world = World::of(&spec);
    // Two of three versions of two releases; no choice of the replica's own.
    world.sync().args(["--arch", "amd64", "--max-versions", "2"]).run().expect(0);
    let held = Held::by(&world);
    let registry = Registry::start();
    let url = registry.url("maas");
    export(&world, &url).run().expect(0);
    replica(&world, &url).run().expect(0);
    assert_eq!(Held::at(&world, &replica_store(&world)).snapshot, held.snapshot);
    // A choice restricts it; the rest goes by what is held, not by what is listed.
    let of = |args: &[&str]| {
        let store = world.dir().join("chosen");
        let run = world.sync_to(&store, &url).args(["--plain-http"]).args(args);
        run.run().expect(0);
        let held = Held::at(&world, &store);
        std::fs::remove_dir_all(store).expect("remove");
        held.files.into_keys().filter(|path| !path.starts_with("streams/")).collect::<Vec<_>>()
    };
    let bionic = of(&["--release", "bionic"]);
    assert!(bionic.iter().any(|path| path.starts_with("bionic/")));
    assert!(!bionic.iter().any(|path| path.starts_with("xenial/")));
    assert!(bionic.iter().all(|path| held.files.contains_key(path)));
    let all = held.files.keys().filter(|path| path.starts_with("bionic/")).count();
    assert_eq!(bionic.iter().filter(|path| path.starts_with("bionic/")).count(), all);
    let newest = of(&["--max-versions", "1"]);
    assert!(newest.len() < held.files.len() - 3 && !newest.is_empty());
    // What it lacks cannot be chosen.
    let store = world.dir().join("none");
    let run = world.sync_to(&store, &url).args([
        "--plain-http",
        "--release",
        "noble",
        "--no-bootloaders",
    ]);
    assert!(run.run().expect(1).stderr.contains("matches nothing"));
}

#[test]
fn an_export_of_a_choice() {
    let spec = StreamSpec::new().releases(&[Release::Xenial, Release::Bionic]);
    let world = World::of(&spec);
    world.sync().args(["--arch", "amd64"]).run().expect(0);
    let registry = Registry::start();
    let url = registry.url("maas:bionic");
    let run = export(&world, &url).args(["--release", "bionic", "--no-bootloaders"]);
    run.args(world.keyring_args()).run().expect(0);
    replica(&world, &url).run().expect(0);
    let files = Held::at(&world, &replica_store(&world)).files;
    assert!(files.keys().any(|path| path.starts_with("bionic/")));
    assert!(files.keys().all(|path| path.starts_with("bionic/") || path.starts_with("streams/")));
}

/// Items that were not chosen come from the registry when they are asked for; what the metadata
/// lists and the snapshot lacks does not.
#[test]
fn pulled_through_from_a_registry() {
    let world = World::of(&StreamSpec::new().version_count(2));
    world.sync().run().expect(0);
    let held = Held::by(&world);
    let registry = Registry::start();
    let url = registry.url("maas");
    export(&world, &url).run().expect(0);
    let serve = world.at("serve", &replica_store(&world)).args(world.keyring_args());
    let serve = serve.args(["--listen", "127.0.0.1:0", "--upstream", &url, "--plain-http"]);
    let serving = Serving::ready(serve.args(["--pull-through", "ftype=manifest"]));
    let is_squashfs = |path: &&String| path.ends_with("/squashfs");
    let path = held.files.keys().find(is_squashfs).expect("squashfs");
    let answer = serving.get(&format!("/images/{path}"));
    assert_eq!(answer.status, 200);
    assert!(answer.whole && answer.body == held.files[path]);
    let mut listed = world.stream.items.keys();
    let lacking = listed.find(|path| is_squashfs(path) && !held.files.contains_key(*path));
    let lacking = serving.get(&format!("/images/{}", lacking.expect("an older version")));
    assert_eq!(lacking.status, 502);
    serving.stop();
    let verify = world.at("verify", &replica_store(&world)).args(world.keyring_args());
    verify.run().expect(0);
}

#[test]
fn skopeo_takes_it_away_and_back() {
    let (world, held, registry, url) = pushed();
    let image = url.replace("oci://", "docker://");
    let archive = format!("oci-archive:{}:current", world.dir().join("bundle.tar").display());
    let tls = ["--src-tls-verify=false", "--dest-tls-verify=false"];
    let tmp = world.dir().join("tmp").display().to_string();
    let copy = |from: &str, to: &str| {
        skopeo(&["--tmpdir", &tmp, "copy", "--quiet", "--all", tls[0], tls[1], from, to]);
    };
    copy(&format!("{image}:current"), &archive);
    copy(&archive, &format!("docker://{}/back:v1", registry.address()));
    replica(&world, &registry.url("back:v1")).run().expect(0);
    held.assert_stands_at(&world, &replica_store(&world));
}

/// A file of logins, for `registry`.
fn logins(world: &World, registry: &str, user: &str, password: &str) -> PathBuf {
    use base64::Engine as _;
    let login = base64::engine::general_purpose::STANDARD.encode(format!("{user}:{password}"));
    let text = format!(r#"{{"auths":{{"{registry}":{{"auth":"{login}"}}}}}}"#);
    let path = world.dir().join(format!("auth-{}.json", password.len()));
    std::fs::write(&path, text).expect("write");
    path
}

#[track_caller]
fn tells_no_secret(run: &Run, secrets: &[&str]) {
    for secret in secrets {
        for text in [&run.stdout, &run.stderr] {
            assert!(!text.contains(secret), "{text}");
        }
    }
}

#[test]
fn a_login_from_the_usual_file() {
    let (world, held) = World::held();
    let registry = Registry::with_login();
    let url = registry.url("maas");
    let good = logins(&world, registry.address(), USER, PASSWORD);
    let wrong = logins(&world, registry.address(), USER, "wrong-and-secret");
    let other = logins(&world, "other.example:5000", USER, "other");
    let with = |run: Mirror, file: &Path| {
        let run = run.env("REGISTRY_AUTH_FILE", file).args(["-vv"]);
        let run = run.named(registry.address(), "REGISTRY").run();
        let encoded = std::fs::read_to_string(file).expect("logins");
        let encoded = encoded.split('"').nth(7).expect("a login");
        tells_no_secret(&run, &[PASSWORD, "wrong-and-secret", encoded]);
        run
    };
    with(export(&world, &url), &other).failed(1, "registry-no-login");
    with(export(&world, &url), &wrong).failed(1, "registry-wrong-login");
    with(replica(&world, &url), &wrong).expect(1);
    assert_eq!(registry.count(0, "PUT", "/"), 0);
    with(export(&world, &url), &good).expect(0);
    with(replica(&world, &url), &other).expect(1);
    with(replica(&world, &url), &good).expect(0);
    held.assert_stands_at(&world, &replica_store(&world));
    let status = world.at("status", &replica_store(&world)).run().expect(0);
    tells_no_secret(&status, &[PASSWORD]);
    // As docker keeps it.
    let folder = world.dir().join("docker");
    std::fs::create_dir(&folder).expect("folder");
    std::fs::copy(&good, folder.join("config.json")).expect("copy");
    let run = replica(&world, &url).env("DOCKER_CONFIG", &folder).env("XDG_RUNTIME_DIR", "");
    run.env("XDG_CONFIG_HOME", world.dir()).env("REGISTRY_AUTH_FILE", "").run().expect(0);
}

#[test]
fn a_login_in_the_address_is_refused() {
    let world = World::new();
    for args in [["sync", "--upstream"], ["export", "--store"]] {
        let url = "oci://me:secret@127.0.0.1:1/maas";
        let run = Mirror::new(args).args([url, url]).run().expect(64);
        tells_no_secret(&run, &["secret"]);
    }
    drop(world);
}

#[test]
fn tls_by_a_private_authority() {
    let (world, held) = World::held();
    let certificate = Certificate::generate().expect("certificate");
    let registry = Registry::with_tls(&certificate);
    let url = registry.url("maas");
    let ca = world.dir().join("ca.pem");
    std::fs::write(&ca, &certificate.ca_pem).expect("write");
    let export = || {
        let run = world.mirror("export").arg(&url).env("MAAS_MIRROR_RETRIES", "0");
        run.named(registry.address(), "REGISTRY")
    };
    let ca_file = [Path::new("--ca-file"), ca.as_path()];
    export().run().failed(1, "registry-untrusted");
    export().args(ca_file).run().expect(0);
    let sync = || world.sync_to(&replica_store(&world), &url);
    sync().run().expect(1);
    sync().args(ca_file).run().expect(0);
    held.assert_stands_at(&world, &replica_store(&world));
    // And one without TLS is not spoken to without.
    let plain = Registry::start();
    let run = world.mirror("export").arg(plain.url("maas")).named(plain.address(), "REGISTRY");
    run.run().failed(1, "registry-plain");
    assert_eq!(plain.count(0, "PUT", "/"), 0);
}
