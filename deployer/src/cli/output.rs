//! What is printed, and where.

use std::borrow::Cow;
use std::io::{self, Write as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use serde::Serialize;

use super::args::{Format, Global};

/// The program's two outputs: data on stdout, all else on stderr. That nobody
/// reads them (a closed pipe) is no error.
#[derive(Clone, Debug)]
pub(super) struct Output {
    format: Format,
    quiet: bool,
    /// Shared by all copies.
    lost: Arc<AtomicBool>,
    /// The same.
    unread: Arc<AtomicBool>,
}

impl Output {
    pub(super) fn new(global: &Global) -> Self {
        Self {
            format: global.output,
            quiet: global.quiet,
            lost: Arc::default(),
            unread: Arc::default(),
        }
    }

    pub(super) fn is_json(&self) -> bool {
        self.format == Format::Json
    }

    pub(super) fn is_quiet(&self) -> bool {
        self.quiet
    }

    /// A line of data that is no more than a confirmation; nothing with `-q` or
    /// `-o json`.
    pub(super) fn confirm(&self, text: &str) {
        if !self.quiet && !self.is_json() {
            self.written(&format!("{}\n", printable(text)));
        }
    }

    /// The data, byte for byte; nothing with `-o json`.
    pub(super) fn data(&self, text: &str) {
        if !self.is_json() {
            self.written(text);
        }
    }

    /// A line of data, of which others wrote a part; nothing with `-o json`.
    pub(super) fn data_line(&self, text: &str) {
        self.data(&format!("{}\n", printable(text)));
    }

    /// The data, for programs; nothing without `-o json`.
    pub(super) fn json<T: Serialize>(&self, value: &T) {
        if self.is_json()
            && let Ok(text) = serde_json::to_string(value)
        {
            self.written(&format!("{text}\n"));
        }
    }

    /// Notes data that was lost: on a full disk an empty report must not look
    /// like a success. That nobody reads on is no loss.
    fn written(&self, text: &str) {
        let mut stdout = io::stdout();
        let result = stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush());
        match result {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
                self.unread.store(true, Ordering::Relaxed);
            }
            Err(_) => self.lost.store(true, Ordering::Relaxed),
            Ok(()) => {}
        }
    }

    /// Whether nobody reads stdout any more: a pipe tells so, written to or not.
    pub(super) fn is_unread(&self) -> bool {
        let stdout = io::stdout();
        let mut polled = [PollFd::new(&stdout, PollFlags::empty())];
        let now = Timespec::default();
        let is_asked = poll(&mut polled, Some(&now)).is_ok();
        let is_broken = polled.iter().any(|one| one.revents().contains(PollFlags::ERR));
        self.unread.load(Ordering::Relaxed) || (is_asked && is_broken)
    }

    /// Whether data was lost on its way to stdout.
    pub(super) fn is_lost(&self) -> bool {
        self.lost.load(Ordering::Relaxed)
    }

    /// What a person should know, on stderr; nothing with `-q`.
    pub(super) fn note(&self, text: &str) {
        if !self.quiet {
            self.error(&format!("note: {text}"));
        }
    }

    /// A part of an error.
    pub(super) fn error(&self, text: &str) {
        let _ = writeln!(io::stderr(), "{}", printable(text));
    }
}

/// `text` with everything escaped that a terminal would obey or hide, but line
/// breaks: servers wrote some of it.
pub(super) fn printable(text: &str) -> Cow<'_, str> {
    let harmful = |c: char| {
        let invisible = matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}')
            || matches!(c, '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{ad}' | '\u{61c}');
        (c.is_control() && c != '\n') || invisible
    };
    if !text.contains(harmful) {
        return Cow::Borrowed(text);
    }
    let escape = |c: char| if harmful(c) { c.escape_unicode().to_string() } else { c.to_string() };
    Cow::Owned(text.chars().map(escape).collect())
}
