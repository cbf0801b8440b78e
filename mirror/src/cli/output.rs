//! What is printed, and where.

use std::borrow::Cow;
use std::io::{self, Write as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use indicatif::DecimalBytes;
use serde::Serialize;

use super::args::{Format, Global, ProgressMode};

/// The program's two outputs: data on stdout, all else on stderr. That nobody
/// reads them (a closed pipe) is no error.
#[derive(Clone, Debug)]
pub(super) struct Output {
    format: Format,
    quiet: bool,
    progress: ProgressMode,
    pub(super) log_format: Format,
    /// Whether data goes to stderr too: stdout is taken.
    stdout_taken: bool,
    /// Shared by all copies.
    lost: Arc<AtomicBool>,
}

impl Default for Output {
    fn default() -> Self {
        let (format, log_format) = (Format::Text, Format::Text);
        Self {
            format,
            quiet: false,
            progress: ProgressMode::Auto,
            log_format,
            stdout_taken: false,
            lost: Arc::default(),
        }
    }
}

impl Output {
    pub(super) fn new(global: &Global) -> Self {
        Self {
            format: global.output,
            quiet: global.quiet,
            progress: if global.quiet { ProgressMode::None } else { global.progress },
            log_format: global.log_format,
            stdout_taken: false,
            lost: Arc::default(),
        }
    }

    /// The same, with the data on stderr.
    pub(super) fn to_stderr(&self) -> Self {
        Self { stdout_taken: true, ..self.clone() }
    }

    pub(super) fn is_json(&self) -> bool {
        self.format == Format::Json
    }

    pub(super) fn progress(&self) -> ProgressMode {
        self.progress
    }

    /// A line of data, for people; nothing with `-o json`.
    pub(super) fn line(&self, text: &str) {
        if !self.is_json() {
            let text = format!("{}\n", printable(text));
            self.raw(text.as_bytes());
        }
    }

    /// A line of data that is no more than a confirmation; nothing with `-q`.
    pub(super) fn confirm(&self, text: &str) {
        if !self.quiet {
            self.line(text);
        }
    }

    /// The data, for programs; nothing without `-o json`.
    pub(super) fn json<T: Serialize>(&self, value: &T) {
        if self.is_json()
            && let Ok(text) = serde_json::to_string(value)
        {
            self.raw(format!("{text}\n").as_bytes());
        }
    }

    /// Bytes as they are.
    pub(super) fn raw(&self, bytes: &[u8]) {
        if self.stdout_taken {
            let _ = io::stderr().write_all(bytes);
        } else {
            self.written(io::stdout().write_all(bytes));
        }
    }

    /// Notes data that was lost: on a full disk an empty report must not look
    /// like a success. That nobody reads on is no loss.
    fn written(&self, result: io::Result<()>) {
        let result = result.and_then(|()| io::stdout().flush());
        if result.is_err_and(|error| error.kind() != io::ErrorKind::BrokenPipe) {
            self.lost.store(true, Ordering::Relaxed);
        }
    }

    /// Whether data was lost on its way to stdout.
    pub(super) fn is_lost(&self) -> bool {
        self.lost.load(Ordering::Relaxed)
    }

    /// A part of an error.
    pub(super) fn error(&self, text: &str) {
        let _ = writeln!(io::stderr(), "{}", printable(text));
    }
}

/// `text` with everything escaped that a terminal would obey or hide: names
/// come from upstream.
pub(super) fn printable(text: &str) -> Cow<'_, str> {
    let harmful = |c: char| {
        let invisible = matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}')
            || matches!(c, '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{ad}' | '\u{61c}');
        c.is_control() || invisible
    };
    if !text.contains(harmful) {
        return Cow::Borrowed(text);
    }
    let escape = |c: char| if harmful(c) { c.escape_unicode().to_string() } else { c.to_string() };
    Cow::Owned(text.chars().map(escape).collect())
}

/// `449.02 MB`.
pub(super) fn bytes(count: u64) -> String {
    DecimalBytes(count).to_string()
}

/// `1 item`, `2 items`.
pub(super) fn count(number: usize, what: &str) -> String {
    match (number, what.strip_suffix('y')) {
        (1, _) => format!("1 {what}"),
        (_, Some(stem)) => format!("{number} {stem}ies"),
        (_, None) => format!("{number} {what}s"),
    }
}
