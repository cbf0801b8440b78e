//! A release of the chart on a real Kubernetes, from its installation to the second one.
//!
//! The steps are one life, in order: each begins with what the one before it left. A step that
//! fails prints what a person would look at, and the steps after it still run, but for those of a
//! release that could not be installed.
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "these are tests"
)]

mod edge;
mod installed;
mod passwords;
mod restarts;
mod upgrades;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use edge::Edge;
use install_tests::{Kube, Release, Site};
use libtest_mimic::{Arguments, Trial};

/// A life's steps by name, in their order.
type Steps<T> = &'static [(&'static str, fn(&T))];

/// In this order: the deployer alone, and then Helm too.
const LIFE: Steps<Release> = &[
    ("install", installed::install),
    ("the_region_is_a_running_systemd", installed::systemd),
    ("the_mirror_serves_what_upstream_signed", installed::mirror),
    ("the_rack_is_registered", installed::rack),
    ("xenial_is_imported_from_the_sidecar", installed::images),
    ("the_api_key_works", installed::api_key),
    ("secrets_are_nowhere_else", installed::secrets),
    ("helm_test", installed::helm_test),
    ("the_deployer_finds_nothing_wrong", installed::status),
    ("an_upgrade_with_nothing_changed", upgrades::nothing),
    ("an_upgrade_with_a_changed_setting", upgrades::setting),
    ("an_upgrade_with_a_changed_image", upgrades::image),
    ("a_rollback_to_the_image_before", upgrades::back),
    ("a_killed_region", restarts::region),
    ("a_killed_rack", restarts::rack),
    ("a_killed_database", restarts::database),
    ("a_reboot_of_the_node", restarts::node),
    ("a_generated_password_changed_by_hand", passwords::generated),
    ("a_password_given_in_the_values", passwords::given),
    ("an_upgrade_to_a_newer_maas", upgrades::version),
    ("an_older_maas_is_refused", upgrades::older),
    ("a_rollback_to_an_older_maas_is_refused", upgrades::rollback),
    ("uninstall_and_install_again", restarts::again),
    ("helm_goes_on_with_what_the_deployer_left", restarts::helm_goes_on),
    ("an_upgrade_by_helm_after_one_that_failed", upgrades::failed),
    ("an_upgrade_to_tls_by_helm", restarts::tls),
    ("a_rollback_to_plain_http_by_the_deployer", restarts::tls_off),
    ("uninstall_by_the_deployer_and_install_by_helm", restarts::again_by_helm),
    ("uninstall_with_all_data", restarts::purged),
];

/// After it, in this order: Helm begins, and the tools take turns.
const EDGE: Steps<Edge> = &[
    ("edge_wrong_password_of_the_database", edge::wrong_password),
    ("edge_wrong_keyring", edge::wrong_keyring),
    ("edge_air_gap", edge::air_gap),
    ("edge_two_regions", edge::two_regions),
    ("edge_another_password", edge::another_password),
    ("edge_missing_image", edge::missing_image),
    ("edge_baked_mirror", edge::baked),
    ("edge_newer_maas_by_helm", edge::newer),
    ("edge_rollbacks_by_both", edge::rollbacks),
    ("edge_uninstall_by_helm_and_install_by_the_deployer", edge::again),
    ("edge_one_region_less", edge::one_region_less),
    ("edge_uninstall", edge::uninstall),
];

fn main() -> ExitCode {
    let mut args = Arguments::from_args();
    args.test_threads = Some(1);
    let Some(site) = Site::from_env() else {
        println!("install tests: skipped, as there is no cluster; `make test` brings one up");
        return ExitCode::SUCCESS;
    };
    let first = Life::new(&site, first_release, |it| &it.kube);
    let edge = Life::new(&site, Edge::new, Edge::kube);
    let trials = first.trials(LIFE).chain(edge.trials(EDGE));
    libtest_mimic::run(&args, trials.collect()).exit_code()
}

/// The whole stack; what an earlier run left of it goes.
fn first_release(site: &Site) -> Release {
    Kube::remove(site, "metal");
    Release::new(site, "maas", "metal")
}

/// What one release goes through.
struct Life<T> {
    site: Site,
    /// Makes what the steps are about, for the first that runs.
    make: fn(&Site) -> T,
    made: OnceLock<T>,
    /// Whether the first step, which installs, succeeded, or was not asked for.
    installed: AtomicBool,
    kube: fn(&T) -> &Kube,
}

impl<T: Send + Sync + 'static> Life<T> {
    fn new(site: &Site, make: fn(&Site) -> T, kube: fn(&T) -> &Kube) -> Arc<Self> {
        let installed = AtomicBool::new(true);
        Arc::new(Self { site: site.clone(), make, made: OnceLock::new(), installed, kube })
    }

    fn trials(self: Arc<Self>, steps: Steps<T>) -> impl Iterator<Item = Trial> {
        steps.iter().enumerate().map(move |(number, &(name, step))| {
            let life = Arc::clone(&self);
            Trial::test(name, move || {
                if !life.installed.load(Ordering::Relaxed) {
                    return Err("not run: nothing is installed".into());
                }
                let outcome = life.in_time(name, step);
                if number == 0 {
                    life.installed.store(outcome.is_ok(), Ordering::Relaxed);
                }
                outcome
            })
        })
    }

    fn in_time(&self, name: &str, step: fn(&T)) -> Result<(), libtest_mimic::Failed> {
        let start = Instant::now();
        let make = || (self.make)(&self.site);
        let outcome = catch_unwind(AssertUnwindSafe(|| step(self.made.get_or_init(make))));
        println!("== step: {name}, {:.0} s", start.elapsed().as_secs_f64());
        outcome.map_err(|panic| {
            let said = panic
                .downcast_ref::<String>()
                .cloned()
                .or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string));
            let evidence = self.made.get().map(|it| (self.kube)(it).evidence());
            format!("{}\n{}", said.unwrap_or_default(), evidence.unwrap_or_default()).into()
        })
    }
}
