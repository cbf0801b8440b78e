//! Bounded waits that say what they wait for.
//!
//! A wait says so when it begins, whenever the reason changes, and every 30
//! seconds; when its time is over, the error has the last reason and the
//! command that shows more. It may last for days: the longer it does, the more
//! seldom it looks, every 15 seconds at last, and says so, every 10 minutes.

use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};
use tracing::info;

/// How often a wait that has nothing new to say says so, at first and at last.
const REMINDER: (Duration, Duration) = (Duration::from_secs(30), Duration::from_secs(600));

/// How long it pauses between looks at last, where that is longer than its own pause.
const PAUSE: Duration = Duration::from_secs(15);

/// How long one look may take.
const LOOK: Duration = Duration::from_secs(30);

/// How long to wait for what may come tomorrow, as a bundle over an air gap does.
pub const DAYS: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// What one look at a condition found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State<T> {
    /// It holds.
    Ready(T),
    /// Not yet, and why.
    Waiting(String),
}

/// A wait whose time is over.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("waited {} for {what}; the last reason was: {last}", spoken(*waited))]
pub struct WaitError {
    /// What was waited for.
    pub what: String,
    /// How long.
    pub waited: Duration,
    /// Why it was not so.
    pub last: String,
    /// The command that shows more.
    pub next: Option<String>,
}

/// A wait.
#[derive(Clone, Debug)]
pub struct Wait {
    what: String,
    limit: Duration,
    pause: Duration,
    next: Option<String>,
}

impl Wait {
    /// A wait of at most `limit` for `what`.
    pub fn new(what: impl Into<String>, limit: Duration) -> Self {
        Self { what: what.into(), limit, pause: Duration::from_secs(1), next: None }
    }

    /// Names the command that shows more when the time is over.
    #[must_use]
    pub fn next(mut self, command: impl Into<String>) -> Self {
        self.next = Some(command.into());
        self
    }

    /// How long it pauses between looks; a second unless told otherwise.
    #[must_use]
    pub fn pause(mut self, pause: Duration) -> Self {
        self.pause = pause;
        self
    }

    /// Looks until it finds what it waits for. An error of `look` ends the wait
    /// at once: it is for what cannot pass by itself.
    ///
    /// # Errors
    /// [`WaitError`] when the time is over, and whatever `look` returns.
    pub async fn until<T, E: From<WaitError>>(
        &self,
        mut look: impl AsyncFnMut() -> Result<State<T>, E>,
    ) -> Result<T, E> {
        let begun = Instant::now();
        let end = begun + self.limit;
        let mut said: Option<(String, Instant)> = None;
        // The first pauses are short: most things are there at once or soon.
        let mut pause = self.pause.min(Duration::from_millis(100));
        loop {
            let left = end.saturating_duration_since(Instant::now());
            let look = look();
            let reason = match timeout(LOOK.min(left.max(Duration::from_millis(100))), look).await {
                Ok(Ok(State::Ready(found))) => {
                    if said.is_some() {
                        info!(what = self.what, after_s = begun.elapsed().as_secs(), "ready");
                    }
                    return Ok(found);
                }
                Ok(Ok(State::Waiting(reason))) => reason,
                Ok(Err(error)) => return Err(error),
                Err(_) => unanswered(said.as_ref(), left),
            };
            if Instant::now() + pause >= end {
                return Err(self.over(reason).into());
            }
            self.say(&mut said, reason, begun);
            sleep(pause).await;
            let patient = self.pause.max(PAUSE.min(begun.elapsed() / 60));
            pause = patient.min(pause * 2);
        }
    }

    fn say(&self, said: &mut Option<(String, Instant)>, reason: String, begun: Instant) {
        let now = Instant::now();
        let reminder = REMINDER.0.max(REMINDER.1.min((now - begun) / 20));
        let news = match said {
            Some((last, when)) => *last != reason || now.duration_since(*when) >= reminder,
            None => true,
        };
        if news {
            let (what, left_s) = (&self.what, (begun + self.limit - now).as_secs());
            info!(what, reason, left_s, "waiting");
            *said = Some((reason, now));
        }
    }

    fn over(&self, last: String) -> WaitError {
        WaitError { what: self.what.clone(), waited: self.limit, last, next: self.next.clone() }
    }
}

/// The reason of a look that was given up. One that the end of the wait cut short
/// says nothing: the reason before it stands.
fn unanswered(said: Option<&(String, Instant)>, left: Duration) -> String {
    match said {
        Some((last, _)) if left < LOOK => last.clone(),
        _ => "no answer".to_owned(),
    }
}

/// `45 s`, `15 min`, `2 h`, `7 days`.
#[must_use]
pub fn spoken(duration: Duration) -> String {
    let seconds = duration.as_secs_f64().round();
    match seconds {
        _ if seconds < 180.0 => format!("{seconds} s"),
        _ if seconds < 10_800.0 => format!("{} min", (seconds / 60.0).round()),
        _ if seconds < 172_800.0 => format!("{} h", (seconds / 3600.0).round()),
        _ => format!("{} days", (seconds / 86_400.0).round()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq, thiserror::Error)]
    enum Broken {
        #[error(transparent)]
        Wait(#[from] WaitError),
        #[error("broken for good")]
        ForGood,
    }

    fn not_yet<T>(reason: &str) -> Result<State<T>, Broken> {
        Ok(State::Waiting(reason.to_owned()))
    }

    #[tokio::test(start_paused = true)]
    async fn it_looks_until_it_is_so() {
        let mut looks = 0;
        let found = Wait::new("a thing", Duration::from_secs(60))
            .until(async || {
                looks += 1;
                if looks < 5 { not_yet("no") } else { Ok(State::Ready(looks)) }
            })
            .await;
        assert_eq!(found, Ok(5));
    }

    #[tokio::test(start_paused = true)]
    async fn over_it_says_what_why_and_what_next() {
        let wait = Wait::new("the database", Duration::from_secs(900)).next("kubectl logs x");
        let error = wait.until(async || not_yet::<()>("connection refused")).await.unwrap_err();
        let Broken::Wait(error) = error else { panic!("{error}") };
        assert_eq!(
            error.to_string(),
            "waited 15 min for the database; the last reason was: connection refused"
        );
        assert_eq!(error.next.as_deref(), Some("kubectl logs x"));
    }

    #[tokio::test(start_paused = true)]
    async fn a_look_that_hangs_does_not_hang_the_wait() {
        let begun = Instant::now();
        let wait = Wait::new("a dead server", Duration::from_secs(90));
        let hang = async || std::future::pending::<Result<State<()>, Broken>>().await;
        let error = wait.until(hang).await.unwrap_err();
        assert!(error.to_string().ends_with("the last reason was: no answer"), "{error}");
        assert!(begun.elapsed() <= Duration::from_secs(95), "{:?}", begun.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn a_last_look_that_is_cut_short_does_not_hide_the_reason() {
        let mut looks = 0;
        let wait = Wait::new("a thing", Duration::from_secs(10));
        let error = wait
            .until(async || {
                looks += 1;
                if looks > 1 {
                    std::future::pending::<()>().await;
                }
                not_yet::<()>("the schema is of another version")
            })
            .await;
        let text = error.unwrap_err().to_string();
        assert!(text.ends_with("the schema is of another version"), "{text}");
    }

    #[tokio::test(start_paused = true)]
    async fn what_cannot_pass_ends_it_at_once() {
        let begun = Instant::now();
        let wait = Wait::new("a thing", Duration::from_secs(900));
        let error = wait.until(async || Err::<State<()>, _>(Broken::ForGood)).await;
        assert_eq!(error, Err(Broken::ForGood));
        assert_eq!(begun.elapsed(), Duration::ZERO);
    }

    #[test]
    fn durations_are_spoken() {
        assert_eq!(spoken(Duration::from_secs(45)), "45 s");
        assert_eq!(spoken(Duration::from_secs(900)), "15 min");
        assert_eq!(spoken(Duration::from_secs(14_400)), "4 h");
        assert_eq!(spoken(Duration::from_secs(604_800)), "7 days");
    }

    #[tokio::test(start_paused = true)]
    async fn a_wait_of_days_looks_and_speaks_seldom() {
        let mut looks = 0;
        let day = Duration::from_secs(86_400);
        let wait = Wait::new("a bundle that comes tomorrow", 7 * day);
        let begun = Instant::now();
        wait.until(async || {
            looks += 1;
            if begun.elapsed() < day {
                not_yet("the mirror is empty")
            } else {
                Ok(State::Ready(()))
            }
        })
        .await
        .unwrap();
        assert!(begun.elapsed() < day + 2 * PAUSE, "{:?}", begun.elapsed());
        assert!((5000..7500).contains(&looks), "{looks}");
    }
}
