//! The deployer's own renderer gives what Helm gives, byte for byte.

use std::path::{Path, PathBuf};

use chart_tests::{Helm, files, values};
use maas_deployer::manifest::Document;
use maas_deployer::render::{self, ReleaseInfo};
use maas_deployer::values::{Values, Wanted};
use maas_deployer::yaml;

/// What `maas-deployer template` prints, or why it refuses.
fn ours(files: &[PathBuf], set: &[&str], release: &str, namespace: &str) -> Result<String, String> {
    let wanted = Wanted {
        files: files.to_vec(),
        set: set.iter().map(|one| (*one).to_owned()).collect(),
        ..Wanted::default()
    };
    let values = Values::load(&wanted).map_err(|error| error.to_string())?;
    let rendered = render::render(&values, &ReleaseInfo::install(release, namespace))
        .map_err(|error| error.to_string())?;
    let hooks = rendered.hooks.iter().map(Document::to_manifest);
    Ok(rendered.to_manifest() + &hooks.collect::<String>())
}

/// Helm's output, or why it refuses.
fn theirs(helm: &Helm, files: &[PathBuf]) -> Result<String, String> {
    let output = helm.run(&files.iter().map(PathBuf::as_path).collect::<Vec<&Path>>());
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("helm prints UTF-8");
    if output.status.success() { Ok(text(output.stdout)) } else { Err(text(output.stderr)) }
}

/// Where two texts differ first, or that they do not.
fn difference(helm: &str, ours: &str) -> Option<String> {
    if helm == ours {
        return None;
    }
    let (mut left, mut right) = (helm.lines(), ours.lines());
    let mut number = 0;
    let mut source = "";
    loop {
        number += 1;
        match (left.next(), right.next()) {
            (Some(a), Some(b)) if a == b => {
                if a.starts_with("# Source: ") {
                    source = a;
                }
            }
            (a, b) => return Some(format!("line {number}, {source}\nhelm: {a:?}\nours: {b:?}")),
        }
    }
}

#[track_caller]
fn same(helm: &Helm, name: &str, files: &[PathBuf], set: &[&str], release: &str, namespace: &str) {
    let helm = helm.clone().release(release).namespace(namespace).set(set);
    match (theirs(&helm, files), ours(files, set, release, namespace)) {
        (Ok(helm), Ok(ours)) => {
            let difference = difference(&helm, &ours);
            assert!(difference.is_none(), "{name} as {release}: {}", difference.unwrap());
        }
        (Err(_), Err(_)) => {}
        (Ok(_), Err(refused)) => panic!("{name} as {release}: refused: {refused}"),
        (Err(helm), Ok(_)) => panic!("{name} as {release}: Helm refuses: {helm}"),
    }
}

#[test]
fn every_value_file_renders_as_helm_does() {
    let Some(helm) = Helm::find() else { return };
    files::side_by_side(&files::all(), |(name, path)| {
        same(&helm, name, std::slice::from_ref(path), &[], "maas", "maas");
    });
}

#[test]
fn names_of_release_and_namespace_are_followed() {
    let Some(helm) = Helm::find() else { return };
    let long = "a-release-of-fifty-three-signs-which-is-the-most-that";
    let releases = [("metal", "default"), ("a", "some-ns"), ("my-maas-2", "x"), (long, "maas")];
    files::side_by_side(&releases, |(release, namespace)| {
        for name in ["defaults", "cache", "tls-cert-manager", "extra-objects"] {
            same(&helm, name, &[files::named(name)], &[], release, namespace);
        }
    });
}

/// Every kind that Helm has a place for, and some that it has none for.
const KINDS: &str = "ValidatingWebhookConfiguration MutatingWebhookConfiguration APIService Ingress \
    IngressClass CronJob Job StatefulSet HorizontalPodAutoscaler Deployment ReplicaSet \
    ReplicationController Pod DaemonSet Service RoleBindingList RoleBinding RoleList Role \
    ClusterRoleBindingList ClusterRoleBinding ClusterRoleList ClusterRole \
    CustomResourceDefinition PersistentVolumeClaim PersistentVolume StorageClass ConfigMap \
    SecretList Secret ServiceAccount PodDisruptionBudget PodSecurityPolicy LimitRange \
    ResourceQuota NetworkPolicy Namespace PriorityClass Zebra Certificate Another Certificate";

#[test]
fn kinds_and_documents_come_in_helms_order() {
    let Some(helm) = Helm::find() else { return };
    let mut text = "extraObjects:\n".to_owned();
    for (number, kind) in KINDS.split_whitespace().enumerate() {
        let object = format!("{{apiVersion: v1, kind: {kind}, metadata: {{name: n{number}}}}}");
        text.push_str(&format!("  - {object}\n"));
    }
    // Several documents in one text, an empty one, a comment alone, and a hook.
    text.push_str(
        "  - |\n    ---\n    # nothing\n    ---\n    kind: Job\n    metadata:\n      name: a\n",
    );
    text.push_str("      annotations: {helm.sh/hook: pre-install}\n    ---   \n\n    kind: A # {{ .Release.Name }}\n");
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("kinds.yaml");
    std::fs::write(&path, text).unwrap();
    same(&helm, "kinds", &[path], &[], "maas", "maas");
}

/// Numbers that look random and are the same in every run.
fn numbers(seed: u64) -> impl FnMut(usize) -> usize {
    let mut state = seed;
    move |below| {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(state >> 33).unwrap() % below
    }
}

#[test]
fn several_value_files_are_put_over_one_another_as_helm_does() {
    let Some(helm) = Helm::find() else { return };
    let all = files::all();
    let mut number = numbers(7);
    let several: Vec<Vec<usize>> =
        (0..20).map(|_| (0..3).map(|_| number(all.len())).collect()).collect();
    let rendered = files::side_by_side(&several, |picked| {
        let names: Vec<&str> = picked.iter().map(|&one| all[one].0.as_str()).collect();
        let paths: Vec<PathBuf> = picked.iter().map(|&one| all[one].1.clone()).collect();
        same(&helm, &names.join("+"), &paths, &["conf.maas.workers=7"], "maas", "maas");
        ours(&paths, &[], "maas", "maas").is_ok()
    });
    let good = rendered.into_iter().filter(|good| *good).count();
    assert!(good >= 10, "only {good} of them render");
}

#[test]
fn a_null_for_any_value_does_what_it_does_in_helm() {
    let Some(helm) = Helm::find() else { return };
    let defaults = chart_tests::yaml(&files::chart().join("values.yaml"));
    let mut paths: Vec<String> =
        values::leaves(&defaults).iter().map(|path| path.join(".")).collect();
    paths = paths.into_iter().step_by(7).collect();
    paths.extend(["conf", "conf.maas", "pod.affinity.extra", "images.tags"].map(str::to_owned));
    files::side_by_side(&paths, |path| {
        same(&helm, path, &[], &[&format!("{path}=null")], "maas", "maas");
    });
}

/// A chart that shows its values, as JSON and as YAML.
fn mirror_chart() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("templates")).unwrap();
    let files = [
        ("Chart.yaml", "apiVersion: v2\nname: shown\nversion: 0.1.0\n"),
        ("values.yaml", ""),
        ("templates/a.yaml", "{{ toJson .Values }}\n"),
        ("templates/b.yaml", "{{ toYaml .Values }}\n"),
    ];
    for (name, text) in files {
        std::fs::write(folder.path().join(name), text).unwrap();
    }
    folder
}

/// What Helm takes values for: as JSON and as YAML; none where it refuses.
fn helm_reads(helm: &Helm, chart: &Path, args: &[&str]) -> Option<(String, String)> {
    let output = helm.command().args(["template", "x"]).arg(chart).args(args).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let mut parts = text.split("---\n# Source: shown/templates/").skip(1);
    let mut part = || Some(parts.next()?.split_once('\n')?.1.to_owned());
    output.status.success().then(|| (part().expect("JSON"), part().expect("YAML")))
}

#[test]
fn options_mean_what_they_mean_to_helm() {
    let Some(helm) = Helm::find() else { return };
    let chart = mirror_chart();
    let texts = [
        "a=1,b.c=x,b.d=true",
        "a={1,x,},b=2",
        "c={}",
        r"a\.b=x\,y\=z",
        r"c=\{d",
        "a[1].b=1,a[0]=x",
        "a[2][0]=y",
        "a=012",
        "a=0",
        "a=-3",
        "a=1.5",
        "a=",
        "a=null,b=1",
        "a=0x1",
        "a=1e3",
        "a=+1",
        "a=9223372036854775808",
        "a.b=1,a.c=2,a.b=3",
        "a={b,c},a[1]=d",
        "a= x ",
        "a=b=c",
        "a={ b , c }",
        "a=True",
        "a={null,true,0,01}",
        "a=x,",
        "a",
        "a.b",
        "a[x]=1",
        "a={x",
        "a=1,a.b=2",
        "a b=c",
        "a=\"x\"",
        r"a=\\",
        "a[0].b.c=1,a[0].b.d=2",
        "a=é",
        "a.[0]=1",
        "a[0]b=1",
    ];
    for flag in ["--set", "--set-string"] {
        files::side_by_side(&texts, |text| {
            let one = vec![(*text).to_owned()];
            let wanted = match flag {
                "--set" => Wanted { set: one, ..Wanted::default() },
                _ => Wanted { text: one, ..Wanted::default() },
            };
            let ours = wanted.read().ok().map(|node| node.to_json());
            let theirs = helm_reads(&helm, chart.path(), &[flag, text]);
            let theirs = theirs.map(|(json, _)| serde_json::from_str(&json).expect("JSON"));
            assert_eq!(ours, theirs, "{flag} {text}");
        });
    }
    for text in [r#"a={"b":[1,null]},c=2"#, "a=", "a={", "a=1x", r#"a[1]="b""#] {
        let wanted = Wanted { json: vec![text.to_owned()], ..Wanted::default() };
        let ours = wanted.read().ok().map(|node| node.to_json());
        let theirs = helm_reads(&helm, chart.path(), &["--set-json", text]);
        let theirs = theirs.map(|(json, _)| serde_json::from_str(&json).expect("JSON"));
        assert_eq!(ours, theirs, "--set-json {text}");
    }
}

#[test]
fn yaml_is_read_and_written_as_helm_does() {
    let Some(helm) = Helm::find() else { return };
    let chart = mirror_chart();
    let path = chart.path().join("given.yaml");
    let text = include_str!("../../yaml-1.1.yaml");
    std::fs::write(&path, text).unwrap();
    let (json, yaml) = helm_reads(&helm, chart.path(), &["-f", &path.to_string_lossy()]).unwrap();
    let wanted = Wanted { files: vec![path], ..Wanted::default() };
    let ours = wanted.read().unwrap().to_json();
    let theirs: serde_json::Value = serde_json::from_str(&json).unwrap();
    for (key, value) in theirs.as_object().unwrap() {
        assert_eq!(ours.get(key), Some(value), "{key}");
    }
    let written = yaml::emit(&ours, yaml::Order::Sorted);
    let difference = difference(yaml.trim_end(), written.trim_end());
    assert!(difference.is_none(), "{}", difference.unwrap());
}
