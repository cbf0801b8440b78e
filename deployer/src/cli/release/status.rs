//! `maas-deployer status`.

use std::io::IsTerminal as _;
use std::time::Duration;

use super::super::failure::{Exit, Failure};
use super::super::job::interrupted;
use super::super::output::Output;
use super::args::StatusArgs;
use super::colour::{Paint, When};
use super::{Context, status_json, status_text};
use crate::counted::counted;
use crate::status::{Status, look};

impl Context<'_> {
    /// How the release stands; with `--watch` again and again, until a signal comes or nobody
    /// can read it.
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
            // Lost output is told of as that of every verb is.
            if self.output.is_lost() || self.output.is_unread() {
                return Ok(Exit::Done);
            }
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
            let screen = fitting(&status_text::screen(status, self.paint), rows());
            // Home, then each line over the old one, none of them wrapped, then the rest of the
            // screen cleared.
            let redrawn = screen.replace('\n', "\u{1b}[K\n");
            let cleared = self.cleared();
            self.output.data(&format!("\u{1b}[H{cleared}\u{1b}[?7l{redrawn}\u{1b}[?7h\u{1b}[J"));
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

/// How many lines the terminal shows; none where it does not say.
fn rows() -> Option<usize> {
    let size = rustix::termios::tcgetwinsize(std::io::stdout()).ok()?;
    Some(usize::from(size.ws_row)).filter(|rows| *rows > 0)
}

/// What of a screen a terminal can show without scrolling: the beginning and the verdict.
fn fitting(screen: &str, rows: Option<usize>) -> String {
    let lines: Vec<&str> = screen.lines().collect();
    // The cursor has a line of its own below.
    let room = rows.map_or(usize::MAX, |rows| rows.saturating_sub(1));
    if lines.len() <= room {
        return screen.to_owned();
    }
    let verdict = lines.iter().position(|line| line.starts_with(status_text::VERDICT));
    let (above, verdict) = lines.split_at(verdict.unwrap_or(lines.len()));
    let verdict = verdict.get(..verdict.len().min(room / 2)).unwrap_or_default();
    let shown = room.saturating_sub(verdict.len() + 1);
    let left = lines.len().saturating_sub(shown + verdict.len());
    let more = format!(
        "… {}: see all without --watch, or on a taller terminal",
        counted(left, "more line")
    );
    let above = above.iter().take(shown).copied();
    let all = above.chain([more.as_str()]).chain(verdict.iter().copied());
    all.take(room).flat_map(|line| [line, "\n"]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_screen_is_cut_to_the_terminal_and_keeps_its_verdict() {
        let mut screen: String = (1..=10).map(|number| format!("pods {number}\n")).collect();
        screen.push_str("verdict      a\n             b\n");
        for rows in [None, Some(13), Some(50)] {
            assert_eq!(fitting(&screen, rows), screen);
        }
        let more = |lines| {
            format!("… {lines} more lines: see all without --watch, or on a taller terminal\n")
        };
        assert_eq!(
            fitting(&screen, Some(7)),
            format!("pods 1\npods 2\npods 3\n{}verdict      a\n             b\n", more(7))
        );
        assert_eq!(fitting(&screen, Some(3)), format!("{}verdict      a\n", more(11)));
        assert_eq!(fitting(&screen, Some(2)), more(12));
        assert_eq!(fitting(&screen, Some(1)), "");
    }
}
