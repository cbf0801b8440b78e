//! `maas-deployer job`.

use serde_json::json;
use tokio::signal::unix::{SignalKind, signal};

use super::args::{Job, JobArgs, ProbeSubject};
use super::failure::{Exit, Failure};
use super::output::Output;
use crate::jobs::{self, Context, JobError, Report, probe, register_rack};
use crate::maas::Retries;
use crate::secret::Mounts;
use crate::settings::{Settings, Source, load};

pub(super) fn run(args: &JobArgs, output: &Output) -> Result<Exit, Failure> {
    let (settings, source) = match (load(args.settings.as_deref()), &args.job) {
        (Ok(loaded), _) => loaded,
        // A probe needs none but for names in its hints: those that are wrong must not fail it.
        (Err(_), Job::Probe { .. }) => (Settings::default(), Source::None),
        (Err(error), _) => return Err(Failure::settings(&error)),
    };
    let context = Context {
        settings,
        mounts: Mounts::from_environment(),
        timeout: args.timeout,
        retries: Retries { count: args.retries, ..Retries::default() },
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::new("cannot start", &error))?;
    let name = name(&args.job);
    let ended = runtime.block_on(async {
        tokio::select! {
            result = Box::pin(work(&args.job, &context)) => Ok(result),
            exit = interrupted() => Err(exit),
        }
    });
    // A name that is being looked up must not hold up the end.
    runtime.shutdown_background();
    match ended {
        Ok(Ok(report)) => {
            show(name, &report, output);
            Ok(Exit::Done)
        }
        Ok(Err(error)) => {
            let (doing, names) = (format!("the job {name} failed"), context.settings.names());
            Err(Failure::job(doing, &error, &source.to_string(), &names))
        }
        Err(exit) => {
            output.error(&format!("interrupted: run the job {name} again to go on"));
            Ok(exit)
        }
    }
}

async fn work(job: &Job, context: &Context) -> Result<Report, JobError> {
    match job {
        Job::InstallSelf { folder } => {
            let settings = std::env::var("MAAS_DEPLOYER_SETTINGS").ok();
            jobs::install_self::run(folder, settings.as_deref())
        }
        Job::Secrets => jobs::secrets::run(context).await,
        Job::Quiesce { coming } => jobs::quiesce::run(context, coming).await,
        Job::Wait { targets } => jobs::wait_for::run(context, targets).await,
        Job::DbInit => jobs::db_init::run(context).await,
        Job::DbSync => jobs::db_sync::run(context).await,
        Job::SeedSecret => jobs::seed_secret::run(context).await,
        Job::CreateAdmin => jobs::create_admin::run(context).await,
        Job::EnableTls => jobs::enable_tls::run(context).await,
        Job::DisableTls => jobs::disable_tls::run(context).await,
        Job::ExportApiKey => jobs::export_api_key::run(context).await,
        Job::Configure => jobs::configure::run(context).await,
        Job::ImportImages => jobs::import_images::run(context).await,
        Job::RegionConf { out } => {
            let path = out.clone().unwrap_or_else(|| jobs::region_conf::default_path(context));
            jobs::region_conf::run(context, &path)
        }
        Job::RegisterRack { state, configuration } => {
            let places = register_rack::Places {
                state: state.clone(),
                configuration: configuration.clone(),
            };
            register_rack::run(context, &places).await
        }
        Job::Probe { subject, live, url } => {
            let subject = match subject {
                Some(ProbeSubject::Region) => probe::Subject::Region,
                Some(ProbeSubject::Rack) => probe::Subject::Rack,
                None => probe::Subject::Any,
            };
            probe::run(subject, *live, url.as_deref(), &context.settings.names()).await
        }
        Job::Test => jobs::test::run(context).await,
        Job::CheckDatabase => jobs::check_database::run(context).await,
        Job::CheckPorts { ports, tables } => jobs::check_ports::run(ports, tables),
    }
}

fn name(job: &Job) -> &'static str {
    match job {
        Job::InstallSelf { .. } => "install-self",
        Job::Secrets => "secrets",
        Job::Quiesce { .. } => "quiesce",
        Job::Wait { .. } => "wait",
        Job::DbInit => "db-init",
        Job::DbSync => "db-sync",
        Job::SeedSecret => "seed-secret",
        Job::CreateAdmin => "create-admin",
        Job::EnableTls => "enable-tls",
        Job::DisableTls => "disable-tls",
        Job::ExportApiKey => "export-api-key",
        Job::Configure => "configure",
        Job::ImportImages => "import-images",
        Job::RegionConf { .. } => "region-conf",
        Job::RegisterRack { .. } => "register-rack",
        Job::Probe { .. } => "probe",
        Job::Test => "test",
        Job::CheckDatabase => "check-database",
        Job::CheckPorts { .. } => "check-ports",
    }
}

/// Ends with SIGINT or SIGTERM.
pub(super) async fn interrupted() -> Exit {
    let (Ok(mut interrupt), Ok(mut terminate)) =
        (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
    else {
        // Then the system's default ends the process.
        return std::future::pending().await;
    };
    tokio::select! {
        _ = interrupt.recv() => Exit::Interrupted,
        _ = terminate.recv() => Exit::Terminated,
    }
}

fn show(name: &str, report: &Report, output: &Output) {
    let mut json = json!({
        "schema": "maas-deployer/job/1",
        "job": name,
        "changed": report.is_changed(),
        "changes": report.changes,
        "notes": report.notes,
    });
    if let (Some(facts), Some(object)) = (&report.facts, json.as_object_mut()) {
        object.insert("facts".to_owned(), facts.clone());
    }
    if let Some(object) = json.as_object_mut().filter(|_| !report.images.is_empty()) {
        object.insert("images".to_owned(), json!(report.images));
    }
    output.json(&json);
    for change in &report.changes {
        output.confirm(&format!("changed: {change}"));
    }
    for note in &report.notes {
        output.confirm(&format!("as it should be: {note}"));
    }
    if !report.is_changed() {
        output.confirm(&format!("{name}: nothing to change"));
    }
}
