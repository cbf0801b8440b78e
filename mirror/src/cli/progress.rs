//! How a sync shows itself: bars on a terminal, a line now and then elsewhere.

use std::collections::HashMap;
use std::io::IsTerminal as _;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use super::args::ProgressMode;
use super::output::{Output, bytes, count, printable};
use super::sync::summary;
use crate::simplestreams::RelPath;
use crate::sync::{Event, Observer};

/// The pause between two lines of progress.
const LINE_EVERY: Duration = Duration::from_secs(5);

/// What `--progress` asks for.
pub(super) fn observer(output: &Output) -> Arc<dyn Observer> {
    match output.progress() {
        ProgressMode::None => notices(output),
        ProgressMode::Auto if std::io::stderr().is_terminal() => Arc::new(Bars::new()),
        ProgressMode::Auto | ProgressMode::Plain => {
            Arc::new(Lines { output: output.clone(), silent: false, state: Mutex::default() })
        }
    }
}

/// What is said before a push.
fn to_send(blobs: usize, size: u64) -> String {
    format!("{} to send, {}", count(blobs, "file"), bytes(size))
}

/// Says no more than what is out of order: for runs that show how far they are
/// in their own way.
pub(super) fn notices(output: &Output) -> Arc<dyn Observer> {
    Arc::new(Lines { output: output.clone(), silent: true, state: Mutex::default() })
}

/// What is said of events that are out of order, however progress is shown.
fn notice(event: &Event<'_>) -> Option<String> {
    match event {
        Event::Stale { updated, days } => {
            Some(format!("warning: upstream has not changed since {updated} ({days} days)"))
        }
        Event::KeyExpires { fingerprint, days } => {
            Some(format!("warning: the signing key {fingerprint} expires in {days} days"))
        }
        Event::NotCollected { error } => {
            let reason = crate::chain(*error);
            Some(format!(
                "warning: old snapshots could not be removed: {reason}; 'verify' tells more"
            ))
        }
        Event::Retrying { path, error, pause } => {
            let seconds = pause.as_secs_f64();
            Some(format!("{path}: {}; trying again in {seconds:.1} s", crate::chain(error)))
        }
        Event::Failed { path, error } => Some(format!("{path}: {}", crate::chain(*error))),
        _ => None,
    }
}

#[derive(Debug, Default)]
struct Tally {
    /// What is done with the items.
    verb: &'static str,
    planned: Option<(usize, u64)>,
    finished: usize,
    /// Bytes that are there of the downloads under way.
    running: HashMap<RelPath, u64>,
    /// Bytes that this run wrote.
    written: u64,
    started: Option<Instant>,
    last_line: Option<Instant>,
}

impl Tally {
    fn progress(&mut self, path: &RelPath, done: u64) {
        if let Some(before) = self.running.get_mut(path) {
            self.written += done.saturating_sub(*before);
            *before = done;
        }
    }

    /// A line of progress, where one is due.
    fn line(&mut self) -> Option<String> {
        let (total, size) = self.planned?;
        let started = *self.started.get_or_insert_with(Instant::now);
        if self.last_line.unwrap_or(started).elapsed() < LINE_EVERY {
            return None;
        }
        self.last_line = Some(Instant::now());
        let seconds = started.elapsed().as_secs().max(1);
        let speed = self.written / seconds;
        let left = size.saturating_sub(self.written).checked_div(speed);
        let left = left.map_or_else(String::new, |left| format!(", {left} s left"));
        Some(format!(
            "{} {} of {total}, {} of {}, {}/s{left}",
            self.verb,
            count(self.finished, "item"),
            bytes(self.written),
            bytes(size),
            bytes(speed),
        ))
    }
}

/// Plain lines.
#[derive(Debug)]
struct Lines {
    output: Output,
    silent: bool,
    state: Mutex<Tally>,
}

impl Observer for Lines {
    fn event(&self, event: &Event<'_>) {
        if let Some(text) = notice(event) {
            self.output.error(&text);
        }
        if self.silent {
            return;
        }
        let mut tally = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        match event {
            Event::Sending { count: blobs, bytes: size } => {
                tally.verb = "pushed";
                tally.planned = Some((*blobs, *size));
                tally.started = Some(Instant::now());
                self.output.error(&to_send(*blobs, *size));
            }
            Event::Planned(plan) => {
                tally.verb = "fetched";
                tally.planned = Some((plan.fetch_count(), plan.fetch_bytes()));
                tally.started = Some(Instant::now());
                self.output.error(&summary(plan));
            }
            Event::Started { path, from, .. } => {
                tally.running.insert((*path).clone(), *from);
            }
            Event::Progress { path, done } => tally.progress(path, *done),
            Event::Finished { path, .. } => {
                tally.running.remove(*path);
                tally.finished += 1;
            }
            _ => {}
        }
        if let Some(line) = tally.line() {
            self.output.error(&line);
        }
    }
}

/// Bars: one for all, one for each download under way.
#[derive(Debug)]
struct Bars {
    group: MultiProgress,
    total: ProgressBar,
    files: Mutex<HashMap<RelPath, ProgressBar>>,
}

impl Bars {
    fn new() -> Self {
        let group = MultiProgress::new();
        let total = ProgressBar::new(0).with_style(style(
            "{decimal_bytes:>10} of {decimal_total_bytes:10} {decimal_bytes_per_sec:>12} {eta:>4} left  {wide_bar}  {msg}",
        ));
        Self { group, total, files: Mutex::default() }
    }

    fn say(&self, text: &str) {
        let _ = self.group.println(printable(text));
    }
}

/// The templates are constants of this file, so they are valid.
fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

impl Observer for Bars {
    fn event(&self, event: &Event<'_>) {
        if let Some(text) = notice(event) {
            self.say(&text);
        }
        let mut files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        match event {
            Event::Sending { count: blobs, bytes: size } => {
                self.say(&to_send(*blobs, *size));
                if *blobs > 0 {
                    self.group.add(self.total.clone());
                    self.total.set_length(*size);
                    self.total.set_message(count(*blobs, "file"));
                }
            }
            Event::Planned(plan) => {
                self.say(&summary(plan));
                if plan.fetch_count() > 0 {
                    self.group.add(self.total.clone());
                    self.total.set_length(plan.fetch_bytes());
                    self.total.set_message(count(plan.fetch_count(), "item"));
                }
            }
            Event::Started { path, from, size } => {
                let bar = ProgressBar::new(*size)
                    .with_style(style("  {decimal_bytes:>10} of {decimal_total_bytes:10} {decimal_bytes_per_sec:>12} {eta:>4} left  {wide_msg}"))
                    .with_position(*from)
                    .with_message(printable(path.as_str()).into_owned());
                let old = files.insert((*path).clone(), self.group.insert_before(&self.total, bar));
                if let Some(old) = old {
                    old.finish_and_clear();
                }
            }
            Event::Progress { path, done } => {
                if let Some(bar) = files.get(*path) {
                    self.total.inc(done.saturating_sub(bar.position()));
                    bar.set_position(*done);
                }
            }
            Event::Finished { path, .. } | Event::Failed { path, .. } => {
                if let Some(bar) = files.remove(*path) {
                    bar.finish_and_clear();
                    self.group.remove(&bar);
                }
            }
            Event::Done(_) => self.total.finish_and_clear(),
            _ => {}
        }
    }
}

impl Drop for Bars {
    fn drop(&mut self) {
        // A run that was cut short leaves some; their last line would stay.
        let files = self.files.get_mut().unwrap_or_else(PoisonError::into_inner);
        files.drain().for_each(|(_, bar)| bar.finish_and_clear());
        self.total.finish_and_clear();
        let _ = self.group.clear();
    }
}
