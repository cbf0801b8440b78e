//! `maas-deployer status`.

use std::io::IsTerminal as _;
use std::time::Duration;

use super::super::failure::{Exit, Failure};
use super::super::job::interrupted;
use super::super::output::Output;
use super::args::StatusArgs;
use super::colour::{Paint, When};
use super::{Context, status_json, status_text};
use crate::status::{Status, look};

impl Context<'_> {
    /// How the release stands; with `--watch` again and again, until a signal comes.
    pub(super) async fn status(&self, args: &StatusArgs) -> Result<Exit, Failure> {
        tokio::select! {
            result = Box::pin(self.looked(args)) => result,
            exit = interrupted() => Ok(exit),
        }
    }

    async fn looked(&self, args: &StatusArgs) -> Result<Exit, Failure> {
        let is_terminal = std::io::stdout().is_terminal();
        let paint = Paint::of(When::Auto, is_terminal);
        let mut shown = Watch { output: self.output, paint, is_terminal, last: Vec::new() };
        loop {
            let status = look(self.cluster, self.name, self.namespace).await;
            let status = status.map_err(|error| self.failure(&error))?;
            if !args.watch {
                self.output.data(&status_text::screen(&status, paint));
                self.output.json(&status_json::described(&status));
                let is_well = status.problems.is_empty();
                return Ok(if is_well { Exit::Done } else { Exit::Error });
            }
            shown.tell(&status);
            tokio::time::sleep(args.interval).await;
        }
    }
}

/// The shortest pause between two looks.
pub(super) const SHORTEST: Duration = Duration::from_secs(1);

/// What a watch has shown.
struct Watch<'a> {
    output: &'a Output,
    paint: Paint,
    is_terminal: bool,
    last: Vec<String>,
}

impl Watch<'_> {
    /// On a terminal the screen anew; else a line for each thing that changed, or with
    /// `-o json` an object where any did.
    fn tell(&mut self, status: &Status) {
        let now = status_text::lines(status);
        let is_new = now != self.last;
        if self.output.is_json() {
            if is_new {
                self.output.json(&status_json::described(status));
            }
        } else if self.is_terminal {
            let screen = status_text::screen(status, self.paint);
            // Home, then each line over the old one, then the rest of the screen cleared.
            let redrawn = screen.replace('\n', "\u{1b}[K\n");
            self.output.data(&format!("\u{1b}[H{}{redrawn}\u{1b}[J", self.cleared()));
        } else {
            let when = jiff::Timestamp::now();
            let when = jiff::Timestamp::from_second(when.as_second()).unwrap_or(when);
            for line in now.iter().filter(|line| !self.last.contains(line)) {
                self.output.data(&format!("{when}  {line}\n"));
            }
        }
        self.last = now;
    }

    /// Before the first screen what is there goes.
    fn cleared(&self) -> &'static str {
        if self.last.is_empty() { "\u{1b}[2J" } else { "" }
    }
}
