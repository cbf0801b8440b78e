//! Upgrades with nothing, a little and a lot to change, and the way back.

use install_tests::{Objects, Release, Tool, eventually};

use crate::installed::{figure, maas};
use crate::restarts::identity;

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

/// The deployer writes nothing, which the cluster's own log says.
pub(crate) fn nothing(release: &Release) {
    let before = (pods(release), jobs(release), generations(release), release.revision());
    let writes = release.writes();
    assert!(writes > 0, "the log of writes is not that of this cluster");
    release.looked("diff", &["--detailed-exitcode"]).expect("a diff with no difference");
    let (output, used) = release.applied(Tool::Deployer, "upgrade", &[]);
    let said = output.expect("maas-deployer upgrade");
    assert!(said.contains("nothing to change"), "{said}");
    assert_eq!(release.writes(), writes);
    figure("maas-deployer upgrade with nothing changed", used);
    let after = (pods(release), jobs(release), generations(release), release.revision());
    assert_eq!(after, before);
}

const NTP: &str = "conf.maas.ntp.ntp_servers={192.0.2.1,192.0.2.2}";

pub(crate) fn setting(release: &Release) {
    let (pods_before, jobs_before) = (pods(release), jobs(release));
    let before = identity(release);
    let differs = release.looked("diff", &["--detailed-exitcode", "--set", NTP]);
    // The settings are a Secret's: that they change is told, and not to what.
    let said = differs.expect_exit(2, "a diff");
    assert!(said.contains(&release.object("settings")), "{said}");
    assert!(!said.contains("192.0.2.2"), "{said}");
    release.apply(Tool::Deployer, "upgrade", &["--set", NTP]).expect("maas-deployer upgrade");
    assert_eq!(pods(release), pods_before);
    assert_eq!(identity(release), before);
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
    let version = crate::restarts::newer(release);
    let version: Vec<&str> = version.iter().map(String::as_str).collect();
    let nowhere = "conf.maas.images.boot_source=http://127.0.0.1:9/images/";
    let args = ["--wait", "--wait-for-jobs", "--timeout", "30s", "--set", nowhere, "--set", NTP];
    let failed = release.start(Tool::Helm, "upgrade", &[&version, &args[..]].concat());
    assert!(!failed.success, "{}", failed.stdout);
    let selector = release.selector(Some("configure"));
    let wrong = release.kube.uids("jobs", &selector);
    assert_eq!(wrong.len(), 1, "{wrong:?}");
    let args = [&version, &["--set", NTP][..]].concat();
    release.apply(Tool::Helm, "upgrade", &args).expect("helm upgrade");
    let right = release.kube.uids("jobs", &selector);
    assert_eq!(right.len(), 1, "{right:?}");
    assert!(right.keys().all(|name| !wrong.contains_key(name)), "{wrong:?} goes on");
    let _ = release.kube.complete(&release.object("configure"));
    let sources = maas(release).get("boot-sources/").expect("boot sources").to_string();
    assert!(!sources.contains("127.0.0.1:9"), "{sources}");
}

pub(crate) fn image(release: &Release) {
    let image = release.site.image("maas-rack-controller", "3.6.4-again");
    let tag = format!("images.tags.maas_rack={image}");
    only_the_rack(release, || {
        let set = ["--set", &tag, "--set", NTP];
        release.apply(Tool::Deployer, "upgrade", &set).expect("maas-deployer upgrade");
    });
}

/// What the upgrade before has changed, and nothing else, goes back.
pub(crate) fn back(release: &Release) {
    let (revision, _) = release.revision();
    only_the_rack(release, || {
        let to = (revision - 1).to_string();
        release.rollback(Tool::Deployer, &to).expect("maas-deployer rollback");
    });
    assert_eq!(release.revision(), (revision + 1, "deployed".to_owned()));
    let pod = release.kube.get(&["pod", &release.pod("rack")]).expect("the rack");
    let image = pod["spec"]["containers"][0]["image"].as_str().expect("an image");
    assert!(image.ends_with(":3.6.4"), "{image}");
}

/// The rack, and no other pod, is another one after `step`.
#[track_caller]
fn only_the_rack(release: &Release, step: impl FnOnce()) {
    let (before, identity_before) = (pods(release), identity(release));
    step();
    let rack = release.pod("rack");
    let after = pods(release);
    assert_ne!(after[&rack], before[&rack]);
    assert_eq!(without(after, &rack), without(before, &rack));
    crate::installed::rack(release);
    assert_eq!(identity(release), identity_before);
}

/// The tags of a MAAS version.
pub(crate) fn of_version(release: &Release, version: &str) -> Vec<String> {
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
    release.apply(Tool::Deployer, "upgrade", &["--set", &tags[0], "--set", &tags[1]])
}

pub(crate) fn version(release: &Release) {
    let (before, identity_before) = (pods(release), identity(release));
    apply_version(release, "3.7.3").expect("maas-deployer upgrade");
    let after = pods(release);
    let database = release.pod("postgresql");
    assert_eq!(after[&database], before[&database]);
    assert_ne!(after[&release.pod("region")], before[&release.pod("region")]);
    migrated_once(|statement| release.sql(statement).expect(statement));
    let said = maas(release).get("version/").expect("version");
    assert_eq!(said["version"], "3.7.3");
    crate::installed::rack(release);
    assert_eq!(identity(release), identity_before);
}

/// Each migration ran once in all, and no region met a schema that is not its own.
#[track_caller]
pub(crate) fn migrated_once(sql: impl Fn(&str) -> String) {
    let twice = "SELECT number FROM standin_migration_run GROUP BY number HAVING count(*) > 1";
    assert_eq!(sql(twice), "");
    assert_eq!(sql("SELECT count(*) FROM standin_migration").trim(), "6");
    assert_eq!(sql("SELECT * FROM standin_incident"), "");
    let recorded = sql("SELECT version FROM maas_deployer.schema_record");
    assert!(recorded.contains("3.7.3"), "{recorded}");
}

/// What is refused changes nothing, and the next upgrade is free to go on.
pub(crate) fn older(release: &Release) {
    let before = pods(release);
    let refused = apply_version(release, "3.6.4");
    let told = refused.expect_exit(5, "an older MAAS");
    assert!(told.contains("3.7.3") && told.contains("3.6.4"), "{told}");
    assert_eq!(pods(release), before);
    apply_version(release, "3.7.3").expect("the next upgrade");
    assert_eq!(pods(release), before);
    let maas = maas(release);
    eventually("MAAS's answer", || maas.get("version/"));
}

/// The newest revision that was not refused and whose region has this version.
#[track_caller]
pub(crate) fn revision_of(release: &Release, version: &str) -> String {
    let json = |text: String| -> serde_json::Value { serde_json::from_str(&text).expect("JSON") };
    let history = release.helm(&["history", &release.name, "--output", "json"]);
    let history = json(history.expect("helm history"));
    let is_of = |revision: &serde_json::Value| {
        let number = revision["revision"].to_string();
        let values = ["get", "values", &release.name, "--revision", &number, "--output", "json"];
        let values = json(release.helm(&values).expect("helm get values"));
        let image = values["images"]["tags"]["maas_region"].as_str().expect("an image").to_owned();
        image.ends_with(version)
    };
    let mut revisions = history.as_array().expect("revisions").iter().rev();
    let found = revisions.find(|one| one["status"] == "superseded" && is_of(one));
    found.unwrap_or_else(|| panic!("{version}: {history:?}"))["revision"].to_string()
}

/// A rollback runs the hook of the revision that it goes back to. Where the schema stays, so do all
/// pods.
pub(crate) fn rollback(release: &Release) {
    let (before, identity_before) = (pods(release), identity(release));
    let to = |version: &str| release.rollback(Tool::Deployer, &revision_of(release, version));
    let told = to("3.6.4").expect_exit(5, "a rollback to an older MAAS");
    assert!(told.contains("the database was used by MAAS 3.7.3"), "{told}");
    assert_eq!(release.revision().1, "failed");
    assert_eq!(pods(release), before);
    to("3.7.3").expect("maas-deployer rollback");
    assert_eq!(pods(release), before);
    assert_eq!(identity(release), identity_before);
    apply_version(release, "3.7.3").expect("the next upgrade");
    assert_eq!(pods(release), before);
}
