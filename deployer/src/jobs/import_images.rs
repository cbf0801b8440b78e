//! `import-images`: the boot images, to completion, and then the settings that
//! need them.
//!
//! MAAS answers an import with 200 whatever becomes of it, and `is_importing`
//! ends in silence when nothing was imported. Only the images themselves tell:
//! done is when every version of every wanted one is complete.

use std::time::Duration;

use serde_json::Value;
use tokio::time::{Instant, sleep};
use tracing::{info, warn};

use super::boot_source::remove_stale;
use super::configure::AFTER_IMPORT;
use super::context::Context;
use super::error::JobError;
use super::progress::Progress;
use super::report::Report;
use super::resources::{Image, Wanted, look};
use super::{stale_regions, wait_for};
use crate::counted::counted;
use crate::maas::{Client, MaasError, Selection};
use crate::settings::{ConfigValue, Images};
use crate::wait::{State, Wait, spoken};

/// How often MAAS is asked how far it is.
const PAUSE: Duration = Duration::from_secs(5);

/// How long an import that was asked for may take to show.
const BEGIN: Duration = Duration::from_secs(10);

/// How long MAAS may be idle with images missing before it is asked again; the
/// longer, the more often it was.
const IDLE: Duration = Duration::from_secs(30);

/// How long MAAS may take to see that an image is there.
const TAKE: Duration = Duration::from_secs(60);

/// Imports the images and makes them the defaults.
///
/// # Errors
/// [`JobError`].
pub async fn run(context: &Context) -> Result<Report, JobError> {
    let mut report = Report::default();
    let images = context.settings.images()?;
    let limit = context.limit(Duration::from_secs(images.timeout_s));
    if context.settings.mirror().is_ok() {
        wait_for::mirror(context).await?;
    }
    let maas = context.maas_with_key().await?;
    stale_regions::remove(context, &maas, &mut report).await?;
    let mut import = Import::new(context, maas.clone(), images, limit);
    let before = look(&maas, images).await?;
    import.progress.look(&before);
    let after = import.run().await?;
    let maas = import.maas;
    tell(&before, &after, &mut report);
    defaults(context, &maas, images, &mut report).await?;
    sweep(&maas, images, &mut report).await?;
    Ok(report)
}

/// An import under way.
struct Import<'a> {
    context: &'a Context,
    maas: Client,
    images: &'a Images,
    limit: Duration,
    progress: Progress,
    /// What MAAS last said of each image, while it answered.
    known: Vec<Wanted>,
    /// When MAAS was last asked to import, and how often.
    asked: (Instant, u32),
    /// Why MAAS cannot be asked at present.
    trouble: Option<String>,
}

impl<'a> Import<'a> {
    fn new(context: &'a Context, maas: Client, images: &'a Images, limit: Duration) -> Self {
        Self {
            context,
            maas,
            images,
            limit,
            progress: Progress::new(limit),
            known: Vec::new(),
            asked: (Instant::now(), 0),
            trouble: None,
        }
    }

    /// Asks for an import and follows it until all is complete and MAAS rests.
    async fn run(&mut self) -> Result<Vec<Wanted>, JobError> {
        self.ask().await?;
        let mut has_begun = false;
        let mut is_importing = false;
        loop {
            match self.state().await {
                Ok((wanted, still)) => {
                    (self.trouble, is_importing) = (None, still);
                    self.progress.look(&wanted);
                    // Complete may be what was there before the import that was
                    // asked for has begun; one that has nothing to do never shows.
                    has_begun |= is_importing || self.asked.0.elapsed() >= BEGIN;
                    let is_complete = wanted.iter().all(Wanted::is_complete);
                    if is_complete && !is_importing && has_begun {
                        return Ok(wanted);
                    }
                    self.known = wanted;
                    self.look_for_stall(is_importing).await?;
                }
                // A region or the database that starts anew, or a new certificate.
                Err(error) if error.passes() => self.go_on_without(&error).await,
                Err(error) => return Err(error.into()),
            }
            if self.progress.elapsed() + PAUSE > self.limit {
                return Err(self.over(is_importing));
            }
            sleep(if has_begun { PAUSE } else { PAUSE / 5 }).await;
        }
    }

    async fn state(&self) -> Result<(Vec<Wanted>, bool), MaasError> {
        // In this order: what is complete after MAAS rests stays so.
        let is_importing = self.maas.is_importing().await?;
        Ok((look(&self.maas, self.images).await?, is_importing))
    }

    async fn ask(&mut self) -> Result<(), JobError> {
        self.maas.import_images().await?;
        self.asked = (Instant::now(), self.asked.1 + 1);
        info!("asked MAAS to import");
        Ok(())
    }

    /// MAAS cannot be asked: says so, and looks for it as it may be now.
    async fn go_on_without(&mut self, error: &MaasError) {
        let reason = crate::chain(error);
        if self.trouble.as_ref() != Some(&reason) {
            warn!(reason, "cannot ask MAAS how far it is; the import is followed when it answers");
        }
        self.trouble = Some(reason);
        if let Some(client) = self.context.reconnected(&self.maas).await {
            self.maas = client;
        }
    }

    /// Says what stands still; asks again where MAAS has given up. Regions are
    /// left running: what they have fetched would be lost.
    async fn look_for_stall(&mut self, is_importing: bool) -> Result<(), JobError> {
        let stall = Duration::from_secs(self.images.stall_s);
        let still = self.progress.stalled(&self.known, stall);
        if !still.is_empty() {
            let nothing_for_s = self.progress.still_for().as_secs();
            let (still, look_at) = (still.join("; "), self.where_to_look());
            warn!(
                is_importing,
                nothing_for_s,
                still,
                look_at,
                "an import stands still: nothing arrives of what is named; it is waited for"
            );
        }
        let patience = IDLE.saturating_mul(self.asked.1.min(10));
        if !is_importing && self.asked.0.elapsed() >= patience {
            warn!("MAAS has stopped importing with images missing");
            match self.ask().await {
                Err(JobError::Maas(error)) if error.passes() => self.go_on_without(&error).await,
                asked => asked?,
            }
        }
        Ok(())
    }

    fn over(&self, is_importing: bool) -> JobError {
        let state = match (&self.trouble, is_importing) {
            (Some(_), _) => "MAAS does not answer",
            (None, true) => "MAAS is still at it",
            (None, false) => "MAAS has stopped importing",
        };
        let mut details: Vec<String> = self.known.iter().flat_map(Wanted::lacks).collect();
        details.extend(self.trouble.clone());
        JobError::Several {
            reason: format!("not every image is there after {}; {state}", spoken(self.limit)),
            details,
            hint: format!("look at: {}", self.where_to_look()),
        }
    }

    /// The logs that say why nothing arrives.
    fn where_to_look(&self) -> String {
        let mirror = self.context.settings.mirror().ok();
        let mirror = mirror.map(|mirror| format!("; and at the mirror: {}", mirror.url));
        format!("{}{}", self.context.region_logs(), mirror.unwrap_or_default())
    }
}

fn images_of(wanted: &[Wanted]) -> impl Iterator<Item = &Image> {
    wanted.iter().flat_map(|wanted| &wanted.images)
}

fn tell(before: &[Wanted], after: &[Wanted], report: &mut Report) {
    let was: Vec<&Image> = images_of(before).collect();
    for wanted in after {
        let bytes = wanted.images.iter().fold(0u64, |sum, image| sum.saturating_add(image.size));
        let images = counted(wanted.images.len(), "image");
        let what = format!("{} ({images}, {bytes} bytes)", wanted.name);
        report.images.extend(wanted.images.iter().cloned());
        if wanted.images.iter().all(|image| was.contains(&image)) {
            report.noted(format!("{what} is complete"));
        } else {
            report.changed(format!("imported {what}"));
        }
    }
}

/// Sets what MAAS takes only now. `config` may say otherwise than `images`.
async fn defaults(
    context: &Context,
    maas: &Client,
    images: &Images,
    report: &mut Report,
) -> Result<(), JobError> {
    let of_images = [&images.os, images.commissioning(), &images.release, &images.kernel];
    for (name, value) in AFTER_IMPORT.into_iter().zip(of_images) {
        let given = context.settings.config().ok().and_then(|config| config.get(name));
        let value = given.map_or_else(|| value.to_owned(), ConfigValue::text);
        set(context, maas, name, &value, report).await?;
    }
    Ok(())
}

async fn set(
    context: &Context,
    maas: &Client,
    name: &str,
    value: &str,
    report: &mut Report,
) -> Result<(), JobError> {
    let now = maas.config(name).await?;
    let now = match &now {
        Value::String(text) => text.as_str(),
        _ => "",
    };
    if now == value {
        report.noted(format!("{name} is '{value}'"));
        return Ok(());
    }
    // MAAS's own view of the images follows them by some seconds.
    Wait::new(format!("MAAS to take '{value}' as {name}"), context.limit(TAKE))
        .next("check conf.maas.images in the chart's values")
        .until(async || match maas.set_config(name, value).await {
            Ok(()) => Ok(State::Ready(())),
            Err(error) => match error.complaints() {
                Some(complaints) => Ok(State::Waiting(complaints.to_string())),
                None => Err(JobError::from(error)),
            },
        })
        .await?;
    report.changed(format!("set {name} to '{value}'"));
    Ok(())
}

/// The selection of the former commissioning release could not go before.
async fn sweep(maas: &Client, images: &Images, report: &mut Report) -> Result<(), JobError> {
    let wanted = images.wanted();
    let stale = |selection: &Selection| {
        selection.os == images.os && !wanted.contains(&selection.release.as_str())
    };
    for source in maas.boot_sources().await? {
        remove_stale(maas, source.id, stale, report).await?;
    }
    Ok(())
}
