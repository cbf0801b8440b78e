//! `import-images`: the boot images, to completion, and then the settings that
//! need them.
//!
//! MAAS answers an import with 200 whatever becomes of it, and `is_importing`
//! ends in silence when nothing was imported. Only the images themselves tell:
//! done is when every version of every wanted one is complete.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value;
use tokio::time::{Instant, sleep};
use tracing::{info, warn};

use super::configure::{AFTER_IMPORT, remove_stale};
use super::context::Context;
use super::error::JobError;
use super::report::Report;
use super::resources::{Image, Wanted, look};
use super::{stale_regions, wait_for};
use crate::maas::{Client, MaasError, Selection};
use crate::settings::{ConfigValue, Images};
use crate::wait::{State, Wait, spoken};

/// How often MAAS is asked how far it is.
const PAUSE: Duration = Duration::from_secs(5);

/// How often progress is logged where nothing else is.
const REMINDER: Duration = Duration::from_secs(30);

/// How long an import that was asked for may take to show.
const BEGIN: Duration = Duration::from_secs(10);

/// How long MAAS may be idle with images missing before it is asked again; the
/// longer, the more often it was.
const IDLE: Duration = Duration::from_secs(30);

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
    let mut import = Import::new(context, &maas, images, limit);
    let before = import.look().await?;
    let after = import.run().await?;
    tell(&before, &after, &mut report);
    defaults(context, &maas, images, &mut report).await?;
    sweep(&maas, images, &mut report).await?;
    Ok(report)
}

/// An import under way.
struct Import<'a> {
    context: &'a Context,
    maas: &'a Client,
    images: &'a Images,
    limit: Duration,
    begun: Instant,
    /// What was last logged of each image.
    said: BTreeMap<String, u64>,
    last_said: Instant,
    /// When something last arrived, and how much there was.
    arrived: (Instant, u64),
    stall_said: Instant,
    /// When MAAS was last asked to import, and how often.
    asked: (Instant, u32),
    last_error: Option<String>,
}

impl<'a> Import<'a> {
    fn new(context: &'a Context, maas: &'a Client, images: &'a Images, limit: Duration) -> Self {
        let now = Instant::now();
        Self {
            context,
            maas,
            images,
            limit,
            begun: now,
            said: BTreeMap::new(),
            last_said: now,
            arrived: (now, 0),
            stall_said: now,
            asked: (now, 0),
            last_error: None,
        }
    }

    async fn look(&self) -> Result<Vec<Wanted>, JobError> {
        Ok(look(self.maas, self.images).await?)
    }

    /// Asks for an import and follows it until all is complete and MAAS rests.
    async fn run(&mut self) -> Result<Vec<Wanted>, JobError> {
        self.ask().await?;
        let mut has_begun = false;
        loop {
            match self.state().await {
                Ok((wanted, is_importing)) => {
                    self.last_error = None;
                    self.say(&wanted);
                    // Complete may be what was there before the import that was
                    // asked for has begun; one that has nothing to do never shows.
                    has_begun |= is_importing || self.asked.0.elapsed() >= BEGIN;
                    let is_complete = wanted.iter().all(Wanted::is_complete);
                    if is_complete && !is_importing && has_begun {
                        return Ok(wanted);
                    }
                    self.look_for_stall(&wanted, is_importing).await?;
                    if self.begun.elapsed() + PAUSE > self.limit {
                        return Err(self.over(&wanted, is_importing));
                    }
                }
                // A region or the database that starts anew.
                Err(error) if error.passes() && self.begun.elapsed() < self.limit => {
                    let reason = crate::chain(&error);
                    warn!(reason, "cannot ask MAAS how far it is");
                    self.last_error = Some(reason);
                }
                Err(error) => return Err(error.into()),
            }
            sleep(if has_begun { PAUSE } else { PAUSE / 5 }).await;
        }
    }

    async fn state(&self) -> Result<(Vec<Wanted>, bool), MaasError> {
        // In this order: what is complete after MAAS rests stays so.
        let is_importing = self.maas.is_importing().await?;
        Ok((look(self.maas, self.images).await?, is_importing))
    }

    async fn ask(&mut self) -> Result<(), JobError> {
        self.maas.import_images().await?;
        self.asked = (Instant::now(), self.asked.1 + 1);
        info!("asked MAAS to import");
        Ok(())
    }

    /// Logs each image that changed, and now and then the whole.
    fn say(&mut self, wanted: &[Wanted]) {
        for image in images_of(wanted) {
            if self.said.get(&image.name) != Some(&image.percent()) {
                let Image { name, held, size, .. } = image;
                let percent = image.percent();
                info!(image = name, held_bytes = held, size_bytes = size, percent, "importing");
                self.said.insert(name.clone(), percent);
                self.last_said = Instant::now();
            }
        }
        if self.last_said.elapsed() >= REMINDER {
            let (held, size) = totals(wanted);
            let complete = wanted.iter().filter(|wanted| wanted.is_complete()).count();
            let for_s = self.begun.elapsed().as_secs();
            let (of, limit_s) = (wanted.len(), self.limit.as_secs());
            info!(complete, of, held_bytes = held, size_bytes = size, for_s, limit_s, "importing");
            self.last_said = Instant::now();
        }
    }

    /// Says what stands still; asks again where MAAS has given up. Regions are
    /// left running: what they have fetched would be lost.
    async fn look_for_stall(
        &mut self,
        wanted: &[Wanted],
        is_importing: bool,
    ) -> Result<(), JobError> {
        let (held, _) = totals(wanted);
        if held != self.arrived.1 {
            self.arrived = (Instant::now(), held);
        }
        let stall = Duration::from_secs(self.images.stall_s);
        if self.arrived.0.elapsed() >= stall && self.stall_said.elapsed() >= stall {
            self.stall_said = Instant::now();
            let still: Vec<String> = wanted.iter().flat_map(Wanted::lacks).collect();
            let for_s = self.arrived.0.elapsed().as_secs();
            let look_at = self.logs();
            warn!(for_s, is_importing, still = still.join("; "), look_at, "nothing arrives");
        }
        let patience = IDLE.saturating_mul(self.asked.1.min(10));
        if !is_importing && self.asked.0.elapsed() >= patience {
            warn!("MAAS has stopped importing with images missing");
            self.ask().await?;
        }
        Ok(())
    }

    fn over(&self, wanted: &[Wanted], is_importing: bool) -> JobError {
        let state = if is_importing { "MAAS is still at it" } else { "MAAS has stopped importing" };
        let mut details: Vec<String> = wanted.iter().flat_map(Wanted::lacks).collect();
        details.extend(self.last_error.clone());
        JobError::Several {
            reason: format!("not every image is there after {}; {state}", spoken(self.limit)),
            details,
            hint: format!("look at: {}", self.logs()),
        }
    }

    fn logs(&self) -> String {
        self.context.region_logs()
    }
}

fn images_of(wanted: &[Wanted]) -> impl Iterator<Item = &Image> {
    wanted.iter().flat_map(|wanted| &wanted.images)
}

/// Bytes that are there, and bytes in all.
fn totals(wanted: &[Wanted]) -> (u64, u64) {
    images_of(wanted).fold((0, 0), |(held, size), image| {
        (u64::saturating_add(held, image.held), u64::saturating_add(size, image.size))
    })
}

fn tell(before: &[Wanted], after: &[Wanted], report: &mut Report) {
    let was: Vec<&Image> = images_of(before).collect();
    for wanted in after {
        let bytes = wanted.images.iter().fold(0u64, |sum, image| sum.saturating_add(image.size));
        let what = format!("{} ({} images, {bytes} bytes)", wanted.name, wanted.images.len());
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
        set(maas, name, &value, report).await?;
    }
    Ok(())
}

async fn set(maas: &Client, name: &str, value: &str, report: &mut Report) -> Result<(), JobError> {
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
    Wait::new(format!("MAAS to take '{value}' as {name}"), Duration::from_secs(60))
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
