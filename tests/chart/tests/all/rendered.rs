//! The deployer's own renderer gives what Helm gives, byte for byte.

use std::path::{Path, PathBuf};

use chart_tests::{Helm, files};
use maas_deployer::render::{self, ReleaseInfo};
use maas_deployer::values::{Values, Wanted};

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
    let hooks = rendered.hooks.iter().map(|hook| hook.to_manifest());
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
