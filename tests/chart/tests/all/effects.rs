//! Every value does something.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use chart_tests::{Helm, files, values, yaml};
use serde_json::Value;

/// One value, and a file that says it otherwise than its default.
type Said = (Vec<String>, std::path::PathBuf);

fn is_opaque(path: &[String], defaults: &Value) -> bool {
    // Below a default that is no map, or an empty one, keys are the user's.
    values::at(defaults, path).is_none()
}

/// The values that files change, each with the files that do.
fn said(defaults: &Value) -> BTreeMap<String, Vec<Said>> {
    let mut said: BTreeMap<String, Vec<Said>> = BTreeMap::new();
    for (name, file) in files::all() {
        if name == "old-chart" {
            continue;
        }
        let given = yaml(&file);
        for mut path in values::leaves(&given) {
            while is_opaque(&path, defaults) && !path.is_empty() {
                path.pop();
            }
            let now = values::at(&given, &path);
            if !path.is_empty() && now != values::at(defaults, &path) {
                said.entry(path.join(".")).or_default().push((path, file.clone()));
            }
        }
    }
    said
}

/// Maps of Kubernetes' own, which go into pods as they are: one key of them
/// stands for all.
fn whole(path: &[String]) -> String {
    let names: Vec<_> = path.iter().map(String::as_str).collect();
    let length = match names.as_slice() {
        ["pod", "security_context", _, "container", ..] => 5,
        ["pod", "security_context", ..] => 4,
        ["pod", "probes", _, _, "params", ..] => 5,
        _ => names.len(),
    };
    names[..length.min(names.len())].join(".")
}

/// Whether a file renders otherwise without that value.
fn matters(helm: &Helm, folder: &Path, before: &str, (path, file): &Said) -> bool {
    let smaller = values::without(&yaml(file), path);
    let name = format!("{}-{}", path.join("."), file.file_stem().unwrap().to_string_lossy());
    let copy = folder.join(format!("{name}.json"));
    std::fs::write(&copy, smaller.to_string()).unwrap();
    let output = helm.run(&[&copy]);
    // Refused without it: it matters.
    !output.status.success() || output.stdout != before.as_bytes()
}

#[test]
fn every_value_does_something() {
    let Some(helm) = Helm::find() else { return };
    let defaults = yaml(&files::chart().join("values.yaml"));
    let said: Vec<_> = said(&defaults).into_iter().collect();
    let folder = tempfile::tempdir().unwrap();
    let rendered =
        files::side_by_side(&files::all(), |(_, file)| (file.clone(), helm.text(&[file])));
    let rendered: BTreeMap<_, _> = rendered.into_iter().collect();
    let idle: Vec<_> = files::side_by_side(&said, |(key, all)| {
        let does = |one: &Said| matters(&helm, folder.path(), &rendered[&one.1], one);
        (!all.iter().any(does)).then(|| key.clone())
    });
    let idle: Vec<_> = idle.into_iter().flatten().collect();
    assert!(idle.is_empty(), "these change nothing: {idle:#?}");

    // Every value is changed by some file: itself, or a part of it.
    let known: BTreeSet<_> =
        said.iter().flat_map(|(_, all)| all).map(|(path, _)| whole(path)).collect();
    let covers =
        |key: &str| known.iter().any(|said| said == key || key.starts_with(&format!("{said}.")));
    let all = values::leaves(&defaults);
    let silent: Vec<_> = all.iter().map(|path| whole(path)).filter(|key| !covers(key)).collect();
    assert!(silent.is_empty(), "no value file changes these: {silent:#?}");
}
