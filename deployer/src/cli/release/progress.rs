//! Progress: a few lines that change on a terminal, else a line now and then.

use std::io::IsTerminal as _;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::super::output::{Output, printable};
use super::super::shared_args::ProgressMode;
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

/// What is waited for, and for how long, from the first second on.
fn with_time(what: &str, waited: Duration) -> String {
    match waited.as_secs() {
        0 => what.to_owned(),
        _ => format!("{what}, for {}", spoken(waited)),
    }
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
            News::Over(phase) => format!("{} is done", phase.word()),
            News::Warning(text) => format!("warning: {text}"),
            News::Waiting { phase, over: (done, all), what, waited, event } => {
                let Ok(mut said) = self.said.lock() else { return };
                let fresh = said
                    .as_ref()
                    .is_some_and(|(last, when)| *last == what && when.elapsed() < REMINDER);
                if fresh {
                    return;
                }
                *said = Some((what.clone(), Instant::now()));
                let event = event.map(|event| format!("; last event: {event}")).unwrap_or_default();
                let what = with_time(&what, waited);
                format!("{} ({done} of {all} phases done): waiting for {what}{event}", phase.word())
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
            News::Over(phase) => self.above(&format!("✓ {}", phase.word())),
            News::Warning(text) => self.above(&format!("! {text}")),
            News::Waiting { phase, over: (done, all), what, waited, event } => {
                self.bar.set_prefix(format!("{} ({done} of {all} phases done)", phase.word()));
                let event = event.map(|event| format!(" | {event}")).unwrap_or_default();
                let text = format!("waiting for {}{event}", with_time(&what, waited));
                self.bar.set_message(printable(&text).into_owned());
            }
        }
    }
}

impl Shown for Live {
    fn close(&self) {
        self.bar.finish_and_clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_waited_for_says_for_how_long() {
        let what = "StatefulSet maas-region: 0 of 1 ready";
        assert_eq!(with_time(what, Duration::from_millis(900)), what);
        let later = with_time(what, Duration::from_secs(130));
        assert_eq!(later, format!("{what}, for 130 s"));
        let late = with_time(what, Duration::from_secs(3600));
        assert_eq!(late, format!("{what}, for 60 min"));
    }
}
