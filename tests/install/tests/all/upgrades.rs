//! `helm upgrade`, with nothing, a little and a lot to change.

use install_tests::{Objects, Release, eventually};

use crate::installed::{complete_images, maas};

/// The pods of the three controllers, with their UIDs and how often their containers started.
pub(crate) fn pods(release: &Release) -> Objects {
    let mut pods = Objects::new();
    for component in ["region", "rack", "postgresql"] {
        pods.extend(release.kube.uids("pods", &release.selector(Some(component))));
    }
    assert_eq!(pods.len(), 3, "{pods:?}");
    for (pod, uid) in &mut pods {
        let args = ["pod", pod, "--output", "jsonpath={.status.containerStatuses[*].restartCount}"];
        *uid = format!("{uid} {}", release.kube.ok(&[&["get"], &args[..]].concat()));
    }
    pods
}

fn jobs(release: &Release) -> Objects {
    let mut jobs = release.kube.uids("jobs", &release.selector(None));
    // The hooks run at every upgrade.
    jobs.retain(|name, _| !name.ends_with("-secrets") && !name.ends_with("-quiesce"));
    assert!(jobs.len() >= 6, "{jobs:?}");
    jobs
}

fn without(mut objects: Objects, prefix: &str) -> Objects {
    objects.retain(|name, _| !name.starts_with(prefix));
    objects
}

/// The generation of each StatefulSet: how often its specification was changed.
fn generations(release: &Release) -> String {
    let path = "jsonpath={.items[*].metadata.generation}";
    release.kube.ok(&["get", "statefulsets", "--output", path])
}

pub(crate) fn nothing(release: &Release) {
    let before = (pods(release), jobs(release), generations(release));
    release.apply("upgrade", &[]).expect("helm upgrade");
    assert_eq!((pods(release), jobs(release), generations(release)), before);
}

pub(crate) fn setting(release: &Release) {
    let (pods_before, jobs_before) = (pods(release), jobs(release));
    release
        .apply("upgrade", &["--set", "conf.maas.ntp.ntp_servers={192.0.2.1,192.0.2.2}"])
        .expect("helm upgrade");
    assert_eq!(pods(release), pods_before);
    let configure = release.object("configure");
    assert_eq!(
        without(jobs(release), &release.object("import-images")).keys().count(),
        without(jobs_before.clone(), &release.object("import-images")).keys().count()
    );
    assert_ne!(jobs(release), jobs_before, "configure did not run again");
    let _ = release.kube.complete(&configure);
    let servers = maas(release).setting("ntp_servers").to_string();
    assert!(servers.contains("192.0.2.1") && servers.contains("192.0.2.2"), "{servers}");
}

/// What it left under way would undo what the next one sets: a Job that only a revision has which
/// failed is in no manifest that Helm looks at.
pub(crate) fn failed(release: &Release) {
    let ntp = "conf.maas.ntp.ntp_servers={192.0.2.1,192.0.2.2}";
    let nowhere = "conf.maas.images.boot_source=http://127.0.0.1:9/images/";
    let args = ["--wait", "--wait-for-jobs", "--timeout", "30s", "--set", nowhere, "--set", ntp];
    let failed = release.start("upgrade", &args);
    assert!(!failed.success, "{}", failed.stdout);
    let selector = release.selector(Some("configure"));
    let wrong = release.kube.uids("jobs", &selector);
    assert_eq!(wrong.len(), 1, "{wrong:?}");
    release.apply("upgrade", &["--set", ntp]).expect("helm upgrade");
    let right = release.kube.uids("jobs", &selector);
    assert_eq!(right.len(), 1, "{right:?}");
    assert!(right.keys().all(|name| !wrong.contains_key(name)), "{wrong:?} goes on");
    let _ = release.kube.complete(&release.object("configure"));
    let sources = maas(release).get("boot-sources/").expect("boot sources").to_string();
    assert!(!sources.contains("127.0.0.1:9"), "{sources}");
}

pub(crate) fn image(release: &Release) {
    let before = pods(release);
    let image = release.site.image("maas-rack-controller", "3.6.4-again");
    let tag = format!("images.tags.maas_rack={image}");
    let ntp = "conf.maas.ntp.ntp_servers={192.0.2.1,192.0.2.2}";
    release.apply("upgrade", &["--set", &tag, "--set", ntp]).expect("helm upgrade");
    let rack = release.pod("rack");
    let after = pods(release);
    assert_ne!(after[&rack], before[&rack]);
    assert_eq!(without(after, &rack), without(before, &rack));
    crate::installed::rack(release);
}

/// The tags of a MAAS version.
fn of_version(release: &Release, version: &str) -> Vec<String> {
    ["region", "rack"]
        .iter()
        .map(|name| {
            let image = release.site.image(&format!("maas-{name}-controller"), version);
            format!("images.tags.maas_{name}={image}")
        })
        .collect()
}

fn apply_version(release: &Release, version: &str) -> install_tests::Output {
    let tags = of_version(release, version);
    release.apply("upgrade", &["--set", &tags[0], "--set", &tags[1]])
}

pub(crate) fn version(release: &Release) {
    let before = pods(release);
    let key = release.kube.secret("maas-api-key", "token");
    apply_version(release, "3.7.3").expect("helm upgrade");
    let after = pods(release);
    let database = release.pod("postgresql");
    assert_eq!(after[&database], before[&database]);
    assert_ne!(after[&release.pod("region")], before[&release.pod("region")]);
    // Each migration ran once in all, and no region met a schema that is not its own.
    let twice = "SELECT number FROM standin_migration_run GROUP BY number HAVING count(*) > 1";
    assert_eq!(release.sql(twice).expect("migrations"), "");
    let ran = release.sql("SELECT count(*) FROM standin_migration").expect("migrations");
    assert_eq!(ran.trim(), "6");
    assert_eq!(release.sql("SELECT * FROM standin_incident").expect("incidents"), "");
    let recorded = release.sql("SELECT version FROM maas_deployer.schema_record").expect("record");
    assert!(recorded.contains("3.7.3"), "{recorded}");
    let said = maas(release).get("version/").expect("version");
    assert_eq!(said["version"], "3.7.3");
    assert_eq!(release.kube.secret("maas-api-key", "token"), key);
    assert_eq!(complete_images(&maas(release)).map(|all| all.len()), Some(2));
    crate::installed::rack(release);
}

/// What is refused changes nothing, and the next upgrade is free to go on.
pub(crate) fn older(release: &Release) {
    let before = pods(release);
    let refused = apply_version(release, "3.6.4");
    assert!(!refused.success, "{}", refused.stdout);
    let log = release.kube.logs(&release.object("quiesce"));
    assert!(log.contains("3.7.3") && log.contains("3.6.4"), "{log}");
    assert_eq!(pods(release), before);
    apply_version(release, "3.7.3").expect("the next upgrade");
    assert_eq!(pods(release), before);
    let maas = maas(release);
    eventually("MAAS's answer", || maas.get("version/"));
}

/// The revisions that Helm keeps and that were not refused, oldest first: number, and the
/// region's image.
fn history(release: &Release) -> Vec<(String, String)> {
    let json = |text: String| -> serde_json::Value { serde_json::from_str(&text).expect("JSON") };
    let history = release.helm(&["history", &release.name, "--output", "json"]);
    let history = json(history.expect("helm history"));
    let revision = |one: &serde_json::Value| {
        let number = one["revision"].to_string();
        let values = ["get", "values", &release.name, "--revision", &number, "--output", "json"];
        let values = json(release.helm(&values).expect("helm get values"));
        let image = values["images"]["tags"]["maas_region"].as_str().expect("an image").to_owned();
        (number, image)
    };
    let revisions = history.as_array().expect("revisions").iter();
    revisions.filter(|one| one["status"] != "failed").map(revision).collect()
}

/// `helm rollback` runs the hook of the revision that it goes back to.
pub(crate) fn rollback(release: &Release) {
    let before = pods(release);
    let history = history(release);
    let of = |version: &str| {
        let mut all = history.iter().filter(|(_, image)| image.ends_with(version));
        let (first, second) = (all.next(), all.next());
        assert!(second.is_some(), "two revisions of {version}: {history:?}");
        first.expect("a revision").0.clone()
    };
    let to = |number: &str| {
        let wait = ["--wait", "--wait-for-jobs", "--timeout", "5m"];
        release.helm(&[&["rollback", &release.name, number], &wait[..]].concat())
    };
    let refused = to(&of("3.6.4"));
    assert!(!refused.success, "{}", refused.stdout);
    let quiesce = release.object("quiesce");
    let log = release.kube.logs(&quiesce);
    assert!(log.contains("the database was used by MAAS 3.7.3"), "{log}");
    let code = "jsonpath={.items[*].status.containerStatuses[*].state.terminated.exitCode}";
    let pod = format!("job-name={quiesce}");
    let code = release.kube.ok(&["get", "pods", "--selector", &pod, "--output", code]);
    assert_eq!(code, "5");
    assert_eq!(pods(release), before);
    // As the chart's README says.
    let record = format!("owner=helm,name={},status=pending-rollback", release.name);
    let deleted = release.kube.ok(&["delete", "secret", "--selector", &record]);
    assert_eq!(deleted.lines().count(), 1, "{deleted}");
    // Where the schema stays, so do all pods.
    to(&of("3.7.3")).expect("helm rollback");
    assert_eq!(pods(release), before);
    let maas = maas(release);
    eventually("MAAS's answer", || maas.get("version/"));
    apply_version(release, "3.7.3").expect("the next upgrade");
    assert_eq!(pods(release), before);
}
