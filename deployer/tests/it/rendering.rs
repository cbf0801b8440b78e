//! Verbs that render: `template`, `values`, `images`.

use std::path::PathBuf;

use serde_json::{Value, json};

use crate::support::Job;

/// Files of values in a folder of their own.
struct Files(tempfile::TempDir);

impl Files {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a folder"))
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.path().join(name);
        std::fs::write(&path, text).expect("write values");
        path
    }

    /// A run with `FOLDER` for the folder in what is compared.
    fn run(&self, args: &[&str]) -> Job {
        Job::verb(args).named(self.0.path().to_string_lossy(), "FOLDER")
    }
}

#[test]
fn template_prints_a_manifest_in_order() {
    let run = Job::verb(&["template", "metal", "-n", "ns"]).run().expect(0);
    assert!(run.stdout.starts_with("---\n# Source: maas/templates/"), "{}", run.stdout);
    let at = |text: &str| run.stdout.find(text).unwrap_or_else(|| panic!("no {text}"));
    assert!(at("\nkind: ConfigMap") < at("\nkind: StatefulSet"));
    assert!(at("\nkind: StatefulSet") < at("helm.sh/hook: test"));
    assert!(run.stdout.contains("name: metal-maas-region\n"));
    assert_eq!(run.stderr, "");
}

#[test]
fn template_shows_one_template_or_json() {
    let one = Job::verb(&["template", "-n", "ns", "--show-only", "templates/syslog.yaml"]);
    let one = one.run().expect(0).stdout;
    let sources = one.lines().filter(|line| line.starts_with("# Source: "));
    assert!(sources.clone().count() >= 2, "{one}");
    assert!(sources.clone().all(|line| line == "# Source: maas/templates/syslog.yaml"), "{one}");
    let json = Job::verb(&["template", "-n", "ns", "-o", "json"]).run().expect(0).json();
    assert_eq!(json["schema"], "maas-deployer/template/1");
    let documents = json["documents"].as_array().expect("documents");
    let hooks = documents.iter().filter(|one| one["hook"].is_string());
    assert!(hooks.clone().count() >= 1 && hooks.clone().all(|one| one["object"].is_object()));
    assert!(json["notes"].as_str().expect("notes").contains("namespace ns"));
    Job::verb(&["template", "-n", "ns", "--show-only", "templates/none.yaml"])
        .run()
        .failed(64, "template-show-only");
}

#[test]
fn the_namespace_is_the_contexts_where_none_is_given() {
    let files = Files::new();
    let config = "apiVersion: v1\nkind: Config\ncurrent-context: a\ncontexts:\n\
                  - {name: a, context: {cluster: c, user: u, namespace: of-context}}\n\
                  clusters: [{name: c, cluster: {server: 'https://localhost:1'}}]\n\
                  users: [{name: u, user: {}}]\n";
    let config = files.write("config", config);
    let namespace = |job: Job| {
        let json = job.run().expect(0).json();
        json["namespace"].as_str().expect("a namespace").to_owned()
    };
    let args = ["template", "-o", "json"];
    assert_eq!(namespace(Job::verb(&args).env("KUBECONFIG", &config)), "of-context");
    assert_eq!(namespace(Job::verb(&args).env("KUBECONFIG", files.0.path().join("none"))), "maas");
    let named = Job::verb(&[&args[..], &["-n", "named"]].concat()).env("KUBECONFIG", &config);
    assert_eq!(namespace(named), "named");
}

#[test]
fn values_that_are_wrong_are_told_with_where_they_were_set() {
    let files = Files::new();
    let wrong = "conf:\n  cache:\n    prt: 1\n    enabled: maybe\ncache: {}\n\
                 endpoints: {maas_db: {auth: {user: {password: 987654321}}}}\n";
    let wrong = files.write("values.yaml", wrong);
    files
        .run(&["values", "-f", &wrong.to_string_lossy(), "--set", "conf.cache.port=many"])
        .hiding(&["987654321".to_owned()])
        .run()
        .failed(64, "values-wrong");
    let broken = files.write("broken.yaml", "conf:\n  cache: {enabled: true\nimages: {}\n");
    files.run(&["template", "-f", &broken.to_string_lossy()]).run().failed(64, "values-broken");
    let twice = files.write("twice.yaml", "conf: {}\nimages: {}\nconf: {}\n");
    files.run(&["template", "-f", &twice.to_string_lossy()]).run().failed(64, "values-twice");
    let none = files.0.path().join("none.yaml");
    files.run(&["images", "-f", &none.to_string_lossy()]).run().failed(64, "values-no-file");
    files.run(&["values", "--set", "conf.cache"]).run().failed(64, "values-set");
    let run = files.run(&["template", "a.b", "-n", "ns"]).run();
    run.failed(64, "template-refused");
    let extra = files.write("extra.yaml", "extraObjects: ['{{ lookup \"v1\" \"Secret\" }}']\n");
    let run = files.run(&["template", "-n", "ns", "-f", &extra.to_string_lossy()]).run();
    run.failed(64, "template-function");
    let json = files.run(&["values", "-o", "json", "--set", "nothing=1"]).run().expect(64).json();
    assert_eq!(
        (&json["schema"], &json["exit_code"]),
        (&json!("maas-deployer/error/1"), &json!(64))
    );
}

#[test]
fn values_say_where_each_was_set() {
    let files = Files::new();
    let first = files.write("first.yaml", "conf:\n  cache:\n    enabled: false\n    port: 9001\n");
    let second = files.write("second.yaml", "\nconf: {cache: {enabled: true}}\n");
    let set = "endpoints.maas_db.auth.user.password=hidden-word,conf.cache.every=1h";
    let (first, second) = (first.to_string_lossy(), second.to_string_lossy());
    let args = ["values", "-f", &first, "-f", &second, "--set", set];
    let run = files.run(&[&args[..], &["--origin"]].concat());
    let run = run.hiding(&["hidden-word".to_owned()]).run().expect(0);
    let line = |path: &str| {
        let start = format!("{path}: ");
        let found = run.stdout.lines().find(|line| line.starts_with(&start));
        found.unwrap_or_else(|| panic!("no {path}")).to_owned()
    };
    assert_eq!(line("conf.cache.enabled"), format!("conf.cache.enabled: true  # {second}:2"));
    assert_eq!(line("conf.cache.port"), format!("conf.cache.port: 9001  # {first}:4"));
    assert_eq!(line("conf.cache.every"), "conf.cache.every: \"1h\"  # --set conf.cache.every");
    assert!(line("endpoints.maas_db.auth.user.password").contains("\"(hidden)\"  # --set "));
    assert!(line("images.registry").contains("  # the chart's values.yaml:"));
    // What it prints is a file of values again, of the same manifest.
    let printed = files.write("printed.yaml", &files.run(&args).run().expect(0).stdout);
    let template = |rest: &[&str]| {
        files.run(&[&["template", "-n", "ns"], rest].concat()).run().expect(0).stdout
    };
    assert_eq!(template(&["-f", &printed.to_string_lossy()]), template(&args[1..]));
}

#[test]
fn images_are_listed_for_other_tools() {
    let list = |args: &[&str]| {
        let base = ["images", "-n", "ns", "--set", "postgresql.enabled=true"];
        Job::verb(&[&base[..], args].concat()).run().expect(0).stdout
    };
    let text = list(&[]);
    let names: Vec<&str> = text.lines().collect();
    assert!(names.iter().any(|name| name.starts_with("maas-region-controller:")), "{text}");
    assert!(names.iter().any(|name| name.starts_with("postgres:")), "{text}");
    assert!(!names.iter().any(|name| name.starts_with("maas-mirror:")), "{text}");
    let moved =
        list(&["--registry", "r.example:5000/boot", "--set", "images.registry=old.example"]);
    let at = |name: &&str| format!("r.example:5000/boot/{name}");
    assert_eq!(moved.lines().collect::<Vec<_>>(), names.iter().map(at).collect::<Vec<_>>());
    let read = |text: &str| -> Value { serde_saphyr::from_str(text).expect("YAML") };
    let skopeo = read(&list(&["--format", "skopeo"]));
    assert!(skopeo["docker.io"]["images"]["library/postgres"][0].is_string(), "{skopeo}");
    let skopeo = read(&list(&["--format", "skopeo", "--registry", "r.example:5000/boot"]));
    assert!(skopeo["r.example:5000"]["images"]["boot/postgres"][0].is_string(), "{skopeo}");
    let hauler = read(&list(&["--format", "hauler"]));
    assert_eq!(hauler["kind"], "Images");
    let listed = hauler["spec"]["images"].as_array().expect("images");
    assert_eq!(listed.iter().map(|one| one["name"].as_str().unwrap()).collect::<Vec<_>>(), names);
    assert_eq!(read(&list(&["--format", "zarf"]))["components"][0]["images"], json!(names));
}

#[test]
fn a_registry_that_is_none_is_told_wherever_it_was_said() {
    for bad in ["", "https://r.example", "foo/bar:x", "r.example/boot/", "r.example/Boot", "a b"] {
        let option = Job::verb(&["images", "--registry", bad]).run().expect(64);
        let variable = Job::verb(&["images"]).env("MAAS_DEPLOYER_REGISTRY", bad).run().expect(64);
        for told in [option.stderr, variable.stderr] {
            assert!(told.contains("write HOST[:PORT][/PATH], such as registry.example"), "{told}");
        }
    }
    let verb = ["install", "--registry", "r.example/boot:1"];
    Job::verb(&verb).run().expect(64);
}
