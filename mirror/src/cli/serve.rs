//! `maas-mirror serve`.

use std::io::Write as _;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::signal::unix::{SignalKind, signal};

use super::args::{Format, ServeArgs};
use super::failure::{Exit, Failure};
use super::output::Output;
use super::sync;
use crate::serve::{Catalogs, Options, ServeError, Server, Source, TlsFiles};
use crate::store::{Store, StoreError};
use crate::sync::{Event, Kind, Observer, Sync, SyncError};

/// The pause between syncs, where `--every` names no other.
const EVERY: Duration = Duration::from_secs(6 * 3600);

/// The pause after a sync that failed; it doubles up to `--every`.
const RETRY: Duration = Duration::from_secs(30);

pub(super) fn run(args: &ServeArgs, output: &Output) -> Result<Exit, Failure> {
    let doing = || format!("cannot serve {}", args.store.store.display());
    let tls = tls_files(args)?;
    needs_upstream(args)?;
    let syncing = match &args.upstream {
        Some(address) => Some(sync::build(address, &args.keyring, &args.fetch, &args.selection)?),
        None => None,
    };
    if syncing.is_none() && args.chooses() {
        tracing::warn!(
            "images and keyrings are chosen, but without --upstream nothing is mirrored"
        );
    }
    let store = open(args).map_err(|error| Failure::store(doing(), &error))?;
    let runtime = super::runtime()?;
    let served = runtime.block_on(async {
        let options = Options {
            listen: args.listen,
            tls,
            header_timeout: args.header_timeout,
            stall_timeout: args.body_timeout,
            connections: args.connections,
            connections_by_address: args.connections_by_address,
            drain: args.drain,
            pull: syncing.as_ref().filter(|_| args.pull_through).map(|sync| Source {
                upstream: sync.upstream.clone(),
                keyring: Arc::clone(&sync.keyring),
                parallel: sync.options.parallel,
            }),
            ..Options::default()
        };
        let server = Server::bind(store.clone(), options).await.map_err(|error| {
            let hint = match &error {
                ServeError::Bind { .. } => "name a free address with --listen ADDR:PORT",
                ServeError::Threads(_) => {
                    "raise the limits of processes and open files (ulimit -u, -n)"
                }
                ServeError::Tls(_) => {
                    "name a certificate with --tls-cert FILE and its key with --tls-key FILE, \
                     both PEM and readable by the user that serves"
                }
            };
            Failure::new(doing(), error).hint(hint)
        })?;
        let stop = Stop::new().map_err(|error| Failure::new(doing(), error))?;
        announce(&server, output);
        let schedule = syncing.map(|sync| {
            let schedule = Schedule {
                sync,
                store,
                catalogs: server.catalogs(),
                every: (!args.once).then(|| args.every.unwrap_or(EVERY)),
            };
            tokio::spawn(schedule.run())
        });
        let pulls = server.pulls();
        server.run(stop.wait()).await;
        if let Some(schedule) = schedule {
            schedule.abort();
            // So that it lets go of the store.
            let _ = schedule.await;
        }
        if let Some(pulls) = pulls {
            pulls.finish().await;
        }
        Ok(Exit::Done)
    });
    runtime.shutdown_timeout(Duration::from_secs(5));
    served
}

/// Both files or none. By hand: to clap, what the configuration file says is a
/// default, which satisfies no other option's need.
fn tls_files(args: &ServeArgs) -> Result<Option<TlsFiles>, Failure> {
    let missing = |given, missing| {
        let reason = format!("{given} is given without {missing}");
        Err(Failure::message("cannot serve over TLS", reason)
            .hint("give both, or neither for plain HTTP")
            .exit(Exit::Usage))
    };
    match (args.tls_cert.clone(), args.tls_key.clone()) {
        (Some(cert), Some(key)) => Ok(Some(TlsFiles { cert, key })),
        (None, None) => Ok(None),
        (Some(_), None) => missing("--tls-cert", "--tls-key"),
        (None, Some(_)) => missing("--tls-key", "--tls-cert"),
    }
}

/// By hand for the same reason: the upstream may be in the configuration file.
fn needs_upstream(args: &ServeArgs) -> Result<(), Failure> {
    let given = [
        ("--once", args.once),
        ("--every", args.every.is_some()),
        ("--pull-through", args.pull_through),
    ];
    match given.iter().find(|(_, given)| *given && args.upstream.is_none()) {
        None => Ok(()),
        Some((option, _)) => {
            let reason = format!("{option} is given without --upstream");
            Err(Failure::message("there is nothing to fetch from", reason)
                .hint("name one with --upstream URL")
                .exit(Exit::Usage))
        }
    }
}

/// A store on a read-only file system (a baked image) is served as it is; any
/// other is made where it is not there yet, to be filled while it is served.
fn open(args: &ServeArgs) -> Result<Store, StoreError> {
    match Store::open_or_create(&args.store.store) {
        Err(StoreError::ReadOnly { .. }) if args.upstream.is_none() => {
            Store::open(&args.store.store)
        }
        other => other,
    }
}

/// The line that tells scripts where the server is; with `--log-format json`
/// as JSON.
fn announce(server: &Server, output: &Output) {
    let url = format!("{}://{}", server.scheme(), server.address());
    let line = match output.log_format {
        Format::Text => format!("listening on {url}"),
        Format::Json => serde_json::json!({ "event": "listening", "url": url }).to_string(),
    };
    output.raw(format!("{line}\n").as_bytes());
    let _ = std::io::stdout().flush();
}

/// SIGTERM and SIGINT, caught from the moment it is made.
struct Stop {
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
}

impl Stop {
    fn new() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    async fn wait(mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
        tracing::info!("no more connections are taken; responses under way may end");
    }
}

/// Where the store keeps what `--once` has done.
const ONCE: &str = "once.json";

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct PointInTime {
    upstream: String,
    selection: String,
}

/// Syncs beside the server.
struct Schedule {
    sync: Sync,
    store: Store,
    catalogs: Arc<Catalogs>,
    /// `None`: once.
    every: Option<Duration>,
}

impl Schedule {
    async fn run(self) {
        if self.every.is_none() && self.already_done() {
            tracing::info!("the point-in-time mirror is there already; upstream is not asked");
            return;
        }
        let observer: Arc<dyn Observer> = Arc::new(Log);
        let mut pause = RETRY;
        loop {
            let result = self.sync.run(&self.store, "maas-mirror serve", &observer).await;
            self.catalogs.refresh().await;
            let wait = match (result, self.every) {
                (Ok(report), every) => {
                    pause = RETRY;
                    let snapshot = report.snapshot.to_string();
                    tracing::info!(
                        snapshot,
                        changed = report.changed,
                        items = report.items,
                        fetched_bytes = report.fetched_bytes,
                        "synced"
                    );
                    match every {
                        Some(every) => every,
                        None => return self.note_done().await,
                    }
                }
                (Err(error), every) => {
                    let wait = pause.min(every.unwrap_or(Duration::MAX));
                    pause = pause.saturating_mul(2).min(Duration::from_secs(3600));
                    self.log_failure(&error, wait);
                    wait
                }
            };
            tokio::time::sleep(wait).await;
        }
    }

    /// What a point-in-time mirror is of.
    fn point_in_time(&self) -> PointInTime {
        PointInTime {
            upstream: self.sync.upstream.address().to_string(),
            selection: self.sync.options.selection.to_string(),
        }
    }

    /// Whether an earlier run made the point-in-time mirror: a restart must
    /// not move it to another point in time.
    fn already_done(&self) -> bool {
        let same = self.store.kept(ONCE) == Some(self.point_in_time());
        same && matches!(self.store.snapshots(), Ok(all) if all.iter().any(|s| s.current))
    }

    async fn note_done(&self) {
        let (store, done) = (self.store.clone(), self.point_in_time());
        let keep = move || store.writer("maas-mirror serve")?.keep(ONCE, &done);
        if let Ok(Err(error)) = tokio::task::spawn_blocking(keep).await {
            let reason = crate::chain(&error);
            tracing::warn!(reason, "a restart will mirror again: this mirror could not be noted");
        }
    }

    fn log_failure(&self, error: &SyncError, wait: Duration) {
        let retry_seconds = wait.as_secs();
        let upstream = self.sync.upstream.address();
        let chain = crate::chain(error);
        self.catalogs.set_trouble(Some(format!("cannot mirror {upstream}: {chain}")));
        if error.kind() == Kind::Locked {
            tracing::warn!(reason = chain, retry_seconds, "the sync waits for another writer");
        } else {
            tracing::error!(%upstream, reason = chain, retry_seconds, "the sync failed");
        }
        if let SyncError::Items { failures, .. } = error {
            for item in failures {
                let reason = crate::chain(&item.error);
                tracing::error!(path = %item.path, reason, "an item could not be fetched");
            }
        }
    }
}

/// Events as log lines.
#[derive(Debug)]
struct Log;

impl Observer for Log {
    fn event(&self, event: &Event<'_>) {
        match event {
            Event::Verified { path, signer } => tracing::debug!(%path, signer, "a signature holds"),
            Event::KeyExpires { fingerprint, days } => {
                tracing::warn!(fingerprint, days, "a signing key expires soon");
            }
            Event::Stale { updated, days } => {
                tracing::warn!(%updated, days, "upstream has not changed for long");
            }
            Event::NotCollected { error } => {
                tracing::warn!(reason = crate::chain(*error), "old snapshots could not be removed");
            }
            Event::Planned(plan) => tracing::info!(
                items = plan.items.len(),
                bytes = plan.bytes,
                fetch_bytes = plan.fetch_bytes(),
                free_bytes = plan.free,
                "sync planned"
            ),
            Event::Retrying { path, error, pause } => {
                let reason = crate::chain(error);
                let retry_seconds = (pause.as_secs_f64() * 10.0).round() / 10.0;
                tracing::warn!(%path, reason, retry_seconds, "a request failed and is tried again");
            }
            Event::Finished { path, size } => tracing::debug!(%path, bytes = size, "fetched"),
            _ => {}
        }
    }
}
