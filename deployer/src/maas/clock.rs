//! How MAAS's clock stands to ours.
//!
//! MAAS refuses a request whose time is more than 300 s in its past, and takes
//! any of its future. Where it refuses one, it says what time it has: that is made
//! up for from then on, and told, as clocks that differ spoil more than this.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use http::HeaderMap;
use http::header::DATE;

/// A difference that is worth telling, in seconds: half of what MAAS takes.
const WORTH_TELLING_S: u64 = 150;

/// A correction smaller than this would change nothing, in seconds.
const SAME_S: u64 = 30;

/// MAAS's clock, as far as it is known. All copies of a client share it.
#[derive(Clone, Debug, Default)]
pub(super) struct Clock(Arc<Known>);

#[derive(Debug, Default)]
struct Known {
    /// How far MAAS's clock is ahead of ours.
    ahead_s: AtomicI64,
    is_told: AtomicBool,
}

impl Clock {
    /// MAAS's time.
    pub(super) fn now(&self) -> u64 {
        here().saturating_add_signed(self.0.ahead_s.load(Ordering::Relaxed))
    }

    /// Makes up for a clock of MAAS that is `ahead_s` ahead of ours; false where
    /// that is known already, so that it would not help.
    pub(super) fn correct(&self, ahead_s: i64) -> bool {
        let before = self.0.ahead_s.swap(ahead_s, Ordering::Relaxed);
        let is_news = before.abs_diff(ahead_s) >= SAME_S;
        if is_news {
            self.tell(ahead_s, "the clock here differs from MAAS's, which is made up for");
        }
        is_news
    }

    /// Tells of a clock that differs, though MAAS took the request.
    pub(super) fn notice(&self, headers: &HeaderMap) {
        if let Some(ahead_s) = ahead(headers).filter(|s| s.unsigned_abs() >= WORTH_TELLING_S) {
            self.tell(ahead_s, "the clock here differs from MAAS's");
        }
    }

    fn tell(&self, ahead_s: i64, what: &str) {
        if !self.0.is_told.swap(true, Ordering::Relaxed) {
            tracing::warn!(maas_is_ahead_s = ahead_s, "{what}: set the nodes' clocks by NTP");
        }
    }
}

/// Our own time.
fn here() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_secs())
}

/// How many seconds the clock of whoever sent `headers` is ahead of ours.
pub(super) fn ahead(headers: &HeaderMap) -> Option<i64> {
    let date = headers.get(DATE)?.to_str().ok()?;
    since_here(jiff::fmt::rfc2822::parse(date).ok()?.timestamp().as_second())
}

/// The same, of a refusal: `Expired timestamp: given 1 and now 2 has …`. Of the
/// body, nothing but this number is used.
pub(super) fn ahead_by_refusal(body: &str) -> Option<i64> {
    let (_, after) = body.split_once(" now ")?;
    let digits = after.split(|c: char| !c.is_ascii_digit()).next()?;
    since_here(digits.parse().ok()?)
}

fn since_here(there: i64) -> Option<i64> {
    there.checked_sub(i64::try_from(here()).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_correction_is_made_once() {
        let clock = Clock::default();
        assert!(clock.correct(600) && !clock.correct(601));
        let ahead = clock.now() - here();
        assert!((600..=602).contains(&ahead), "{ahead}");
        // All copies know of it, and another difference is news again.
        assert!(!clock.clone().correct(600) && clock.correct(-600));
    }

    #[test]
    fn maas_says_what_time_it_has() {
        let now = here() + 600;
        let body = format!("Expired timestamp: given 1 and now {now} has a greater difference");
        let ahead = ahead_by_refusal(&body).unwrap();
        assert!((599..=600).contains(&ahead), "{ahead}");
        for body in ["", "Expired timestamp", "given 1 and now", "and now soon"] {
            assert_eq!(ahead_by_refusal(body), None, "{body}");
        }
    }
}
