//! Progress in bytes, for verbs that read or write one thing after another.

use std::io::IsTerminal as _;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use super::args::ProgressMode;
use super::output::{Output, bytes};

/// The pause between two lines of progress.
const LINE_EVERY: Duration = Duration::from_secs(5);

/// A bar on a terminal, elsewhere a line now and then.
pub(super) struct Meter {
    output: Output,
    /// What is done, in lines: `exported`.
    done: &'static str,
    bar: Option<ProgressBar>,
    lines: bool,
    times: Mutex<(Instant, Instant)>,
}

impl Meter {
    pub(super) fn new(output: &Output, done: &'static str) -> Self {
        let mode = output.progress();
        let terminal = std::io::stderr().is_terminal();
        let bar = (mode == ProgressMode::Auto && terminal).then(|| {
            let style = ProgressStyle::with_template(
                "{decimal_bytes:>10} of {decimal_total_bytes:10} {decimal_bytes_per_sec:>12} {eta:>4} left  {wide_bar}",
            );
            ProgressBar::new(0).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
        });
        let lines = bar.is_none() && mode != ProgressMode::None;
        let now = Instant::now();
        Self { output: output.clone(), done, bar, lines, times: Mutex::new((now, now)) }
    }

    /// So many bytes are done, of so many.
    pub(super) fn at(&self, done: u64, total: u64) {
        if let Some(bar) = &self.bar {
            bar.set_length(total);
            bar.set_position(done);
        }
        if self.lines
            && let Some(line) = self.line(done, total)
        {
            self.output.error(&line);
        }
    }

    /// A line, where one is due.
    fn line(&self, done: u64, total: u64) -> Option<String> {
        let mut times = self.times.lock().unwrap_or_else(PoisonError::into_inner);
        let (started, last) = *times;
        if last.elapsed() < LINE_EVERY {
            return None;
        }
        times.1 = Instant::now();
        let speed = done / started.elapsed().as_secs().max(1);
        let left = total.saturating_sub(done).checked_div(speed);
        let left = left.map_or_else(String::new, |left| format!(", {left} s left"));
        let (verb, speed) = (self.done, bytes(speed));
        Some(format!("{verb} {} of {}, {speed}/s{left}", bytes(done), bytes(total)))
    }
}

impl Drop for Meter {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
