//! Durations as people write them.

use std::time::Duration;

/// The longest: as good as for ever, and short enough that its end is a time that there is.
pub const LONGEST: Duration = Duration::from_secs(3650 * 86_400);

/// A text that is no duration.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum DurationError {
    /// It is none at all.
    #[error("'{0}' is no duration such as 90s, 15m, 2h or 7d")]
    Form(String),
    /// Nobody waits that long.
    #[error("'{0}' is too long: at most 3650d")]
    Long(String),
}

/// Reads `90s`, `15m`, `2h`, `7d`, `1d12h`: as long as there is a unit to each number, and
/// something to wait.
///
/// # Errors
/// [`DurationError`].
pub fn parse(text: &str) -> Result<Duration, DurationError> {
    let wrong = || DurationError::Form(text.to_owned());
    let long = || DurationError::Long(text.to_owned());
    // To the library a day is the calendar's, and need not have 24 hours.
    let (days, rest) = text.split_once('d').unwrap_or(("0", text));
    let days: u32 = days.parse().map_err(|_| wrong())?;
    let days = Duration::from_secs(86_400).checked_mul(days).ok_or_else(long)?;
    let rest = match rest {
        "" if !days.is_zero() => Duration::ZERO,
        rest => {
            let span: jiff::SignedDuration = rest.parse().map_err(|_| wrong())?;
            span.try_into().map_err(|_| wrong())?
        }
    };
    match days.checked_add(rest).ok_or_else(long)? {
        Duration::ZERO => Err(wrong()),
        duration if duration > LONGEST => Err(long()),
        duration => Ok(duration),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_has_a_unit() {
        for (text, seconds) in
            [("90s", 90), ("15m", 900), ("1h30m", 5400), ("7d", 604_800), ("1d12h", 129_600)]
        {
            assert_eq!(parse(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        assert_eq!(parse("3650d"), Ok(LONGEST));
        for text in ["3651d", "1000000d", "2562047788015215h", "4294967295d23h"] {
            assert_eq!(parse(text), Err(DurationError::Long(text.to_owned())), "{text}");
        }
        for text in ["", "15", "0s", "0d", "-1s", "-1d", "soon", "d", "1d2", "99999999999d"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
