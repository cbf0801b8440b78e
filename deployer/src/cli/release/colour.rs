//! Colours, for a terminal alone.

use clap::ValueEnum;

/// When there are colours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(in crate::cli) enum When {
    Auto,
    Always,
    Never,
}

/// A colour, by its use of SGR.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Colour {
    Plain,
    Bold,
    Red,
    Green,
    Yellow,
    Cyan,
}

/// Puts colours on text, or leaves it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Paint {
    is_on: bool,
}

impl Paint {
    /// Colours where they were asked for, or else on a terminal that takes them; `NO_COLOR` is
    /// honoured.
    pub(super) fn of(when: When, is_terminal: bool) -> Self {
        let is_set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        let is_dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        let is_on = match when {
            When::Always => true,
            When::Never => false,
            When::Auto => is_terminal && !is_set("NO_COLOR") && !is_dumb,
        };
        Self { is_on }
    }

    #[cfg(test)]
    pub(super) fn none() -> Self {
        Self { is_on: false }
    }

    #[cfg(test)]
    pub(super) fn all() -> Self {
        Self { is_on: true }
    }

    pub(super) fn on(self, colour: Colour, text: &str) -> String {
        let code = match colour {
            Colour::Bold => "1",
            Colour::Red => "31",
            Colour::Green => "32",
            Colour::Yellow => "33",
            Colour::Cyan => "36",
            Colour::Plain => return text.to_owned(),
        };
        if self.is_on { format!("\u{1b}[{code}m{text}\u{1b}[0m") } else { text.to_owned() }
    }
}
