//! Durations as people write them.

use std::time::Duration;

/// A text that is no duration.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is no duration such as 90s, 15m, 2h or 7d")]
pub struct DurationError(String);

/// Reads `90s`, `15m`, `2h`, `7d`, `1d12h`: as long as there is a unit to each number, and
/// something to wait.
///
/// # Errors
/// [`DurationError`].
pub fn parse(text: &str) -> Result<Duration, DurationError> {
    let wrong = || DurationError(text.to_owned());
    // To the library a day is the calendar's, and need not have 24 hours.
    let (days, rest) = text.split_once('d').unwrap_or(("0", text));
    let days: u32 = days.parse().map_err(|_| wrong())?;
    let days = Duration::from_secs(86_400).checked_mul(days).ok_or_else(wrong)?;
    let rest = match rest {
        "" if !days.is_zero() => Duration::ZERO,
        rest => {
            let span: jiff::SignedDuration = rest.parse().map_err(|_| wrong())?;
            span.try_into().map_err(|_| wrong())?
        }
    };
    let duration = days.checked_add(rest).ok_or_else(wrong)?;
    if duration.is_zero() { Err(wrong()) } else { Ok(duration) }
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
        for text in ["", "15", "0s", "0d", "-1s", "-1d", "soon", "d", "1d2", "99999999999d"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
