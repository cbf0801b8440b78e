//! Verbs that look, on a real Kubernetes: as in `real_release`.

use std::collections::BTreeMap;
use std::io::Read as _;

use base64::Engine as _;
use serde_json::{Value, json};

use crate::real_release::{Site, extra};

impl Site {
    fn diff(&self, values: &str, more: &[&str]) -> crate::support::Job {
        let file = self.file(values).display().to_string();
        let verb = ["diff", "-n", &self.namespace.name, "-f", &file];
        self.world.verb(&[&verb, more].concat())
    }

    fn look(&self, verb: &str, more: &[&str]) -> crate::support::Job {
        self.world.verb(&[&[verb, "-n", &self.namespace.name], more].concat())
    }
}

#[test]
fn a_diff_tells_what_an_upgrade_would_do_and_writes_nothing() {
    let Some(site) = Site::new("see-diff") else { return };
    site.values("two.json", &extra(&json!({"a": "1", "b": "2"})));
    site.values("three.json", &extra(&json!({"a": "3"})));
    // A cluster that was kept remembers what an earlier run wrote here.
    let before = site.writes();
    let new = site.diff("two.json", &["--detailed-exitcode"]).run().expect(2);
    assert!(new.stdout.contains("create ConfigMap see-diff/extra"), "{}", new.stdout);
    assert!(new.stdout.contains("would run the hook pre-install: Job maas-secrets"));
    assert_eq!(site.writes(), before);

    // Helm's release: nothing to change, and what leaves the values goes, as the upgrade has it.
    site.helm_with_values("install", "two.json");
    let before = site.writes();
    let same = site.diff("two.json", &["--detailed-exitcode"]).run();
    assert!(!same.stdout.contains("@@"), "{}", same.stdout);
    let less = site.diff("three.json", &["--detailed-exitcode", "--context", "0"]).run().expect(2);
    assert!(less.stdout.contains("update ConfigMap see-diff/extra"), "{}", less.stdout);
    for line in ["-  a: \"1\"\n", "-  b: \"2\"\n", "+  a: \"3\"\n"] {
        assert!(less.stdout.contains(line), "no {line} in {}", less.stdout);
    }
    assert!(!less.stdout.contains("StatefulSet"), "{}", less.stdout);
    assert_eq!(site.writes(), before);

    // Ours: what was changed by hand shows, with who owns it.
    site.with_values("upgrade", "three.json", &[]).run().expect(0);
    let same = site.diff("three.json", &["--detailed-exitcode"]).run().expect(0);
    assert!(same.stdout.starts_with("nothing to change; "), "{}", same.stdout);
    let patch = r#"{"data":{"a":"by hand"}}"#;
    let by =
        ["patch", "configmap", "extra", "--field-manager=their-tool", "--type=merge", "-p", patch];
    site.namespace.kubectl(&by, "");
    let set = ["scale", "statefulset", "maas-postgresql", "--replicas=0"];
    site.namespace.kubectl(&set, "");
    let before = site.writes();
    let drift = site.diff("three.json", &["-o", "json"]).run().expect(0).json();
    let of = |object: &str| {
        let all = drift["changes"].as_array().expect("list");
        all.iter().find(|one| one["object"] == object).unwrap_or_else(|| panic!("{drift}"))["fields"].clone()
    };
    assert_eq!(
        of("ConfigMap see-diff/extra"),
        json!([{"op": "replace", "path": "/data/a", "before": "by hand", "after": "3"}])
    );
    assert_eq!(
        of("StatefulSet see-diff/maas-postgresql"),
        json!([{"op": "replace", "path": "/spec/replicas", "before": 0, "after": 1}])
    );
    let text = site.diff("three.json", &[]).run().expect(0).stdout;
    assert!(text.contains("their-tool owns .data.a: an upgrade refuses that"), "{text}");
    assert_eq!(site.writes(), before);
    let gone =
        ["diff", "-n", "see-no-such-namespace", "-f", &site.file("two.json").display().to_string()];
    let gone = site.world.verb(&gone).run().expect(0);
    assert!(gone.stdout.contains("create StatefulSet see-no-such-namespace/maas-postgresql"));
}

#[test]
fn what_others_added_is_told_and_an_upgrade_leaves_it() {
    let Some(site) = Site::new("see-beside") else { return };
    site.with_values("install", "one.json", &["--no-wait"]).run().expect(0);
    let (port, path) = (json!({"name": "theirs", "port": 9999}), "service/maas-postgresql");
    let patch = json!({"spec": {"ports": [port]}}).to_string();
    let by = ["patch", path, "--field-manager=kubectl-edit", "-p", &patch];
    site.namespace.kubectl(&by, "");
    let diff = site.diff("one.json", &["--detailed-exitcode", "-o", "json"]).run().expect(0).json();
    let field = ".spec.ports[port=9999,protocol=TCP]";
    let theirs = json!([{"object": "Service see-beside/maas-postgresql",
        "manager": "kubectl-edit", "field": field}]);
    assert_eq!((&diff["beside"], &diff["changes"]), (&theirs, &json!([])));
    let done = site.with_values("upgrade", "one.json", &["--no-wait"]).run().expect(0);
    assert!(done.stdout.contains("nothing to change"), "{}", done.stdout);
    assert_eq!(site.namespace.get(path)["spec"]["ports"].as_array().map(Vec::len), Some(2));
    let check = site.look("check", &["--no-pods", "-o", "json"]).run().json();
    let groups = check["groups"].as_array().expect("list").iter();
    let checks: Vec<&Value> =
        groups.flat_map(|group| group["checks"].as_array().expect("list")).collect();
    let told = checks.iter().find(|one| one["id"] == "drift.others").expect("the check");
    let why = format!("{field} of Service maas-postgresql, set by kubectl-edit");
    assert_eq!((&told["status"], &told["why"]), (&json!("warn"), &json!(why)));
}

#[test]
fn a_status_and_a_bundle_of_what_is_installed() {
    let Some(site) = Site::new("see-status") else { return };
    site.look("status", &[]).run().expect(5);
    site.with_values("install", "one.json", &[]).run().expect(0);
    let status = site.look("status", &["-o", "json"]).run().expect(0).json();
    assert_eq!(
        (&status["healthy"], &status["revision"]["status"]),
        (&json!(true), &json!("deployed"))
    );
    let done = |name: &str| {
        let phases = status["phases"].as_array().expect("list");
        phases.iter().any(|one| one["phase"] == name && one["state"] == "done")
    };
    assert!(done("configuration") && done("database") && done("db-init"), "{status}");
    let text = site.look("status", &[]).run().expect(0).stdout;
    assert!(text.contains("maas-postgresql-0  1/1 Running"), "{text}");
    assert!(text.contains("all is well"), "{text}");

    // A log, an annotation and an event that hold a password of the release.
    let secret = site.namespace.get("secret/maas-db-user")["data"]["DATABASE_PASSWORD"].clone();
    let packed = secret.as_str().expect("base64").to_owned();
    let bytes = base64::engine::general_purpose::STANDARD.decode(&packed).expect("base64");
    let password = String::from_utf8(bytes).expect("text");
    let note = format!("note=it is {password} or {packed}");
    site.namespace.kubectl(&["annotate", "pod", "maas-postgresql-0", &note], "");
    let log = format!("echo 'log: {password} {packed}' >/proc/1/fd/2");
    site.namespace.kubectl(&["exec", "maas-postgresql-0", "--", "sh", "-c", &log], "");
    let out = site.file("bundle.tar.gz");
    let before = site.writes();
    site.look("support-bundle", &["-O", &out.display().to_string()]).run().expect(0);
    let mut wrote = site.writes();
    wrote.retain(|uri| !before.contains(uri) && !uri.contains("/exec"));
    assert_eq!(wrote, Vec::<String>::new());
    let mut tar =
        tar::Archive::new(flate2::read::GzDecoder::new(std::fs::File::open(&out).expect("it")));
    let mut files: BTreeMap<String, String> = BTreeMap::new();
    for entry in tar.entries().expect("entries") {
        let mut entry = entry.expect("entry");
        let name = entry.path().expect("path").display().to_string();
        let mut text = String::new();
        entry.read_to_string(&mut text).expect("text");
        assert!(!text.contains(&password) && !text.contains(&packed), "{name}: {text}");
        files.insert(name, text);
    }
    let log = &files["maas-support/logs/maas-postgresql-0/postgresql.log"];
    assert!(log.contains("log: (hidden) (hidden)"), "{log}");
    assert!(
        files["maas-support/objects/pods/maas-postgresql-0.yaml"]
            .contains("it is (hidden) or (hidden)")
    );
    let index: Value = serde_json::from_str(&files["maas-support/index.json"]).expect("JSON");
    assert_eq!(index["left_out"], json!([]), "{index}");

    let none = ["--set", "images.tags.postgresql=localhost:1/none:0", "--no-wait"];
    site.with_values("upgrade", "one.json", &none).run().expect(0);
    crate::support::eventually("the pod that cannot start", || {
        let run = site.look("status", &[]).run();
        run.code == 1 && run.stdout.contains("StatefulSet see-status/maas-postgresql: ")
    });
}
