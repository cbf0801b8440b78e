//! How far it is: bars on a terminal, a line now and then elsewhere.

use std::collections::HashMap;
use std::io::IsTerminal as _;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{DecimalBytes, MultiProgress, ProgressBar, ProgressStyle};
use oci::digest::Digest;

use super::super::output::{Output, printable};
use super::super::shared_args::ProgressMode;
use crate::bundle::{Event, Observer};
use crate::counted::counted;

/// The pause between two lines of progress.
const LINE_EVERY: Duration = Duration::from_secs(5);

/// What `--progress` asks for.
pub(super) fn of(mode: ProgressMode, output: &Output) -> Box<dyn Observer> {
    match mode {
        _ if output.is_quiet() => Box::new(()),
        ProgressMode::None => Box::new(()),
        ProgressMode::Auto if std::io::stderr().is_terminal() => Box::new(Bars::new()),
        ProgressMode::Auto | ProgressMode::Plain => {
            Box::new(Lines { output: output.clone(), tally: Mutex::default() })
        }
    }
}

/// `3 files, 1.25 GB`.
pub(super) fn amount(files: usize, bytes: u64) -> String {
    format!("{}, {}", counted(files, "file"), DecimalBytes(bytes))
}

/// What is said however progress is shown.
fn notice(event: &Event<'_>) -> Option<String> {
    match event {
        Event::Begun(text) => Some((*text).to_owned()),
        Event::Done(text) => Some(format!("done: {text}")),
        Event::Warning(text) => Some(format!("warning: {text}")),
        Event::Planned { files, bytes } => Some(format!("to copy: {}", amount(*files, *bytes))),
        Event::Retrying { of, error, pause } => {
            let seconds = pause.as_secs_f64();
            Some(format!("{of}: {}; trying again in {seconds:.1} s", crate::chain(*error)))
        }
        _ => None,
    }
}

#[derive(Debug, Default)]
struct Tally {
    planned: (usize, u64),
    finished: usize,
    running: HashMap<Digest, u64>,
    done: u64,
    last_line: Option<Instant>,
}

impl Tally {
    /// Bytes that are new of a file.
    fn moved(&mut self, digest: Digest, done: u64) -> u64 {
        let before = self.running.insert(digest, done).unwrap_or_default();
        let new = done.saturating_sub(before);
        self.done += new;
        new
    }

    /// A file that begins again loses what was counted of it.
    fn started(&mut self, digest: Digest) {
        let before = self.running.insert(digest, 0).unwrap_or_default();
        self.done = self.done.saturating_sub(before);
    }

    fn line(&mut self) -> Option<String> {
        let last = *self.last_line.get_or_insert_with(Instant::now);
        if last.elapsed() < LINE_EVERY {
            return None;
        }
        self.last_line = Some(Instant::now());
        let (files, bytes) = self.planned;
        let (finished, done) = (self.finished, DecimalBytes(self.done));
        Some(format!("{finished} of {}, {done} of {}", counted(files, "file"), DecimalBytes(bytes)))
    }
}

/// Lines.
struct Lines {
    output: Output,
    tally: Mutex<Tally>,
}

impl Observer for Lines {
    fn event(&self, event: &Event<'_>) {
        if let Some(text) = notice(event) {
            self.output.error(&text);
        }
        let mut tally = self.tally.lock().unwrap_or_else(PoisonError::into_inner);
        match event {
            Event::Planned { files, bytes } => tally.planned = (*files, *bytes),
            Event::Started { digest, .. } => tally.started(*digest),
            Event::Moved { digest, done } => {
                tally.moved(*digest, *done);
            }
            Event::Finished { digest } => {
                tally.running.remove(digest);
                tally.finished += 1;
            }
            _ => {}
        }
        if let Some(line) = tally.line() {
            self.output.error(&line);
        }
    }
}

/// A bar for all, and what is under way.
struct Bars {
    group: MultiProgress,
    total: ProgressBar,
    tally: Mutex<Tally>,
}

impl Bars {
    fn new() -> Self {
        let template = "{decimal_bytes:>10} of {decimal_total_bytes:10} {decimal_bytes_per_sec:>12} {eta:>4} left  {wide_bar}  {msg:.40}";
        // A constant of this file: it is valid.
        let style = ProgressStyle::with_template(template);
        let style = style.unwrap_or_else(|_| ProgressStyle::default_bar());
        let total = ProgressBar::new(0).with_style(style);
        Self { group: MultiProgress::new(), total, tally: Mutex::default() }
    }
}

impl Observer for Bars {
    fn event(&self, event: &Event<'_>) {
        if let Some(text) = notice(event) {
            let _ = self.group.println(printable(&text));
        }
        let mut tally = self.tally.lock().unwrap_or_else(PoisonError::into_inner);
        match event {
            Event::Planned { files, bytes } => {
                tally.planned = (*files, *bytes);
                if *files > 0 {
                    self.group.add(self.total.clone());
                    self.total.set_length(*bytes);
                }
            }
            Event::Started { digest, of, .. } => {
                tally.started(*digest);
                self.total.set_position(tally.done);
                self.total.set_message(printable(of).into_owned());
            }
            Event::Moved { digest, done } => self.total.inc(tally.moved(*digest, *done)),
            Event::Finished { digest } => {
                tally.running.remove(digest);
            }
            _ => {}
        }
    }
}

impl Drop for Bars {
    fn drop(&mut self) {
        self.total.finish_and_clear();
        let _ = self.group.clear();
    }
}
