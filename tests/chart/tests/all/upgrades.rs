//! What an upgrade changes: jobs' names follow their content, pods restart for
//! what they use, and nothing changes that Kubernetes does not let change.

use std::collections::{BTreeMap, BTreeSet};

use chart_tests::{Helm, Object, Objects, files};
use serde_json::Value;

/// Jobs that are no hooks, by component.
fn jobs(objects: &Objects) -> impl Iterator<Item = &Object> {
    objects.kind("Job").filter(|job| !job.is_hook())
}

#[test]
fn a_jobs_name_changes_exactly_when_its_content_does() {
    let Some(rendered) = files::rendered() else { return };
    let mut templates: BTreeMap<String, (&str, &Value)> = BTreeMap::new();
    let mut names: BTreeMap<String, (&str, &str)> = BTreeMap::new();
    for (file, objects) in rendered.iter().filter(|(file, _)| file != "jobs") {
        for job in jobs(objects) {
            let template = job.at("/spec/template");
            let (other, same) = *templates.entry(job.name().to_owned()).or_insert((file, template));
            assert_eq!(same, template, "{} differs in {other} and {file}", job.id());
            let content = format!("{} {template}", job.component());
            let (other, name) = *names.entry(content).or_insert((file, job.name()));
            assert_eq!(name, job.name(), "the same in {other} and {file}");
        }
    }
    assert!(templates.len() > 60, "{}", templates.len());
}

#[test]
fn jobs_run_again_when_told_so_and_with_another_chart() {
    let Some(helm) = Helm::find() else { return };
    let names = |helm: &Helm| -> Vec<String> {
        jobs(&helm.objects(&[&files::named("postgresql")]))
            .map(|job| job.name().to_owned())
            .collect()
    };
    let before = names(&helm);
    assert!(before.len() >= 7, "{before:?}");
    let rerun = names(&helm.clone().set(&["jobs.rerun=again"]));
    let copy = helm.copy();
    let file = copy.path().join("Chart.yaml");
    let text = std::fs::read_to_string(&file).unwrap();
    assert!(text.contains("version: 0.3.0"));
    std::fs::write(&file, text.replace("version: 0.3.0", "version: 0.3.1")).unwrap();
    let newer = names(&helm.chart(copy.path()));
    for after in [rerun, newer] {
        assert_eq!(after.len(), before.len());
        assert!(after.iter().all(|name| !before.contains(name)), "{before:?} {after:?}");
    }
}

/// Of the Jobs under way, those that the upgrade has too go on.
#[test]
fn quiesce_knows_the_jobs_that_come() {
    let Some(rendered) = files::rendered() else { return };
    let mut told = 0;
    for (file, objects) in rendered {
        let Some(quiesce) = objects.get("Job", "maas-quiesce") else { continue };
        let argv = quiesce.pod().unwrap().argv("quiesce");
        let coming = argv.iter().skip_while(|word| **word != "--coming").nth(1).unwrap();
        let coming: Vec<&str> = coming.split(',').filter(|name| !name.is_empty()).collect();
        let names: Vec<&str> = jobs(objects).map(Object::name).collect();
        assert_eq!(coming.iter().collect::<BTreeSet<_>>(), names.iter().collect(), "{file}");
        told += names.len();
    }
    assert!(told > 300, "{told}");
}

/// MAAS waits for every region that ever ran, and import-images removes those that are no more;
/// with mirrors, configure waits for that of each.
#[test]
fn another_number_of_regions_runs_again_what_looks_at_each_and_nothing_else() {
    let Some(helm) = Helm::find() else { return };
    let base = files::named("replicas");
    for (cache, again) in
        [("false", &["import-images"][..]), ("true", &["configure", "import-images"])]
    {
        let cache = format!("conf.cache.enabled={cache}");
        let render = |count: u32| {
            let count = format!("pod.replicas.region={count}");
            helm.clone().set(&[&count, &cache]).objects(&[&base])
        };
        let (before, after) = (render(2), render(1));
        for job in jobs(&before) {
            let stays = after.get("Job", job.name()).is_some();
            assert_eq!(stays, !again.contains(&job.component()), "{cache}: {}", job.id());
        }
        for set in before.kind("StatefulSet") {
            let now = after.one("StatefulSet", set.name());
            assert_eq!(set.at("/spec/template"), now.at("/spec/template"), "{}", set.id());
        }
    }
}

/// In order, Kubernetes waits for a pod that cannot start before it looks at what mends it.
#[test]
fn a_pod_that_cannot_start_holds_up_no_upgrade() {
    let Some(rendered) = files::rendered() else { return };
    let sets = || rendered.iter().flat_map(|(_, objects)| objects.kind("StatefulSet"));
    assert!(sets().count() > 100);
    for set in sets() {
        assert_eq!(set.at("/spec/podManagementPolicy"), "Parallel", "{}", set.id());
    }
}

/// MAAS is given the keyring by configure: the mirror alone is not enough.
#[test]
fn another_keyring_is_given_to_maas() {
    let Some(helm) = Helm::find() else { return };
    let names = |data: &str| -> BTreeMap<String, String> {
        let helm = helm.clone().set(&[&format!("conf.cache.keyring.data={data}")]);
        let objects = helm.objects(&[&files::named("cache")]);
        jobs(&objects).map(|job| (job.component().to_owned(), job.name().to_owned())).collect()
    };
    let (before, after) = (names("bm90IGEga2V5cmluZw=="), names("bm9yIHRoaXM="));
    let mut changed: Vec<&str> = Vec::new();
    for (component, name) in &before {
        if after[component] != *name {
            changed.push(component);
        }
    }
    assert_eq!(changed, ["configure", "import-images"]);
}

#[test]
fn another_chart_version_restarts_nothing() {
    let Some(helm) = Helm::find() else { return };
    let copy = helm.copy();
    let file = copy.path().join("Chart.yaml");
    let text = std::fs::read_to_string(&file).unwrap();
    let text = text.replace("version: 0.3.0", "version: 9.9.9").replace("3.6.5", "9.9.9");
    std::fs::write(&file, text).unwrap();
    let values = [&*files::named("cache"), &*files::named("tls-own-secret")];
    let (before, after) = (helm.objects(&values), helm.chart(copy.path()).objects(&values));
    for set in before.kind("StatefulSet") {
        let now = after.one("StatefulSet", set.name());
        assert_eq!(set.at("/spec"), now.at("/spec"), "{}", set.id());
        assert_ne!(set.at("/metadata/labels"), now.at("/metadata/labels"));
    }
}

#[test]
fn what_cannot_be_changed_follows_storage_alone() {
    let Some(rendered) = files::rendered() else { return };
    let mut first: BTreeMap<&str, (&str, Value)> = BTreeMap::new();
    let by_storage = ["storage", "cache-baked", "cache-shared-volume"];
    for (file, objects) in rendered.iter().filter(|(file, _)| !by_storage.contains(&&**file)) {
        for set in objects.kind("StatefulSet") {
            let mut fixed = set.at("/spec").as_object().unwrap().clone();
            // All else of a StatefulSet's spec is refused on upgrade.
            for free in ["replicas", "template"] {
                assert!(fixed.remove(free).is_some());
            }
            if file == "old-chart" {
                let claims = Value::from(fixed.remove("volumeClaimTemplates").unwrap().to_string());
                assert!(claims.as_str().unwrap().contains("storage"));
                continue;
            }
            let fixed = Value::Object(fixed);
            let (other, same) = first.entry(set.name()).or_insert((file, fixed.clone()));
            assert_eq!(*same, fixed, "{} in {other} and {file}", set.id());
        }
        for service in objects.kind("Service").filter(|one| !one.component().is_empty()) {
            let headless = service.at("/spec/clusterIP") == "None";
            let own = ["-headless", "-rack"].iter().any(|end| service.name().ends_with(end));
            assert_eq!(headless, own, "{file}: {}", service.id());
        }
    }
    assert_eq!(first.len(), 4);
}

/// Settings that have nothing to do with the pods of a StatefulSet.
const UNRELATED: [(&str, &[&str]); 3] = [
    (
        "maas-region",
        &[
            "conf.maas.extra_settings.kernel_opts=x",
            "conf.maas.images.default_image=jammy",
            "conf.maas.ntp.ntp_servers={a.example}",
            "conf.maas.ntp.disable_ntpd_rack=true",
            "conf.maas.credentials.secret.name=other",
            "conf.maas.tls.server_name=maas.example.org",
            "conf.nginx.worker_processes=3",
            "conf.syslog.logfile=other",
            "conf.cache.every=1h",
            "endpoints.maas_region.auth.admin.password=x",
            "endpoints.maas_db.auth.user.password=x",
            "endpoints.maas_db.auth.admin.password=x",
            "endpoints.maas_region.port.region_api.nodeport=30000",
            "images.tags.maas_rack=other:1",
            "images.tags.maas_cache=other:1",
            "images.tags.postgresql=other:1",
            "jobs.rerun=x",
            "jobs.backoff_limit=3",
            "jobs.import_boot_resources.timeout=1",
            "labels.rack.node_selector_key=x",
            "manifests.network_policy=true",
            "network.region_api.ingress.classes.cluster=x",
            "network.region_api.node_port.enabled=true",
            "pod.replicas.region=2",
            "pod.replicas.rack=2",
            "pod.resources.jobs.default.requests.cpu=3",
            "pod.resources.maas_rack.requests.cpu=3",
        ],
    ),
    (
        "maas-rack",
        &[
            "conf.maas.extra_settings.kernel_opts=x",
            "conf.cache.enabled=true",
            "conf.curtin.override=true",
            "conf.drydock.bootaction_url=http://x.example",
            "endpoints.maas_db.port.postgresql.default=5433",
            "images.tags.maas_region=other:1",
            "images.tags.maas_cache=other:1",
            "jobs.rerun=x",
            "secrets.maas_db.revision=x",
            "pod.replicas.rack=2",
            "storage.mirror.pvc.enabled=false",
        ],
    ),
    (
        "maas-postgresql",
        &[
            "conf.cache.enabled=true",
            "conf.maas.workers=2",
            "images.tags.maas_region=other:1",
            "images.tags.maas_deployer=other:1",
            "jobs.rerun=x",
            "secrets.maas_db.revision=x",
            "endpoints.maas_db.auth.user.username=other",
            // The server has made its administrator: another has to be made in it, by hand.
            "endpoints.maas_db.auth.admin.username=other",
        ],
    ),
];

#[test]
fn pods_restart_for_nothing_that_they_do_not_use() {
    let Some(helm) = Helm::find() else { return };
    let base = files::named("postgresql");
    let before = helm.objects(&[&base]);
    for (set, settings) in UNRELATED {
        // One after the other would tell which; all at once tells whether.
        let after = helm.clone().set(settings).objects(&[&base]);
        let (before, after) = (before.pod_of(set), after.pod_of(set));
        assert_eq!(before.json, after.json, "{set}");
    }
}

#[test]
fn pods_restart_for_what_they_use() {
    let Some(helm) = Helm::find() else { return };
    let base = files::named("cache");
    let before = helm.objects(&[&base]);
    let changes = [
        ("maas-region", "images.tags.maas_region=other:1"),
        ("maas-region", "conf.maas.workers=2"),
        ("maas-region", "secrets.maas_db.revision=x"),
        ("maas-region", "conf.bind.append=x"),
        ("maas-region", "conf.drydock.bootaction_url=http://x.example"),
        ("maas-region", "conf.cache.keyring.data=bm90IGEga2V5"),
        ("maas-region", "conf.cache.ca=x"),
        ("maas-region", "conf.maas.images.default_image=jammy"),
        ("maas-rack", "conf.nginx.worker_processes=3"),
        ("maas-region", "conf.maas.url.maas_url=http://x.example/MAAS"),
        ("maas-syslog", "conf.syslog.log_level=debug"),
        ("maas-postgresql", "postgresql.parameters.max_connections=7"),
    ];
    for (set, change) in changes {
        let after = helm.clone().set(&[change]).objects(&[&base]);
        let (before, after) = (before.pod_of(set), after.pod_of(set));
        assert_ne!(before.json, after.json, "{set}: {change}");
    }
    // Files whose content changes, not only their names.
    for (set, one, two) in [
        ("maas-region", "conf.bind.append=x", "conf.bind.append=y"),
        ("maas-region", "conf.cache.keyring.data=eA==", "conf.cache.keyring.data=eQ=="),
        (
            "maas-region",
            "conf.drydock.bootaction_url=http://x",
            "conf.drydock.bootaction_url=http://y",
        ),
        ("maas-rack", "conf.nginx.worker_connections=1", "conf.nginx.worker_connections=2"),
    ] {
        let render = |change| helm.clone().set(&[change]).objects(&[&base]);
        let (one, two) = (render(one), render(two));
        assert_ne!(one.pod_of(set).json, two.pod_of(set).json, "{set}");
    }
}

/// A password is in no name, so that another one is told of by a text of the operator's: numbers,
/// as `--set` makes of digits, too.
#[test]
fn another_login_of_the_database_is_set_and_taken_up_by_one_upgrade() {
    let Some(helm) = Helm::find() else { return };
    let base = files::named("passwords");
    let render = |settings: &[&str]| helm.clone().set(settings).objects(&[&base]);
    let new = "endpoints.maas_db.auth.user.password=new";
    let (before, after) = (render(&[]), render(&[new, "secrets.maas_db.revision=2"]));
    let names = |objects: &Objects| -> Vec<String> {
        jobs(objects).map(|job| job.name().to_owned()).collect()
    };
    let (names, told) = (names(&before), names(&after));
    let new: Vec<_> = told.iter().filter(|name| !names.contains(name)).collect();
    assert_eq!(new, [after.job("db-init").name()], "no other job has anything to do");
    let region = after.one("StatefulSet", "maas-region");
    let mark = "/spec/template/metadata/annotations/maas-chart~1database-login";
    assert_eq!((region.at(mark), after.job("db-init").at(mark)), (&"2".into(), &"2".into()));
    for set in before.kind("StatefulSet").filter(|set| set.name() != region.name()) {
        assert_eq!(set, after.one("StatefulSet", set.name()), "{}", set.id());
    }
    assert_eq!(render(&["secrets.maas_db.revision="]).0, before.0, "nothing restarts for nothing");
    // The region starts with the login that it has just waited for.
    let inits = after.pod_of("maas-region").inits();
    let at = |name: &str| inits.iter().position(|init| *init == name).unwrap();
    assert!(at("wait-schema") < at("region-conf"), "{inits:?}");
}

#[test]
fn a_job_waits_for_the_one_before_it_under_its_name_of_today() {
    let Some(rendered) = files::rendered() else { return };
    for (file, objects) in rendered {
        let Some(import) = jobs(objects).find(|job| job.component() == "import-images") else {
            continue;
        };
        let waits = import.pod().unwrap().argv("wait");
        let target = waits.iter().find_map(|word| word.strip_prefix("job/"));
        if ["no-configure"].contains(&&**file) {
            assert_eq!(target, None, "{file}");
        } else {
            assert_eq!(target, Some(objects.job("configure").name()), "{file}");
        }
    }
}
