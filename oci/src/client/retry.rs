//! When to try again.

use std::time::Duration;

use rand::RngExt as _;

use super::FetchError;

/// How often, and after which pauses, a failed request is tried again.
#[derive(Clone, Debug)]
pub struct RetryPolicy {
    /// Tries after the first.
    pub retries: u32,
    /// The pause before the second try is up to this; it doubles with each.
    pub first_pause: Duration,
    /// No pause is longer.
    pub longest_pause: Duration,
    /// A server that asks for a longer pause than this is given up at once.
    pub longest_retry_after: Duration,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            retries: 4,
            first_pause: Duration::from_millis(500),
            longest_pause: Duration::from_secs(30),
            longest_retry_after: Duration::from_secs(120),
        }
    }
}

/// The tries that are left for one file.
#[derive(Clone, Debug)]
pub struct Backoff {
    policy: RetryPolicy,
    failures: u32,
}

impl RetryPolicy {
    /// Starts counting for one file.
    #[must_use]
    pub fn start(&self) -> Backoff {
        Backoff { policy: self.clone(), failures: 0 }
    }

    /// Makes attempts until one succeeds or trying again cannot help.
    /// `on_retry` is told of each failure that is not the last.
    ///
    /// # Errors
    /// The last failure.
    pub async fn run<T, F: Future<Output = Result<T, FetchError>>>(
        &self,
        on_retry: impl Fn(&FetchError, Duration),
        attempt: impl Fn() -> F,
    ) -> Result<T, FetchError> {
        let mut backoff = self.start();
        loop {
            let error = match attempt().await {
                Ok(value) => return Ok(value),
                Err(error) => error,
            };
            let Some(pause) = backoff.next(&error) else {
                return Err(error);
            };
            on_retry(&error, pause);
            tokio::time::sleep(pause).await;
        }
    }
}

impl Backoff {
    /// The pause before the next try; `None` where there is none left, or
    /// where trying again cannot help.
    ///
    /// Pauses are drawn between half and all of their length, so that many
    /// mirrors that lost one upstream do not come back at one moment.
    pub fn next(&mut self, error: &FetchError) -> Option<Duration> {
        if !error.retryable() || self.failures >= self.policy.retries {
            return None;
        }
        let doubled = self.policy.first_pause.saturating_mul(1 << self.failures.min(16));
        self.failures += 1;
        if let Some(asked) = error.retry_after() {
            return (asked <= self.policy.longest_retry_after).then_some(asked);
        }
        let pause = doubled.min(self.policy.longest_pause);
        Some(pause.mul_f64(rand::rng().random_range(0.5..=1.0)))
    }

    /// Starts counting again: the last try got somewhere.
    pub fn progressed(&mut self) {
        self.failures = 0;
    }
}

#[cfg(test)]
mod tests {
    use http::StatusCode;

    use super::*;

    fn status(code: u16, retry_after: Option<u64>) -> FetchError {
        FetchError::Status {
            url: "http://h/a".into(),
            status: StatusCode::from_u16(code).expect("status"),
            retry_after: retry_after.map(Duration::from_secs),
        }
    }

    #[test]
    fn pauses_grow_and_end() {
        let mut backoff = RetryPolicy::default().start();
        let pauses: Vec<_> = std::iter::from_fn(|| backoff.next(&status(503, None))).collect();
        assert_eq!(pauses.len(), 4);
        for (pause, most) in pauses.iter().zip([500, 1000, 2000, 4000]) {
            let most = Duration::from_millis(most);
            assert!(*pause >= most / 2 && *pause <= most, "{pause:?}");
        }
    }

    #[test]
    fn the_server_names_the_pause_within_reason() {
        let mut backoff = RetryPolicy::default().start();
        assert_eq!(backoff.next(&status(429, Some(7))), Some(Duration::from_secs(7)));
        assert_eq!(backoff.next(&status(429, Some(7200))), None);
    }

    #[test]
    fn what_will_not_change_is_not_tried_again() {
        let mut backoff = RetryPolicy::default().start();
        for code in [400, 401, 403, 404, 416] {
            assert_eq!(backoff.next(&status(code, None)), None, "{code}");
        }
    }
}
