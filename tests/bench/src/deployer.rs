//! maas-deployer, beside Helm: rendering, and on a cluster installs and upgrades.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::Result;
use crate::figures::Report;
use crate::process::{Cost, measure, program};

/// In this order in every pair.
const PROGRAMS: [&str; 2] = ["maas-deployer", "helm"];

/// The two programs, the chart, and a folder for values and for Helm's own files.
struct Tools {
    deployer: PathBuf,
    helm: PathBuf,
    chart: PathBuf,
    folder: TempDir,
}

impl Tools {
    /// `None`, and said, where there is no Helm to compare with.
    fn find() -> Result<Option<Self>> {
        let Some(helm) = std::env::var_os("HELM") else {
            skipped("HELM names no program; `make cluster-up` builds it");
            return Ok(None);
        };
        let chart = std::env::var_os("CHART").map_or_else(|| "chart".into(), PathBuf::from);
        let deployer = program("MAAS_DEPLOYER_BIN", "maas-deployer")?;
        Ok(Some(Self { deployer, helm: helm.into(), chart, folder: tempfile::tempdir()? }))
    }

    fn values(&self) -> PathBuf {
        self.folder.path().join("values.json")
    }

    fn deployer(&self, args: &[&str]) -> Command {
        let mut command = Command::new(&self.deployer);
        command.args(args).env("MAAS_DEPLOYER_PROGRESS", "plain");
        command
    }

    fn helm(&self, args: &[&str]) -> Command {
        let mut command = Command::new(&self.helm);
        for name in ["HELM_CACHE_HOME", "HELM_CONFIG_HOME", "HELM_DATA_HOME"] {
            command.env(name, self.folder.path());
        }
        command.args(args);
        command
    }

    /// `install` or `upgrade` by both, each of its own release, until all is ready.
    fn changed(&self, verb: &str, spaces: &[String; 2]) -> [Command; 2] {
        let values = self.values().display().to_string();
        let [ours, theirs] = spaces;
        let chart = self.chart.display().to_string();
        let common = ["--values", &values, "--timeout", "10m", "--namespace"];
        let wait = ["--wait", "--wait-for-jobs"];
        [
            self.deployer(&[&[verb, "maas"], &common[..], &[ours]].concat()),
            self.helm(&[&[verb, "maas", &chart], &wait[..], &common[..], &[theirs]].concat()),
        ]
    }
}

#[allow(clippy::print_stderr, reason = "why there are no figures is told beside them")]
fn skipped(reason: &str) {
    eprintln!("not measured: {reason}");
}

/// The chart rendered with its default values.
pub(crate) fn template(rounds: usize, report: &mut Report) -> Result<()> {
    let Some(tools) = Tools::find()? else { return Ok(()) };
    let chart = tools.chart.display().to_string();
    let mut figures = Pairs::default();
    for round in 0..=rounds {
        let ours = measure(&mut tools.deployer(&["template", "maas", "-n", "maas"]))?;
        let args = ["template", "maas", &chart, "-n", "maas", "--kube-version", "1.33.0"];
        let theirs = measure(&mut tools.helm(&args))?;
        // The first round warms caches and is not counted.
        if round > 0 {
            figures.push([ours, theirs]);
        }
    }
    figures.report("template of the chart", "ms", 1000.0, report);
    Ok(())
}

/// Installs and upgrades with nothing changed, on a cluster: of the small part of the chart that
/// needs no images but the database's and the deployer's.
pub(crate) fn small(rounds: usize, report: &mut Report) -> Result<()> {
    let Some(tools) = Tools::find()? else { return Ok(()) };
    let Some(registry) = registry() else { return Ok(()) };
    std::fs::write(tools.values(), small_part(&registry).to_string())?;
    installs(&tools, "a small part", rounds, report)
}

/// The same of the whole chart, with an upstream of its own for the mirror.
pub(crate) fn whole(rounds: usize, report: &mut Report) -> Result<()> {
    let Some(tools) = Tools::find()? else { return Ok(()) };
    if registry().is_none() {
        return Ok(());
    }
    let site = install_tests::Site::from_env().ok_or("CLUSTER_REGISTRY is not set")?;
    let release = install_tests::Release::new(&site, "maas", "bench-values");
    std::fs::copy(release.folder().join(install_tests::VALUES), tools.values())?;
    let measured = installs(&tools, "the whole", rounds, report);
    kubectl(&["delete", "namespace", "bench-values", "--wait=false"])?;
    measured
}

fn registry() -> Option<String> {
    let registry = std::env::var("CLUSTER_REGISTRY").ok();
    if registry.is_none() {
        skipped("installs: there is no cluster; `KEEP=1 scripts/cluster-tests` leaves one");
    }
    registry
}

/// Rounds of an install of each into a namespace of its own, and an upgrade of each with nothing
/// changed; one is gone before the other comes, as both want the node's ports.
fn installs(tools: &Tools, what: &str, rounds: usize, report: &mut Report) -> Result<()> {
    let [mut installed, mut again] = [Pairs::default(), Pairs::default()];
    for round in 0..=rounds {
        let spaces = PROGRAMS.map(|program| format!("bench-{program}-{round}"));
        let (mut first, mut later) = (Vec::new(), Vec::new());
        let installs = tools.changed("install", &spaces);
        let upgrades = tools.changed("upgrade", &spaces);
        for ((space, mut install), mut upgrade) in spaces.iter().zip(installs).zip(upgrades) {
            kubectl(&["create", "namespace", space])?;
            let measured = measure(&mut install).and_then(|cost| {
                first.push(cost);
                later.push(measure(&mut upgrade)?);
                Ok(())
            });
            kubectl(&["delete", "namespace", space, "--timeout", "5m"])?;
            measured?;
        }
        // The first round fetches images and is not counted.
        if let (true, &[a, b], &[c, d]) = (round > 0, &first[..], &later[..]) {
            installed.push([a, b]);
            again.push([c, d]);
        }
    }
    installed.report(&format!("install of {what}"), "s", 1.0, report);
    again.report(&format!("upgrade of {what}, no change"), "s", 1.0, report);
    Ok(())
}

/// Time and memory of both programs, round by round.
#[derive(Default)]
struct Pairs {
    wall: [Vec<f64>; 2],
    peak: [Vec<f64>; 2],
}

impl Pairs {
    fn push(&mut self, costs: [Cost; 2]) {
        for ((wall, peak), cost) in self.wall.iter_mut().zip(&mut self.peak).zip(costs) {
            wall.push(cost.wall.as_secs_f64());
            peak.push(cost.peak_mb);
        }
    }

    /// Times in a unit of which a second has `units`, and memory.
    fn report(self, what: &str, unit: &'static str, units: f64, report: &mut Report) {
        for (program, seconds) in PROGRAMS.iter().zip(self.wall) {
            let times = seconds.into_iter().map(|one| one * units).collect();
            report.add(what, program, unit, times);
        }
        for (program, peaks) in PROGRAMS.iter().zip(self.peak) {
            report.add(&format!("memory of {what}"), program, "MB", peaks);
        }
    }
}

fn kubectl(args: &[&str]) -> Result<()> {
    let kubectl = std::env::var_os("KUBECTL").ok_or("KUBECTL is not set")?;
    let mut command = Command::new(Path::new(&kubectl));
    let output = command.args(args).stdin(Stdio::null()).output()?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!("kubectl {args:?}: {}", String::from_utf8_lossy(&output.stderr)).into())
}

/// Hooks, the database, and what makes a role in it.
fn small_part(registry: &str) -> Value {
    let off = [
        "region_statefulset",
        "rack_statefulset",
        "syslog_statefulset",
        "syslog_service",
        "ingress_region",
        "job_db_sync",
        "job_seed_secret",
        "job_create_admin",
        "job_tls",
        "job_configure",
        "job_export_api_key",
        "job_import_images",
        "job_quiesce",
        "test_maas_api",
    ];
    let off: serde_json::Map<String, Value> =
        off.iter().map(|name| ((*name).to_owned(), json!(false))).collect();
    json!({
        "images": {"tags": {
            "maas_deployer": format!("{registry}/maas-deployer:test"),
            "postgresql": format!("{registry}/postgres:15"),
        }},
        "postgresql": {"enabled": true},
        "manifests": off,
    })
}
