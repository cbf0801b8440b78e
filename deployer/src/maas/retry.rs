//! What is sent again, how often, and after which pauses.

use std::time::Duration;

use http::StatusCode;
use rand::RngExt as _;

use super::error::{Problem, Unauthorised};
use super::request::Request;

/// The longest pause that a server may ask for.
const LONGEST_ASKED: Duration = Duration::from_secs(60);

/// How often, and after which pauses, a call is tried again.
#[derive(Clone, Copy, Debug)]
pub struct Retries {
    /// How often.
    pub count: u32,
    /// The first pause; each is twice the one before, up to the longest.
    pub first: Duration,
    /// The longest pause.
    pub longest: Duration,
    /// After this time nothing is tried again: servers that hang use up more time
    /// than pauses do.
    pub patience: Duration,
}

impl Default for Retries {
    fn default() -> Self {
        Self {
            count: 6,
            first: Duration::from_millis(500),
            longest: Duration::from_secs(10),
            patience: Duration::from_secs(180),
        }
    }
}

impl Retries {
    /// No second try: for those who wait themselves.
    pub const NONE: Self =
        Self { count: 0, first: Duration::ZERO, longest: Duration::ZERO, patience: Duration::ZERO };

    /// The pause before the `attempt`th retry, shortened at random by up to a
    /// quarter, so that several jobs do not come back at once.
    fn pause(self, attempt: u32) -> Duration {
        let full = self.first.saturating_mul(1 << attempt.min(16)).min(self.longest);
        full.mul_f64(1.0 - rand::rng().random_range(0.0..0.25))
    }

    /// The pause before the `attempt`th retry, `begun` ago; none where there are to
    /// be no more. What the server asks for is granted, within bounds.
    pub(super) fn next(
        self,
        attempt: u32,
        begun: Duration,
        asked: Option<Duration>,
    ) -> Option<Duration> {
        let pause = self.pause(attempt).max(asked.unwrap_or_default().min(LONGEST_ASKED));
        (attempt < self.count && begun + pause <= self.patience).then_some(pause)
    }
}

/// Whether the same call may succeed soon, and does no harm if it is repeated: that
/// it has not happened is sure, or it may happen twice.
pub(super) fn may_pass(request: &Request, problem: &Problem) -> bool {
    match problem {
        Problem::Connect(_) | Problem::Unauthorised(Unauthorised::Nonce) => true,
        Problem::Status { status, .. } | Problem::WebPage { status, .. }
            if *status == StatusCode::TOO_MANY_REQUESTS =>
        {
            true
        }
        other => request.repeatable && other.may_have_happened(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::error::Complaints;
    use super::*;

    #[test]
    fn pauses_grow_and_have_a_limit() {
        let retries = Retries::default();
        assert!(retries.pause(0) <= Duration::from_millis(500));
        assert!(retries.pause(3) >= Duration::from_secs(3));
        assert!(retries.pause(30) <= Duration::from_secs(10));
    }

    #[test]
    fn retries_end_by_number_and_by_time() {
        let retries = Retries::default();
        let next = |attempt, begun_s, asked_s| {
            let asked = Some(Duration::from_secs(asked_s));
            retries.next(attempt, Duration::from_secs(begun_s), asked)
        };
        assert!(next(5, 0, 0).is_some() && next(6, 0, 0).is_none());
        assert!(next(0, 181, 0).is_none());
        // What the server asks for counts, unless it is out of all reason.
        assert_eq!(next(0, 0, 7), Some(Duration::from_secs(7)));
        assert_eq!(next(0, 0, 86_400), Some(Duration::from_secs(60)));
        assert!(Retries::NONE.next(0, Duration::ZERO, None).is_none());
    }

    #[test]
    fn what_an_answer_settles_is_not_tried_again() {
        let get = Request::get("x/");
        let post = Request::post("x/");
        let server = |status| Problem::Server { status, text: String::new() };
        let page = |status| Problem::WebPage { status, title: String::new() };
        for status in [
            StatusCode::INTERNAL_SERVER_ERROR,
            StatusCode::BAD_GATEWAY,
            StatusCode::SERVICE_UNAVAILABLE,
            StatusCode::GATEWAY_TIMEOUT,
        ] {
            for problem in [server(status), page(status)] {
                assert!(may_pass(&get, &problem), "{problem}");
                // It may have happened all the same: whoever made it looks first.
                assert!(!may_pass(&post, &problem), "{problem}");
            }
        }
        assert!(may_pass(&post, &Problem::Connect(String::new())));
        assert!(!may_pass(&post, &Problem::Transport(String::new())));
        assert!(may_pass(&get, &Problem::Transport(String::new())));
        assert!(may_pass(&post, &page(StatusCode::TOO_MANY_REQUESTS)));
        for problem in [
            Problem::Forbidden,
            Problem::Conflict,
            Problem::NotFound(String::new()),
            Problem::Invalid(Complaints::default()),
            Problem::Unauthorised(Unauthorised::Refused),
            Problem::Redirect(String::new()),
            page(StatusCode::OK),
            page(StatusCode::FORBIDDEN),
        ] {
            assert!(!may_pass(&get, &problem), "{problem}");
        }
    }
}
