//! `configure`: MAAS's settings, its boot source and selections.
//!
//! The chart owns all boot sources: others than its own are removed, so that
//! MAAS never waits for images that cannot be had. The way there is one that
//! can be stopped anywhere: the new source and its selections first, then the
//! others go.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;

use super::context::Context;
use super::error::JobError;
use super::report::Report;
use super::{files, wait_for};
use crate::keyring;
use crate::maas::{BootSource, Client, Keyring, Selection, WantedSelection};
use crate::settings::{ConfigValue, Images};
use crate::wait::{State, Wait};

/// Settings that MAAS takes only when the images are there: import-images sets
/// them.
pub(super) const AFTER_IMPORT: [&str; 4] = [
    "default_osystem",
    "commissioning_distro_series",
    "default_distro_series",
    "default_min_hwe_kernel",
];

/// How long MAAS may take to read the index of a source that is up.
const INDEX: Duration = Duration::from_secs(15 * 60);

/// How often MAAS is asked to read the index again: a read that failed is not
/// repeated before an hour has passed.
const REREAD: Duration = Duration::from_secs(30);

/// Sets what differs from the chart's values.
///
/// # Errors
/// [`JobError`].
pub async fn run(context: &Context) -> Result<Report, JobError> {
    let mut report = Report::default();
    let settings = &context.settings;
    // Refused before anything is sent.
    let plan = match settings.boot_source() {
        Ok(_) => Some(Plan::new(context)?),
        Err(missing) if settings.config().is_err() => return Err(missing.into()),
        Err(_) => None,
    };
    let maas = context.maas_with_key().await?;
    if let Ok(config) = settings.config() {
        set_all(&maas, config, &mut report).await?;
    }
    if let Some(plan) = plan {
        if settings.mirror().is_ok() {
            wait_for::mirror(context).await?;
        }
        plan.carry_out(context, &maas, &mut report).await?;
    }
    Ok(report)
}

/// Sets what differs. Names that MAAS does not know, and values that it would
/// misread, are found before the first is set.
async fn set_all(
    maas: &Client,
    config: &BTreeMap<String, ConfigValue>,
    report: &mut Report,
) -> Result<(), JobError> {
    let mut changes = Vec::new();
    let mut wrong = Vec::new();
    for (name, value) in config {
        if AFTER_IMPORT.contains(&name.as_str()) {
            report.noted(format!("{name} is left to import-images"));
            continue;
        }
        match maas.config(name).await {
            Ok(now) => match value.change(name, &now) {
                Ok(Some(wanted)) => changes.push((name, wanted)),
                Ok(None) => {}
                Err(error) => wrong.push(error.to_string()),
            },
            Err(error) => match error.complaints() {
                Some(complaints) => wrong.push(complaints.of(name)),
                None => return Err(error.into()),
            },
        }
    }
    for (name, wanted) in changes {
        match maas.set_config(name, &wanted).await {
            Ok(()) => verify(maas, name, config, &wanted, report).await?,
            Err(error) => match error.complaints() {
                Some(complaints) => wrong.push(complaints.of(name)),
                None => return Err(error.into()),
            },
        }
    }
    if wrong.is_empty() {
        return Ok(());
    }
    Err(JobError::Several {
        reason: "MAAS does not take every setting".to_owned(),
        details: wrong,
        hint: "correct them in conf.maas of the chart's values".to_owned(),
    })
}

/// MAAS keeps some values otherwise than they were given.
async fn verify(
    maas: &Client,
    name: &str,
    config: &BTreeMap<String, ConfigValue>,
    wanted: &str,
    report: &mut Report,
) -> Result<(), JobError> {
    let now = maas.config(name).await?;
    // A value may hold a password, as of a proxy: names alone are shown.
    report.changed(format!("set {name}"));
    let differs = config.get(name).and_then(|value| value.change(name, &now).ok().flatten());
    if differs.is_some() && !wanted.is_empty() {
        tracing::warn!(setting = name, "MAAS keeps another value than it was given");
    }
    Ok(())
}

/// The boot source as it is to be.
struct Plan<'a> {
    url: &'a str,
    keyring: Keyring,
    selections: Vec<WantedSelection>,
    images: &'a Images,
}

impl<'a> Plan<'a> {
    fn new(context: &'a Context) -> Result<Self, JobError> {
        let source = context.settings.boot_source()?;
        let images = context.settings.images()?;
        let wanted = images.wanted();
        if wanted.is_empty() || images.arches.is_empty() {
            return Err(JobError::Settings("images names no release, or no arch".to_owned()));
        }
        let selections = wanted.into_iter().map(|release| WantedSelection {
            os: images.os.clone(),
            release: release.to_owned(),
            arches: images.arches.clone(),
        });
        Ok(Self {
            url: &source.url,
            keyring: keyring(context)?,
            selections: selections.collect(),
            images,
        })
    }

    async fn carry_out(
        &self,
        context: &Context,
        maas: &Client,
        report: &mut Report,
    ) -> Result<(), JobError> {
        let source = self.source(maas, report).await?;
        self.select(context, maas, source, report).await?;
        for other in maas.boot_sources().await?.iter().filter(|other| other.id != source) {
            maas.delete_boot_source(other.id).await?;
            report.changed(format!("removed the boot source {} ({})", other.id, other.url));
        }
        let stale = |selection: &Selection| {
            !self.selections.iter().any(|wanted| wanted.is_release_of(selection))
        };
        remove_stale(maas, source, stale, report).await
    }

    /// The id of our source: one that is equal, or a new one.
    async fn source(&self, maas: &Client, report: &mut Report) -> Result<u64, JobError> {
        let sources = maas.boot_sources().await?;
        let ours: Vec<&BootSource> =
            sources.iter().filter(|source| source.has_url(self.url)).collect();
        if let Some(equal) = ours.iter().find(|source| source.has_keyring(&self.keyring)) {
            report.noted(format!("the boot source {} is {}", equal.id, self.url));
            return Ok(equal.id);
        }
        // MAAS takes a URL once, and of a source that it was given another
        // keyring for it keeps the old index: a new one is known to be read.
        for other in ours {
            maas.delete_boot_source(other.id).await?;
            report.changed(format!("removed the boot source {}: its keyring differs", other.id));
        }
        let made = maas.create_boot_source(self.url, &self.keyring).await?;
        report.changed(format!("made the boot source {} for {}", made.id, self.url));
        Ok(made.id)
    }

    /// Selects what is wanted, once MAAS has read the index.
    async fn select(
        &self,
        context: &Context,
        maas: &Client,
        source: u64,
        report: &mut Report,
    ) -> Result<(), JobError> {
        let default = if context.settings.mirror().is_ok() {
            INDEX
        } else {
            Duration::from_secs(self.images.timeout_s)
        };
        let limit = context.limit(default);
        let held = maas.selections(source).await?;
        let mut reader = Reader { plan: self, maas, source, last: Instant::now() };
        for wanted in &self.selections {
            let same: Vec<&Selection> =
                held.iter().filter(|held| wanted.is_release_of(held)).collect();
            let name = format!("{}/{} ({})", wanted.os, wanted.release, wanted.arches.join(", "));
            if same.iter().any(|held| wanted.is(held)) {
                report.noted(format!("{name} is selected"));
            } else {
                let id = same.first().map(|held| held.id);
                reader.accepted(context, wanted, id, &name, limit).await?;
                report.changed(format!("selected {name}"));
            }
        }
        Ok(())
    }
}

/// Has MAAS take selections, and read the index again until it does.
struct Reader<'a> {
    plan: &'a Plan<'a>,
    maas: &'a Client,
    source: u64,
    last: Instant,
}

impl Reader<'_> {
    async fn accepted(
        &mut self,
        context: &Context,
        wanted: &WantedSelection,
        id: Option<u64>,
        name: &str,
        limit: Duration,
    ) -> Result<(), JobError> {
        let logs = context.region_logs();
        let next = format!(
            "{logs}; MAAS says no more where it cannot reach {} or the keyring does not verify its index",
            self.plan.url
        );
        let wait = Wait::new(format!("MAAS to know {name} of {}", self.plan.url), limit);
        wait.pause(Duration::from_secs(3))
            .next(next)
            .until(async || {
                let done = match id {
                    Some(id) => self.maas.update_selection(self.source, id, wanted).await,
                    None => self.maas.create_selection(self.source, wanted).await,
                };
                let error = match done {
                    Ok(()) => return Ok(State::Ready(())),
                    Err(error) => error,
                };
                let Some(complaints) = error.complaints() else { return Err(error.into()) };
                let text = complaints.to_string();
                if text.contains("already exists") {
                    return Ok(State::Ready(()));
                }
                self.read_again().await?;
                Ok::<_, JobError>(State::Waiting(text))
            })
            .await
    }

    async fn read_again(&mut self) -> Result<(), JobError> {
        if self.last.elapsed() < REREAD {
            return Ok(());
        }
        self.last = Instant::now();
        tracing::info!(url = self.plan.url, "asking MAAS to read the index again");
        if self.source == 1 {
            // Writing the source that is made at the first start reads nothing.
            self.maas.import_images().await?;
        } else {
            let plan = self.plan;
            self.maas.refresh_boot_source(self.source, plan.url, &plan.keyring).await?;
        }
        Ok(())
    }
}

/// Removes selections that are `stale`. The release that machines are
/// commissioned with cannot go before another has taken its place.
pub(super) async fn remove_stale(
    maas: &Client,
    source: u64,
    stale: impl Fn(&Selection) -> bool,
    report: &mut Report,
) -> Result<(), JobError> {
    for selection in maas.selections(source).await?.iter().filter(|one| stale(one)) {
        let name = format!("{}/{}", selection.os, selection.release);
        match maas.delete_selection(source, selection.id).await {
            Ok(()) => report.changed(format!("removed the selection {name}")),
            Err(error) => match error.complaints() {
                Some(complaints) => {
                    report.noted(format!("the selection {name} stays for now: {complaints}"));
                }
                None => return Err(error.into()),
            },
        }
    }
    Ok(())
}

/// The keyring that MAAS is to verify the source with.
fn keyring(context: &Context) -> Result<Keyring, JobError> {
    let source = context.settings.boot_source()?;
    if !source.keyring {
        if source.keyring_filename.is_empty() {
            let reason = "boot_source has neither a keyring nor a keyring_filename";
            return Err(JobError::Settings(reason.to_owned()));
        }
        return Ok(Keyring::File(source.keyring_filename.clone()));
    }
    let path = context.mounts.path("keyring/keyring.gpg");
    let bytes = files::read(&path)?.unwrap_or_default();
    match keyring::binary(&bytes) {
        Ok(binary) => Ok(Keyring::Data(binary)),
        Err(source) => Err(JobError::Keyring { path, source }),
    }
}
