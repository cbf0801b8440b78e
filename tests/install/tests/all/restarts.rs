//! What comes back by itself, and what a second install finds.

use std::process::Command;

use install_tests::{Release, eventually, run};

use crate::installed::{api_key, complete_images, helm_test, maas, rack as rack_registered};

/// What must be the same after everything that can happen to a release.
#[derive(Debug, PartialEq, Eq)]
struct Identity {
    region_secret: Option<String>,
    api_key: Option<String>,
    rack: Option<String>,
    images: Option<Vec<String>>,
    fetched: usize,
}

fn identity(release: &Release) -> Identity {
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

pub(crate) fn again(release: &Release) {
    let before = identity(release);
    let uninstall = ["uninstall", &release.name, "--wait", "--timeout", "5m"];
    release.helm(&uninstall).expect("helm uninstall");
    eventually("the pods to be gone", || {
        release.kube.uids("pods", &release.selector(None)).is_empty().then_some(())
    });
    let version = ["maas_region", "maas_rack"].map(|key| {
        let name = format!("{}-controller", key.replace('_', "-"));
        format!("images.tags.{key}={}", release.site.image(&name, "3.7.3"))
    });
    release.apply("install", &["--set", &version[0], "--set", &version[1]]).expect("helm install");
    assert_eq!(identity(release), before);
    rack_registered(release);
    helm_test(release);
}
