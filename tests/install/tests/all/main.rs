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

mod failures;
mod installed;
mod passwords;
mod restarts;
mod upgrades;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use install_tests::{Release, Site};
use libtest_mimic::{Arguments, Trial};

type Step = (&'static str, fn(&Release));

/// In this order.
const LIFE: &[Step] = &[
    ("install", installed::install),
    ("the_region_is_a_running_systemd", installed::systemd),
    ("the_mirror_serves_what_upstream_signed", installed::mirror),
    ("the_rack_is_registered", installed::rack),
    ("xenial_is_imported_from_the_sidecar", installed::images),
    ("the_api_key_works", installed::api_key),
    ("secrets_are_nowhere_else", installed::secrets),
    ("helm_test", installed::helm_test),
    ("an_upgrade_with_nothing_changed", upgrades::nothing),
    ("an_upgrade_with_a_changed_setting", upgrades::setting),
    ("an_upgrade_with_a_changed_image", upgrades::image),
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
    ("an_upgrade_to_tls", restarts::tls),
];

fn main() -> ExitCode {
    let mut args = Arguments::from_args();
    args.test_threads = Some(1);
    let Some(site) = Site::from_env() else {
        println!("install tests: skipped, as there is no cluster; `make test` brings one up");
        return ExitCode::SUCCESS;
    };
    let listing = args.list;
    let release = (!listing).then(|| Arc::new(Release::new(&site, "maas", "metal")));
    let installed = Arc::new(AtomicBool::new(true));
    let trials = LIFE.iter().map(|&(name, step)| {
        let (release, installed) = (release.clone(), installed.clone());
        Trial::test(name, move || {
            let release = release.ok_or("no cluster")?;
            if !installed.load(Ordering::Relaxed) {
                return Err("not run: nothing is installed".into());
            }
            let outcome = in_time(name, &release, step);
            if name == "install" {
                installed.store(outcome.is_ok(), Ordering::Relaxed);
            }
            outcome
        })
    });
    let failures = failures::TRIALS.iter().map(|&(name, trial)| {
        let site = site.clone();
        Trial::test(name, move || {
            trial(&site);
            Ok(())
        })
    });
    let conclusion = libtest_mimic::run(&args, trials.chain(failures).collect());
    drop(release);
    conclusion.exit_code()
}

fn in_time(name: &str, release: &Release, step: fn(&Release)) -> Result<(), libtest_mimic::Failed> {
    let start = Instant::now();
    let outcome = catch_unwind(AssertUnwindSafe(|| step(release)));
    println!("== step: {name}, {:.0} s", start.elapsed().as_secs_f64());
    outcome.map_err(|panic| {
        let said = panic
            .downcast_ref::<String>()
            .cloned()
            .or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string));
        format!("{}\n{}", said.unwrap_or_default(), release.kube.evidence()).into()
    })
}
