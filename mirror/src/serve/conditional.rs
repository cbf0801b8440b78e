//! Conditional requests (RFC 9110 section 13).

use std::time::{Duration, SystemTime};

use http::header::{IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, IF_UNMODIFIED_SINCE};
use http::{HeaderMap, HeaderName, HeaderValue};

/// What the preconditions of a GET or HEAD come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Condition {
    /// Answer as if there were none.
    Proceed,
    /// 304: the client has it.
    NotModified,
    /// 412: the client asked for another than this.
    Failed,
}

/// Judges the preconditions in the order of section 13.2.2. `etag` is strong
/// and quoted; `modified` is cut to whole seconds, as dates in headers are.
pub(super) fn evaluate(headers: &HeaderMap, etag: &str, modified: SystemTime) -> Condition {
    if headers.contains_key(IF_MATCH) {
        if !lists(headers, IF_MATCH, |tag| tag == etag) {
            return Condition::Failed;
        }
    } else if let Some(since) = date(headers, IF_UNMODIFIED_SINCE)
        && whole_seconds(modified) > since
    {
        return Condition::Failed;
    }
    if headers.contains_key(IF_NONE_MATCH) {
        // Weak comparison: the mark of a weak tag does not count.
        let matches = |tag: &str| tag.strip_prefix("W/").unwrap_or(tag) == etag;
        if lists(headers, IF_NONE_MATCH, matches) {
            return Condition::NotModified;
        }
    } else if let Some(since) = date(headers, IF_MODIFIED_SINCE)
        && whole_seconds(modified) <= since
    {
        return Condition::NotModified;
    }
    Condition::Proceed
}

/// Whether a `Range` counts: only while the file is the one the client has a
/// part of (section 13.1.5). A date is no strong validator here, as two
/// versions may share one second: only the ETag is.
pub(super) fn range_applies(headers: &HeaderMap, etag: &str) -> bool {
    headers.get(IF_RANGE).is_none_or(|value| value.as_bytes() == etag.as_bytes())
}

fn lists(headers: &HeaderMap, name: HeaderName, matches: impl Fn(&str) -> bool) -> bool {
    headers
        .get_all(name)
        .iter()
        .filter_map(|value| value.to_str().ok())
        // An ETag of ours has no comma in it.
        .flat_map(|value| value.split(','))
        .map(str::trim)
        .any(|tag| tag == "*" || matches(tag))
}

fn date(headers: &HeaderMap, name: HeaderName) -> Option<SystemTime> {
    let text = headers.get(name).map(HeaderValue::to_str)?.ok()?;
    httpdate::parse_http_date(text).ok()
}

fn whole_seconds(time: SystemTime) -> SystemTime {
    let seconds = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
    SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ETAG: &str = "\"abc\"";
    const DAY: &str = "Tue, 28 Sep 2021 00:00:00 GMT";
    const BEFORE: &str = "Mon, 27 Sep 2021 00:00:00 GMT";

    fn judge(headers: &[(HeaderName, &str)]) -> Condition {
        let pairs = headers
            .iter()
            .map(|(name, value)| (name.clone(), HeaderValue::from_str(value).expect("header")));
        let modified = httpdate::parse_http_date(DAY).expect("date") + Duration::from_millis(300);
        evaluate(&pairs.collect(), ETAG, modified)
    }

    #[test]
    fn if_none_match() {
        for hit in [ETAG, "*", "W/\"abc\"", "\"x\", \"abc\""] {
            assert_eq!(judge(&[(IF_NONE_MATCH, hit)]), Condition::NotModified, "{hit}");
        }
        assert_eq!(judge(&[(IF_NONE_MATCH, "\"x\"")]), Condition::Proceed);
        // It wins over the date.
        let both = [(IF_NONE_MATCH, "\"x\""), (IF_MODIFIED_SINCE, DAY)];
        assert_eq!(judge(&both), Condition::Proceed);
    }

    #[test]
    fn if_modified_since() {
        assert_eq!(judge(&[(IF_MODIFIED_SINCE, DAY)]), Condition::NotModified);
        assert_eq!(judge(&[(IF_MODIFIED_SINCE, BEFORE)]), Condition::Proceed);
        assert_eq!(judge(&[(IF_MODIFIED_SINCE, "yesterday")]), Condition::Proceed);
    }

    #[test]
    fn if_match_and_if_unmodified_since() {
        assert_eq!(judge(&[(IF_MATCH, ETAG)]), Condition::Proceed);
        assert_eq!(judge(&[(IF_MATCH, "*")]), Condition::Proceed);
        assert_eq!(judge(&[(IF_MATCH, "W/\"abc\"")]), Condition::Failed);
        assert_eq!(judge(&[(IF_MATCH, "\"x\"")]), Condition::Failed);
        assert_eq!(judge(&[(IF_UNMODIFIED_SINCE, DAY)]), Condition::Proceed);
        assert_eq!(judge(&[(IF_UNMODIFIED_SINCE, BEFORE)]), Condition::Failed);
        let both = [(IF_MATCH, ETAG), (IF_UNMODIFIED_SINCE, BEFORE)];
        assert_eq!(judge(&both), Condition::Proceed);
    }

    #[test]
    fn if_range_takes_the_strong_etag_alone() {
        let with = |value: &str| {
            range_applies(
                &[(IF_RANGE, HeaderValue::from_str(value).expect("header"))].into_iter().collect(),
                ETAG,
            )
        };
        assert!(range_applies(&HeaderMap::new(), ETAG));
        assert!(with(ETAG));
        assert!(!with("W/\"abc\"") && !with(DAY) && !with("*"));
    }
}
