//! What changes with each value: a table, in `changes.txt`. A pod restarts, and a job runs again,
//! for what it uses, and for nothing else.

use std::collections::{BTreeMap, BTreeSet};

use chart_tests::{Object, Objects, files, values, yaml};
use maas_deployer::render::{self, ReleaseInfo};
use maas_deployer::values::{Values, Wanted};

/// The values `KEY=VALUE`, as the options of these names would have them.
fn wanted(settings: &[&str]) -> Wanted {
    let owned = |all: Vec<&&str>| all.into_iter().map(|one| (*one).to_owned()).collect();
    let is_json = |one: &&&str| one.contains('"') || one.contains("=[");
    Wanted {
        set: owned(settings.iter().filter(|one| !is_json(one)).collect()),
        json: owned(settings.iter().filter(is_json).collect()),
        ..Wanted::default()
    }
}

/// What the deployer renders, which is what Helm does.
fn objects(wanted: &Wanted) -> Result<Objects, String> {
    let values = Values::load(wanted).map_err(|error| error.to_string())?;
    let rendered = render::render(&values, &ReleaseInfo::install("maas", "maas"))
        .map_err(|error| error.to_string())?;
    let all = rendered.documents.into_iter().chain(rendered.hooks);
    Ok(Objects(all.map(|document| Object { json: document.object }).collect()))
}

/// Pods, and names of jobs, by their components. Hooks run with each upgrade, and are left out.
fn workloads(settings: &[&str]) -> BTreeMap<String, String> {
    let objects = objects(&wanted(settings)).unwrap_or_else(|why| panic!("{settings:?}: {why}"));
    let mut found = BTreeMap::new();
    for object in &objects.0 {
        let Some(pod) = object.pod() else { continue };
        let content = match (object.kind(), object.is_hook()) {
            ("Job", true) => continue,
            ("Job", false) => object.name().to_owned(),
            _ => pod.json.to_string(),
        };
        found.insert(object.component().to_owned(), content);
    }
    found
}

/// Those that differ, or are there on one side alone.
fn changed(before: &BTreeMap<String, String>, after: &BTreeMap<String, String>) -> String {
    let all: BTreeSet<_> = before.keys().chain(after.keys()).collect();
    let differing = all.into_iter().filter(|name| before.get(*name) != after.get(*name));
    differing.map(String::as_str).collect::<Vec<_>>().join(" ")
}

fn key(setting: &str) -> &str {
    setting.split_once('=').expect("KEY=VALUE").0
}

/// The line with the workloads that change, instead of those that it names.
fn line(base: &[&str], before: &BTreeMap<String, String>, line: &str) -> String {
    let (change, _) = line.rsplit_once(": ").unwrap_or((line.trim_end_matches(':'), ""));
    let mut settings: Vec<_> = base.iter().copied().filter(|one| key(one) != key(change)).collect();
    settings.push(change);
    format!("{change}: {}", changed(before, &workloads(&settings))).trim_end().to_owned()
}

#[test]
fn a_value_changes_what_uses_it_and_nothing_else() {
    let path = files::room().join("changes.txt");
    let kept = std::fs::read_to_string(&path).unwrap();
    let mut sections: Vec<(Vec<&str>, Vec<&str>)> = vec![(Vec::new(), Vec::new())];
    for line in kept.lines() {
        if let Some(base) = line.strip_prefix('[') {
            let base = base.trim_end_matches(']').split_whitespace().collect();
            sections.push((base, Vec::new()));
        } else {
            sections.last_mut().unwrap().1.push(line);
        }
    }
    let mut now = String::new();
    for (base, lines) in &sections {
        let before = workloads(base);
        let done =
            files::side_by_side(lines, |text| match text.starts_with('#') || text.is_empty() {
                true => (*text).to_owned(),
                false => line(base, &before, text),
            });
        if !base.is_empty() {
            now.push_str(&format!("[{}]\n", base.join(" ")));
        }
        now.extend(done.into_iter().map(|line| line + "\n"));
    }
    if std::env::var_os("UPDATE_SNAPSHOTS").is_some() {
        std::fs::write(&path, &now).unwrap();
    }
    let wrong: Vec<_> = kept.lines().zip(now.lines()).filter(|(kept, now)| kept != now).collect();
    assert!(wrong.is_empty() && kept.len() == now.len(), "what is kept, and what is: {wrong:#?}");
}

/// The table has every value, or one below it.
#[test]
fn every_value_is_in_the_table() {
    let table = std::fs::read_to_string(files::room().join("changes.txt")).unwrap();
    let lines = table.lines().filter(|line| !line.starts_with(['#', '[']) && !line.is_empty());
    let known: Vec<_> = lines.map(key).collect();
    // Parts of pods: one key stands for a map.
    let is_part = |path: &[String]| {
        ["security_context", "resources", "probes"]
            .iter()
            .any(|part| path.get(1).is_some_and(|one| one == part))
    };
    let all = values::leaves(&yaml(&files::chart().join("values.yaml")));
    let missing: Vec<_> = all
        .iter()
        .filter(|path| !is_part(path))
        .map(|path| path.join("."))
        .filter(|path| {
            !known.iter().any(|known| known == path || known.starts_with(&format!("{path}.")))
        })
        .collect();
    assert!(missing.is_empty(), "not in the table: {missing:#?}");
}
