//! What comes back by itself, and what a second install finds.

use std::process::Command;

use fixtures::Certificate;
use install_tests::{Forward, Kube, Release, Tool, eventually, run};

use crate::installed::{
    api_key, complete_images, helm_test, maas, rack as rack_registered, status_tells_all,
};
use crate::upgrades::pods;

/// What must be the same after everything that can happen to a release.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    region_secret: Option<String>,
    api_key: Option<String>,
    rack: Option<String>,
    images: Option<Vec<String>>,
    fetched: usize,
}

pub(crate) fn identity(release: &Release) -> Identity {
    let maas = maas(release);
    let rack = eventually("the racks", || {
        let racks = maas.get("rackcontrollers/")?;
        assert_eq!(racks.as_array().map(Vec::len), Some(1), "{racks}");
        racks[0]["system_id"].as_str().map(ToOwned::to_owned)
    });
    Identity {
        region_secret: release.kube.secret(&release.object("region-secret"), "REGION_SECRET"),
        api_key: release.kube.secret("maas-api-key", "token"),
        rack: Some(rack),
        images: eventually("the images", || complete_images(&maas).filter(|all| all.len() == 2))
            .into(),
        fetched: release.items_fetched(),
    }
}

/// Kills a pod's containers with no warning, and waits for the next one.
fn killed(release: &Release, component: &str) {
    let before = identity(release);
    let pod = release.pod(component);
    let old = release.kube.ready(&pod, None);
    release.kube.ok(&["delete", "pod", &pod, "--grace-period=0", "--force"]);
    release.kube.ready(&pod, Some(&old));
    assert_eq!(identity(release), before);
    rack_registered(release);
    api_key(release);
}

pub(crate) fn region(release: &Release) {
    killed(release, "region");
}

pub(crate) fn rack(release: &Release) {
    killed(release, "rack");
}

pub(crate) fn database(release: &Release) {
    killed(release, "postgresql");
}

pub(crate) fn node(release: &Release) {
    let before = identity(release);
    let mut reboot = Command::new(&release.site.driver);
    reboot.arg("reboot").arg("--dir").arg(&release.site.dir);
    run(&mut reboot, b"").expect("reboot");
    for component in ["postgresql", "region", "rack"] {
        release.kube.ready(&release.pod(component), None);
    }
    assert_eq!(identity(release), before);
    rack_registered(release);
    helm_test(release);
}

/// The images of the version that the release was upgraded to, as arguments of either tool.
pub(crate) fn newer(release: &Release) -> [String; 4] {
    let tag =
        |key: &str, name: &str| format!("images.tags.{key}={}", release.site.image(name, "3.7.3"));
    let set = || "--set".to_owned();
    [
        set(),
        tag("maas_region", "maas-region-controller"),
        set(),
        tag("maas_rack", "maas-rack-controller"),
    ]
}

/// Uninstalls by one tool and installs by the other, or the same: all data are found again.
#[track_caller]
fn reinstalled(release: &Release, (gone, back): (Tool, Tool)) {
    let before = identity(release);
    release.uninstall(gone, &[]).expect("uninstall");
    eventually("the pods to be gone", || {
        let mut pods = release.kube.uids("pods", &release.selector(None));
        // Helm leaves it, for its log.
        pods.remove(&release.object("test"));
        pods.is_empty().then_some(())
    });
    let version = newer(release);
    let version: Vec<&str> = version.iter().map(String::as_str).collect();
    release.apply(back, "install", &version).expect("install");
    assert_eq!(identity(release), before);
    rack_registered(release);
    helm_test(release);
}

pub(crate) fn again(release: &Release) {
    reinstalled(release, (Tool::Deployer, Tool::Deployer));
}

pub(crate) fn again_by_helm(release: &Release) {
    reinstalled(release, (Tool::Deployer, Tool::Helm));
}

/// Helm has nothing to restart of what the deployer made, nor the deployer, which writes nothing
/// either.
pub(crate) fn helm_goes_on(release: &Release) {
    let (before, identity_before) = (pods(release), identity(release));
    let version = newer(release);
    let version: Vec<&str> = version.iter().map(String::as_str).collect();
    release.apply(Tool::Helm, "upgrade", &version).expect("helm upgrade");
    assert_eq!(pods(release), before);
    let writes = release.writes();
    release.apply(Tool::Deployer, "upgrade", &version).expect("maas-deployer upgrade");
    assert_eq!(release.writes(), writes);
    assert_eq!(pods(release), before);
    assert_eq!(identity(release), identity_before);
}

/// The API over TLS, verified by an authority of its own: pods become ready, jobs and `status`
/// reach it, and the plain port sends clients there.
pub(crate) fn tls(release: &Release) {
    let service = format!("{}.{}", release.object("region"), release.kube.namespace());
    let names = [&*service, &format!("{service}.svc"), &format!("{service}.svc.cluster.local")];
    let certificate = Certificate::for_names(&names).expect("certificate");
    let mut args: Vec<String> = newer(release).into();
    for (key, text) in [
        ("ca", &certificate.ca_pem),
        ("cert", &certificate.cert_pem),
        ("key", &certificate.key_pem),
    ] {
        let file = release.folder().join(key);
        std::fs::write(&file, text).expect("write");
        args.push("--set-file".to_owned());
        args.push(format!("conf.maas.tls.{key}={}", file.display()));
    }
    for switch in ["enabled", "create"] {
        args.push("--set".to_owned());
        args.push(format!("conf.maas.tls.{switch}=true"));
    }
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    release.apply(Tool::Helm, "upgrade", &args).expect("helm upgrade");
    release.kube.ready(&release.pod("region"), None);
    let target = format!("service/{}", release.object("region"));
    let forward = eventually("a way to the region", || Forward::to(&release.kube, &target, 80));
    let answer = eventually("a redirect", || {
        e2e::http::request(forward.address(), "GET", "/MAAS/api/2.0/version/", &[]).ok()
    });
    assert_eq!(answer.status, 301, "{}", answer.text());
    helm_test(release);
    status_tells_all(release);
}

/// And off again, by a rollback: the plain port answers, jobs and racks reach it, and no job has
/// failed.
pub(crate) fn tls_off(release: &Release) {
    let (revision, _) = release.revision();
    let to = (revision - 1).to_string();
    release.rollback(Tool::Deployer, &to).expect("maas-deployer rollback");
    release.kube.ready(&release.pod("region"), None);
    let target = format!("service/{}", release.object("region"));
    let forward = eventually("a way to the region", || Forward::to(&release.kube, &target, 80));
    let answer = eventually("an answer", || {
        e2e::http::request(forward.address(), "GET", "/MAAS/api/2.0/version/", &[]).ok()
    });
    assert_eq!(answer.status, 200, "{}", answer.text());
    rack_registered(release);
    helm_test(release);
}

/// With its data: nothing is left of it.
pub(crate) fn purged(release: &Release) {
    let purge = ["--purge-data"];
    release.uninstall(Tool::Deployer, &purge).expect("maas-deployer uninstall --purge-data");
    let kinds =
        "all,secrets,configmaps,pvc,serviceaccounts,roles,rolebindings,poddisruptionbudgets";
    let args = [kinds, "--selector", &release.selector(None)];
    let left = release.kube.get(&args).expect("a list");
    let names = left["items"].as_array().expect("items").iter();
    let mut names: Vec<_> = names.map(|one| one["metadata"]["name"].clone()).collect();
    // Helm leaves it, for its log.
    names.retain(|name| *name != release.object("test"));
    assert!(names.is_empty(), "{names:?}");
    assert_eq!(release.kube.secret("maas-api-key", "token"), None);
    Kube::remove(&release.site, release.kube.namespace());
}
