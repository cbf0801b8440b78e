//! Phases have the same names and are as many, whoever counts them.

use serde_json::{Value, json};

use crate::release_faults::{alive, whole};
use crate::support::{Run, World, eventually};

/// Nothing of the chart is in the phase `database` then.
const NO_HOOKS: [&str; 2] = ["--set", "manifests.job_secrets=false,manifests.job_quiesce=false"];

/// The names of a status' phases.
fn of_status(world: &World) -> Vec<String> {
    let run = world.verb(&["status", "-n", "maas", "-o", "json"]).run();
    let phases = run.json()["phases"].as_array().expect("list").clone();
    let name = |phase: &Value| phase["phase"].as_str().expect("text").to_owned();
    phases.iter().map(name).collect()
}

/// The names of the phases that a run said to be over.
fn over(run: &Run) -> Vec<String> {
    let names = run.stderr.lines().filter_map(|line| line.trim().strip_suffix(" is done"));
    names.map(|name| name.rsplit(' ').next().expect("word").to_owned()).collect()
}

#[test]
fn progress_and_status_count_the_same_phases() {
    let (world, cluster) = alive();
    cluster.put("test/hold/region", json!({}));
    let running = whole(&world, "install", &NO_HOOKS).spawn();
    // What is waited for is told with how long.
    let waits = |said: &str| {
        let line = said.lines().find(|line| line.contains("waiting for StatefulSet maas-region: "));
        line.map(str::to_owned)
    };
    eventually("the region to be waited for", || waits(&running.stderr()).is_some());
    let line = waits(&running.stderr()).expect("line");
    let of_status = of_status(&world);
    let counted = format!(
        "  region ({} of {} phases done): waiting for ",
        of_status.len() - 1,
        of_status.len()
    );
    assert!(line.contains(&counted), "no '{counted}' in '{line}'");
    cluster.remove("test/hold/region");
    let run = running.wait().expect(0);
    let mut over = over(&run);
    // The others were done before it.
    over.sort_by_key(|name| of_status.iter().position(|one| one == name));
    assert_eq!(over, of_status, "{}", run.stderr);
    assert!(!of_status.iter().any(|name| name == "database"), "{of_status:?}");
}

#[test]
fn a_run_that_stops_early_counts_the_phases_of_the_release() {
    let (world, cluster) = alive();
    cluster.put("test/hold/db-sync", json!({}));
    let running = whole(&world, "install", &[&NO_HOOKS[..], &["--phase", "schema"]].concat());
    let running = running.spawn();
    let told = |said: &str| said.contains("  schema (2 of 11 phases done): waiting for Job ");
    eventually("the schema to be waited for", || told(&running.stderr()));
    cluster.remove("test/hold/db-sync");
    let run = running.wait().expect(0);
    assert_eq!(over(&run), ["configuration", "db-init", "schema"]);
    assert_eq!(of_status(&world).len(), 11);
}

#[test]
fn the_page_names_all_phases_in_their_order() {
    let page = include_str!("../../../docs/deployer.md");
    let (_, list) = page.split_once("**Phases** are ").expect("the list");
    let (list, _) = list.split_once('.').expect("its end");
    let named: Vec<&str> = list.split('`').skip(1).step_by(2).collect();
    assert_eq!(named, maas_deployer::apply::Phase::ALL.map(maas_deployer::apply::Phase::word));
}
