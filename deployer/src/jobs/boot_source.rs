//! The boot source and what is selected of it.
//!
//! The chart owns all boot sources: others than its own are removed, so that
//! MAAS never waits for images that cannot be had. The way there is one that
//! can be stopped anywhere: the new source and its selections first, then the
//! others go.

use std::time::Duration;

use tokio::time::Instant;

use super::context::Context;
use super::error::JobError;
use super::files;
use super::report::Report;
use crate::keyring;
use crate::maas::{BootSource, Client, Keyring, Selection, WantedSelection};
use crate::settings::Images;
use crate::wait::{State, Wait};

/// How long MAAS may take to read the index of a source that is up.
const INDEX: Duration = Duration::from_secs(15 * 60);

/// How often MAAS is asked to read the index again, and when first: a read that
/// failed is not repeated before an hour has passed.
const REREAD: Duration = Duration::from_secs(30);
const REREAD_FIRST: Duration = Duration::from_secs(10);

/// The keyring that MAAS's packages bring, which every region has.
const STOCK_KEYRING: &str = "/usr/share/keyrings/ubuntu-cloudimage-keyring.gpg";

/// The boot source as it is to be.
pub(super) struct Plan<'a> {
    url: &'a str,
    keyring: Keyring,
    selections: Vec<WantedSelection>,
    images: &'a Images,
}

impl<'a> Plan<'a> {
    /// The plan, or why it cannot be carried out: nothing is asked of MAAS yet.
    pub(super) fn new(context: &'a Context) -> Result<Self, JobError> {
        let source = context.settings.boot_source()?;
        let images = context.settings.images()?;
        let wanted = images.wanted();
        if wanted.is_empty() || images.arches.is_empty() {
            return Err(JobError::Settings("images names no release, or no arch".to_owned()));
        }
        if source.url.trim_end_matches('/').ends_with(".json") {
            return Err(JobError::refused(
                format!(
                    "MAAS verifies no signature of a boot source that ends in .json: {}",
                    source.url
                ),
                "name the folder that holds streams/v1, or its index.sjson, in conf.maas.images.boot_source",
            ));
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

    /// Has MAAS hold this source, these selections, and no others.
    pub(super) async fn carry_out(
        &self,
        context: &Context,
        maas: &Client,
        report: &mut Report,
    ) -> Result<(), JobError> {
        let (source, is_new) = self.source(maas, report).await?;
        if let Err(error) = self.select(context, maas, source, report).await {
            if is_new && may_lack(&self.keyring) && matches!(error, JobError::Wait(_)) {
                // So that MAAS goes on reading those that worked before.
                maas.delete_boot_source(source).await?;
                report.changed(format!("removed the boot source {source} again"));
            }
            return Err(error);
        }
        for other in maas.boot_sources().await?.iter().filter(|other| other.id != source) {
            maas.delete_boot_source(other.id).await?;
            report.changed(format!("removed the boot source {} ({})", other.id, other.url));
        }
        let stale = |selection: &Selection| {
            !self.selections.iter().any(|wanted| wanted.is_release_of(selection))
        };
        remove_stale(maas, source, stale, report).await
    }

    /// The id of our source, and whether it is a new one: one that is equal is
    /// adopted.
    async fn source(&self, maas: &Client, report: &mut Report) -> Result<(u64, bool), JobError> {
        let sources = maas.boot_sources().await?;
        let ours: Vec<&BootSource> =
            sources.iter().filter(|source| source.has_url(self.url)).collect();
        if let Some(equal) = ours.iter().find(|source| source.has_keyring(&self.keyring)) {
            report.noted(format!("the boot source {} is {}", equal.id, self.url));
            return Ok((equal.id, false));
        }
        // MAAS takes a URL once, and of a source that it was given another
        // keyring for it keeps the old index: a new one is known to be read.
        for other in ours {
            maas.delete_boot_source(other.id).await?;
            report.changed(format!("removed the boot source {}: its keyring differs", other.id));
        }
        let made = maas.create_boot_source(self.url, &self.keyring).await?;
        report.changed(format!("made the boot source {} for {}", made.id, self.url));
        Ok((made.id, true))
    }

    /// Where to look while MAAS does not know a release.
    fn why_unknown(&self, context: &Context) -> String {
        let (logs, url) = (context.region_logs(), self.url);
        let why = match &self.keyring {
            Keyring::Data(_) => {
                format!("it cannot reach {url} or the keyring does not verify its index")
            }
            Keyring::File(file) => format!(
                "it cannot reach {url}, the region has no file {file}, or that does not verify its index"
            ),
        };
        format!("{logs}; MAAS says no more where {why}")
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
        let due = Instant::now() + REREAD_FIRST;
        let mut reader = Reader { plan: self, maas, source, due, report };
        for wanted in &self.selections {
            let same = held.iter().find(|held| wanted.is_release_of(held));
            let name = format!("{}/{} ({})", wanted.os, wanted.release, wanted.arches.join(", "));
            if same.is_some_and(|held| wanted.is(held)) {
                reader.report.noted(format!("{name} is selected"));
                continue;
            }
            reader.accepted(context, wanted, same.map(|held| held.id), &name, limit).await?;
            reader.report.changed(match same {
                Some(_) => format!("changed the selection to {name}"),
                None => format!("selected {name}"),
            });
        }
        Ok(())
    }
}

/// Has MAAS take selections, and read the index again until it does.
struct Reader<'a> {
    plan: &'a Plan<'a>,
    maas: &'a Client,
    source: u64,
    /// When MAAS is to be asked to read the index again.
    due: Instant,
    report: &'a mut Report,
}

impl Reader<'_> {
    /// Selects `wanted`, in place of the selection `id` where there is one.
    async fn accepted(
        &mut self,
        context: &Context,
        wanted: &WantedSelection,
        mut id: Option<u64>,
        name: &str,
        limit: Duration,
    ) -> Result<(), JobError> {
        let wait = Wait::new(format!("MAAS to know {name} of {}", self.plan.url), limit);
        wait.pause(Duration::from_secs(3))
            .next(self.plan.why_unknown(context))
            .until(async || {
                let done = match id {
                    Some(id) => self.maas.update_selection(self.source, id, wanted).await,
                    None => self.maas.create_selection(self.source, wanted).await,
                };
                let error = match done {
                    Ok(()) => return Ok(State::Ready(())),
                    Err(error) => error,
                };
                if error.says_that_it_exists() {
                    // Somebody was quicker, with other architectures.
                    let held = self.maas.selections(self.source).await?;
                    id = held.iter().find(|held| wanted.is_release_of(held)).map(|held| held.id);
                    return Ok(State::Waiting("another selection of it was made".to_owned()));
                }
                let Some(complaints) = error.complaints() else { return Err(error.into()) };
                let text = complaints.to_string();
                self.read_again().await?;
                Ok::<_, JobError>(State::Waiting(text))
            })
            .await
    }

    async fn read_again(&mut self) -> Result<(), JobError> {
        if Instant::now() < self.due {
            return Ok(());
        }
        self.due = Instant::now() + REREAD;
        self.remove_unreadable().await?;
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

    /// Removes what keeps MAAS from reading any source: one whose keyring is a file
    /// that the region may lack. They would go in the end anyway.
    async fn remove_unreadable(&mut self) -> Result<(), JobError> {
        for other in self.maas.boot_sources().await? {
            if other.id != self.source
                && let Some(file) = other.keyring_file().filter(|file| *file != STOCK_KEYRING)
            {
                self.maas.delete_boot_source(other.id).await?;
                let (id, url) = (other.id, &other.url);
                self.report.changed(format!(
                    "removed the boot source {id} ({url}): where its keyring {file} is missing, \
                     MAAS reads no source"
                ));
            }
        }
        Ok(())
    }
}

/// Whether it is a file that the region may not have: MAAS takes its name unseen.
fn may_lack(keyring: &Keyring) -> bool {
    matches!(keyring, Keyring::File(name) if name != STOCK_KEYRING)
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
