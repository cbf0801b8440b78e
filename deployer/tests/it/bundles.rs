//! `support-bundle`, against the stand-in for Kubernetes' API server: everything that could hold
//! a secret holds one, and none is in the archive.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::support::{ApiServer, World};

/// With what breaks naive quoting.
const SECRET: &str = "Pl4nted \"s3cret\"/+&%ä'x";
const KEY: &str = "consumerconsumer:tokentokentoken:secretsecretsecret";

fn quiet(_: &mut BTreeMap<String, Value>) {}

/// The secret in all forms.
fn forms(secret: &str) -> Vec<String> {
    let json = serde_json::to_string(secret).expect("JSON");
    let url: String = url::form_urlencoded::byte_serialize(secret.as_bytes()).collect();
    vec![
        secret.to_owned(),
        json.trim_matches('"').to_owned(),
        STANDARD.encode(secret),
        STANDARD.encode(secret).trim_end_matches('=').to_owned(),
        url.replace('+', "%20"),
        url,
    ]
}

/// A release whose every text holds the secret in every form.
fn planted() -> (World, ApiServer) {
    let mut world = World::new();
    let cluster = ApiServer::start(&mut world, quiet);
    let off = "manifests.job_secrets=false,manifests.job_quiesce=false";
    let password = "endpoints.maas_db.auth.admin.password=plain-in-values";
    let install = ["install", "-n", "maas", "--no-wait", "--set", off, "--set", password];
    world.verb(&install).run().expect(0);
    for secret in [SECRET, KEY, "secretsecretsecret", "plain-in-values"] {
        for form in forms(secret) {
            world.hide(&form);
        }
    }
    let text = forms(SECRET).join(" | ");
    let secret = |key: &str, value: &str| {
        json!({"apiVersion": "v1", "kind": "Secret", "type": "Opaque", "metadata": {},
            "data": {"DATABASE_USERNAME": STANDARD.encode("maas"), key: STANDARD.encode(value)}})
    };
    cluster.put("secrets/maas-db-user", secret("DATABASE_PASSWORD", SECRET));
    cluster.put("secrets/maas-api-key", secret("token", KEY));
    let marks = json!({"labels": {"app.kubernetes.io/instance": "maas"},
        "annotations": {"note": text, "kubectl.kubernetes.io/last-applied-configuration": text},
        "managedFields": [{"manager": "x"}]});
    let state = json!({"running": {}});
    let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": marks,
        "spec": {"containers": [{"name": "region", "args": [text],
            "env": [{"name": "HARMLESS", "value": text}, {"name": "MY_PASSWORD", "value": "not-in-any-secret"}]}]},
        "status": {"phase": "Running", "message": text, "containerStatuses": [{"name": "region", "ready": true,
            "restartCount": 1, "image": "", "imageID": "", "state": state}]}});
    cluster.put("pods/maas-region-0", pod);
    let config = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": marks, "data": {"a": text, "b": KEY}});
    cluster.put("configmaps/theirs", config);
    cluster.put(
        "events/one",
        json!({"type": "Warning", "reason": "Odd", "message": text, "count": 1,
        "involvedObject": {"kind": "Pod", "name": "maas-region-0"}}),
    );
    let log = json!(format!("before {text} behind &secretsecretsecret"));
    cluster.refuse_with(Some("GET"), "/pods/maas-region-0/log", 200, Some(log), None);
    (world, cluster)
}

/// The files of an archive.
fn files(path: &Path) -> BTreeMap<String, String> {
    let packed = std::fs::File::open(path).expect("the archive");
    let mut tar = tar::Archive::new(flate2::read::GzDecoder::new(packed));
    let mut files = BTreeMap::new();
    for entry in tar.entries().expect("entries") {
        let mut entry = entry.expect("entry");
        let name = entry.path().expect("path").display().to_string();
        let mut text = String::new();
        entry.read_to_string(&mut text).expect("text");
        let name = name.strip_prefix("maas-support/").expect("in the folder").to_owned();
        files.insert(name, text);
    }
    files
}

#[track_caller]
fn nothing_of(secret: &str, files: &BTreeMap<String, String>) {
    for (name, text) in files {
        for form in forms(secret) {
            assert!(!text.contains(&form), "{name} shows a secret as {form}:\n{text}");
        }
    }
}

#[test]
fn no_secret_is_in_a_bundle() {
    let (world, _cluster) = planted();
    let out = world.path("bundle.tar.gz");
    let file = out.display().to_string();
    let run = world.verb(&["support-bundle", "-n", "maas", "-O", &file]).run().expect(0);
    assert!(run.stdout.starts_with(&format!("wrote {file}: ")), "{}", run.stdout);
    let mode = std::fs::metadata(&out).expect("the archive").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let files = files(&out);
    for secret in [SECRET, KEY, "secretsecretsecret", "plain-in-values", "not-in-any-secret"] {
        nothing_of(secret, &files);
    }
    for name in [
        "versions.json",
        "release/history.json",
        "release/values.yaml",
        "release/manifest.yaml",
        "secrets.json",
        "objects/pods/maas-region-0.yaml",
        "objects/configmaps/theirs.yaml",
        "objects/statefulsets/maas-region.yaml",
        "events.json",
        "logs/maas-region-0/region.log",
        "logs/maas-region-0/region.previous.log",
        "status.txt",
        "status.json",
        "check.txt",
        "check.json",
        "index.json",
    ] {
        assert!(files.contains_key(name), "no {name} in {:?}", files.keys());
    }
    assert!(files["check.txt"].contains(" checks: "), "{}", files["check.txt"]);
    let log = &files["logs/maas-region-0/region.log"];
    assert!(log.contains("before (hidden)") && log.contains(" behind "), "{log}");
    assert!(files["objects/pods/maas-region-0.yaml"].contains("name: HARMLESS"));
    assert!(!files["objects/pods/maas-region-0.yaml"].contains("managedFields"));
    // What is no secret stays: names of users, which are part of every object's name.
    assert!(files["release/manifest.yaml"].contains("name: maas-region"));
    let secrets: Value = serde_json::from_str(&files["secrets.json"]).expect("JSON");
    let user = secrets.as_array().expect("list").iter().find(|one| one["name"] == "maas-db-user");
    assert_eq!(user.expect("it")["bytes_of_keys"]["DATABASE_PASSWORD"], SECRET.len());
    let index: Value = serde_json::from_str(&files["index.json"]).expect("JSON");
    assert_eq!(index["schema"], "maas-deployer/support-bundle/1");
    assert_eq!(index["files"].as_array().expect("list").len(), files.len() - 1);
}

#[test]
fn where_secrets_cannot_be_read_texts_are_left_out_unless_forced() {
    let (world, cluster) = planted();
    cluster.refuse("/secrets?timeoutSeconds", 403);
    let out = world.path("bundle.tar.gz");
    let file = out.display().to_string();
    let verb = ["support-bundle", "-n", "maas", "-O", &file];
    let run = world.verb(&verb).run().expect(0);
    assert!(run.stderr.contains("what they hold cannot be struck out"), "{}", run.stderr);
    assert!(run.stderr.contains("--unstruck takes them all the same"), "{}", run.stderr);
    assert!(run.stdout.contains("not in it: logs: not all secrets are known"), "{}", run.stdout);
    let bare = files(&out);
    for secret in [SECRET, "secretsecretsecret", "plain-in-values"] {
        nothing_of(secret, &bare);
    }
    assert!(!bare.keys().any(|name| name.starts_with("logs/") || name == "events.json"));
    assert!(bare.contains_key("objects/pods/maas-region-0.yaml"));
    let again = [&verb[..], &["--unstruck", "--force"]].concat();
    let run = world.verb(&again).run().expect(0);
    assert!(run.stderr.contains("look through it before you send it"), "{}", run.stderr);
    assert!(files(&out).contains_key("logs/maas-region-0/region.log"));
}

#[test]
fn what_cannot_be_gathered_is_named_and_stops_nothing() {
    let (world, cluster) = planted();
    cluster.refuse("/events?", 403);
    cluster.refuse("/configmaps?", 0);
    let out = world.path("bundle.tar.gz");
    let file = out.display().to_string();
    let verb = ["support-bundle", "-n", "maas", "-O", &file, "-o", "json"];
    let told = world.verb(&verb).run().expect(0).json();
    let left: Vec<&str> = told["left_out"]
        .as_array()
        .expect("list")
        .iter()
        .filter_map(|it| it["what"].as_str())
        .collect();
    assert_eq!(left, ["objects/configmaps", "events.json"]);
    let index: Value = serde_json::from_str(&files(&out)["index.json"]).expect("JSON");
    assert!(index["left_out"][1]["why"].as_str().expect("text").contains("no right"), "{index}");
}

#[test]
fn what_is_one_of_many_is_in_it_and_what_is_cut_is_named() {
    let (world, cluster) = planted();
    let marks = |marks: Value| json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": marks});
    let label = json!({"labels": {"app.kubernetes.io/instance": "maas"}});
    let helm = json!({"annotations": {"meta.helm.sh/release-name": "maas"}});
    let others = |count: usize| {
        for number in 0..count {
            cluster.put(&format!("configmaps/a-{number:05}"), marks(json!({})));
        }
    };
    // On a server that gives them page by page, ours come last.
    others(2500);
    cluster.put("configmaps/z-labelled", marks(label));
    cluster.put("configmaps/z-by-helm", marks(helm));
    let out = world.path("bundle.tar.gz");
    let file = out.display().to_string();
    let verb = ["support-bundle", "-n", "maas", "--force", "-O", &file, "-o", "json"];
    let told = world.verb(&verb).run().expect(0).json();
    assert_eq!(told["left_out"], json!([]));
    let whole = files(&out);
    for name in ["z-labelled", "z-by-helm"] {
        assert!(whole.contains_key(&format!("objects/configmaps/{name}.yaml")), "{name}");
    }
    others(5100);
    for number in 0..5100 {
        cluster.put(&format!("events/b-{number:05}"), json!({"type": "Normal"}));
    }
    let told = world.verb(&verb).run().expect(0).json();
    let left = told["left_out"].as_array().expect("list").iter();
    let left: Vec<&str> = left.filter_map(|it| it["what"].as_str()).collect();
    assert_eq!(left, ["objects/configmaps", "events.json"], "{}", told["left_out"]);
    let part = files(&out);
    assert!(part.contains_key("objects/configmaps/z-labelled.yaml"));
    let events: Value = serde_json::from_str(&part["events.json"]).expect("JSON");
    assert_eq!(events.as_array().expect("list").len(), 5000);
}

#[test]
fn a_bundle_takes_the_place_of_a_file_when_told_and_of_nothing_else() {
    let (world, _cluster) = planted();
    let out = world.path("bundle.tar.gz");
    std::fs::write(&out, "theirs").expect("a file");
    let file = out.display().to_string();
    let verb = ["support-bundle", "-n", "maas", "-O", &file];
    world.verb(&verb).run().failed(5, "support-exists");
    assert_eq!(std::fs::read(&out).expect("the file"), b"theirs");
    world.verb(&[&verb[..], &["--force"]].concat()).run().expect(0);
    assert!(files(&out).contains_key("index.json"));
    // As /dev/null is: written to, it would be gone, and a file in its place.
    std::fs::remove_file(&out).expect("the file");
    crate::support::fifo(&out);
    world.verb(&[&verb[..], &["--force"]].concat()).run().failed(5, "support-no-file");
    assert!(crate::support::is_fifo(&out));
}

#[test]
fn a_bundle_has_its_name_when_it_is_whole_or_goes_to_stdout() {
    let (world, _cluster) = planted();
    let nowhere = world.path("none/bundle.tar.gz").display().to_string();
    world
        .verb(&["support-bundle", "-n", "maas", "-O", &nowhere])
        .run()
        .failed(1, "support-no-folder");
    world.verb(&["support-bundle", "other", "-n", "maas"]).run().failed(5, "support-absent");
    let piped = world.verb(&["support-bundle", "-n", "maas", "-O", "-"]).run().expect(0);
    assert!(piped.stderr.contains("wrote stdout: "), "{}", piped.stderr);
    assert!(piped.stdout.len() > 1000);
    let left = std::fs::read_dir(world.path("")).expect("the folder").flatten();
    let left: Vec<_> =
        left.filter(|one| one.file_name().to_string_lossy().starts_with(".tmp")).collect();
    assert!(left.is_empty(), "{left:?}");
}
