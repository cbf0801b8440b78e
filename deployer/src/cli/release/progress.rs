//! Progress: a few lines that change on a terminal, else a line now and then.

use std::io::IsTerminal as _;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::super::output::{Output, printable};
use super::args::ProgressMode;
use crate::apply::{News, Progress};
use crate::wait::spoken;

/// How often a wait that has nothing new to say says so.
const REMINDER: Duration = Duration::from_secs(30);

/// Progress that can be ended.
pub(super) trait Shown: Progress {
    /// Nothing more is shown; what moves goes away.
    fn close(&self);
}

/// The progress that was asked for.
pub(super) fn of(mode: ProgressMode, output: &Output) -> Box<dyn Shown> {
    let is_terminal = std::io::stderr().is_terminal();
    match mode {
        _ if output.is_quiet() => Box::new(()),
        ProgressMode::None => Box::new(()),
        ProgressMode::Auto if is_terminal => Box::new(Live::new()),
        ProgressMode::Auto | ProgressMode::Plain => Box::new(Plain::new(output.clone())),
    }
}

impl Shown for () {
    fn close(&self) {}
}

/// Lines.
struct Plain {
    output: Output,
    begun: Instant,
    said: Mutex<Option<(String, Instant)>>,
}

impl Plain {
    fn new(output: Output) -> Self {
        Self { output, begun: Instant::now(), said: Mutex::new(None) }
    }

    fn line(&self, text: &str) {
        self.output.error(&format!("{:>6}  {text}", spoken(self.begun.elapsed())));
    }
}

impl Progress for Plain {
    fn tell(&self, news: News) {
        let text = match news {
            News::Begun(text) | News::Done(text) => text,
            News::Over(phase) => format!("{} is done", phase.name()),
            News::Warning(text) => format!("warning: {text}"),
            News::Waiting { phase, over: (done, all), what, event } => {
                let Ok(mut said) = self.said.lock() else { return };
                let fresh = said
                    .as_ref()
                    .is_some_and(|(last, when)| *last == what && when.elapsed() < REMINDER);
                if fresh {
                    return;
                }
                *said = Some((what.clone(), Instant::now()));
                let event = event.map(|event| format!("; last event: {event}")).unwrap_or_default();
                format!("{} ({done} of {all} phases done): waiting for {what}{event}", phase.name())
            }
        };
        self.line(&text);
    }
}

impl Shown for Plain {
    fn close(&self) {}
}

/// A few lines that change.
struct Live {
    bar: ProgressBar,
}

impl Live {
    fn new() -> Self {
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
        if let Ok(style) =
            ProgressStyle::with_template("{spinner} {elapsed} {prefix}\n  {wide_msg}")
        {
            bar.set_style(style);
        }
        bar.enable_steady_tick(Duration::from_millis(250));
        Self { bar }
    }

    fn above(&self, text: &str) {
        self.bar.println(printable(text));
    }
}

impl Progress for Live {
    fn tell(&self, news: News) {
        match news {
            News::Begun(text) => {
                self.bar.set_prefix(printable(&text).into_owned());
                self.bar.set_message("");
            }
            News::Done(text) => self.above(&format!("✓ {text}")),
            News::Over(phase) => self.above(&format!("✓ {}", phase.name())),
            News::Warning(text) => self.above(&format!("! {text}")),
            News::Waiting { phase, over: (done, all), what, event } => {
                self.bar.set_prefix(format!("{} ({done} of {all} phases done)", phase.name()));
                let event = event.map(|event| format!(" | {event}")).unwrap_or_default();
                self.bar.set_message(printable(&format!("{what}{event}")).into_owned());
            }
        }
    }
}

impl Shown for Live {
    fn close(&self) {
        self.bar.finish_and_clear();
    }
}
