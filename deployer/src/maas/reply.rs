//! What MAAS answers, sorted into success and kinds of failure.

use std::time::{Duration, SystemTime};

use http::header::{CONTENT_TYPE, LOCATION, RETRY_AFTER};
use http::{HeaderMap, StatusCode};
use serde_json::Value;

use super::clock;
use super::error::{Complaints, Problem, Unauthorised};

/// How much of an answer is shown in an error.
const SHOWN: usize = 300;

/// An answer, whole.
pub(super) struct Reply<'a> {
    pub(super) status: StatusCode,
    pub(super) headers: &'a HeaderMap,
    pub(super) body: &'a str,
}

impl Reply<'_> {
    /// What is wrong with it, if anything.
    pub(super) fn problem(&self) -> Option<Problem> {
        let page = self.is_web_page();
        Some(match self.status {
            // Not MAAS's, whose refusals are plain text: of something in between.
            // The title is not shown, should this be wrong.
            status @ (StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) if page => {
                Problem::WebPage { status, title: String::new() }
            }
            StatusCode::UNAUTHORIZED => Problem::Unauthorised(self.unauthorised()),
            StatusCode::FORBIDDEN => Problem::Forbidden,
            // MAAS itself answers 409 with a page.
            StatusCode::CONFLICT => Problem::Conflict,
            status if status.is_redirection() => Problem::Redirect(self.location()),
            status if page => Problem::WebPage { status, title: self.title() },
            status if status.is_success() => return None,
            StatusCode::BAD_REQUEST => Problem::Invalid(self.complaints()),
            StatusCode::NOT_FOUND => Problem::NotFound(self.text()),
            status if status.is_server_error() => Problem::Server { status, text: self.text() },
            status => Problem::Status { status, text: self.text() },
        })
    }

    fn is_web_page(&self) -> bool {
        let kind = self.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
        let start: String = self.body.trim_start().chars().take(14).collect();
        let start = start.to_ascii_lowercase();
        kind.is_some_and(|kind| kind.starts_with("text/html") && start.starts_with('<'))
            || start.starts_with("<!doctype html")
            || start.starts_with("<html")
    }

    /// The text between `<title>` and `</title>`.
    fn title(&self) -> String {
        let lower = self.body.to_ascii_lowercase();
        let inside = lower.find("<title>").and_then(|at| {
            let start = at + "<title>".len();
            let length = lower.get(start..)?.find("</title>")?;
            self.body.get(start..start + length)
        });
        shortened(inside.unwrap_or_default())
    }

    fn location(&self) -> String {
        let location = self.headers.get(LOCATION).and_then(|value| value.to_str().ok());
        shortened(location.unwrap_or("nowhere"))
    }

    fn text(&self) -> String {
        shortened(self.body)
    }

    /// `{"field": ["text"]}`, or plain text.
    fn complaints(&self) -> Complaints {
        let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        let complaints = match serde_json::from_str(self.body) {
            Ok(Value::Object(fields)) => {
                let of = |value: &Value| match value {
                    Value::Array(items) => items.iter().map(text).collect::<Vec<_>>().join(" "),
                    other => text(other),
                };
                fields.iter().map(|(field, value)| (field.clone(), of(value))).collect()
            }
            Ok(value) => vec![(String::new(), text(&value))],
            Err(_) if self.body.trim().is_empty() => Vec::new(),
            Err(_) => vec![(String::new(), self.body.trim().to_owned())],
        };
        Complaints(complaints)
    }

    /// Which kind of 401. The body must not get out of here.
    fn unauthorised(&self) -> Unauthorised {
        let is = |text: &str| self.body.contains(text);
        if is("Expired timestamp") {
            let skew_s = clock::ahead_by_refusal(self.body).or_else(|| clock::ahead(self.headers));
            Unauthorised::Clock { skew_s }
        } else if is("Nonce already used") {
            Unauthorised::Nonce
        } else if is("Invalid API key") || is("Invalid consumer") || is("Invalid access token") {
            Unauthorised::UnknownKey
        } else {
            Unauthorised::Refused
        }
    }

    /// After which pause the server wants to be asked again.
    pub(super) fn retry_after(&self) -> Option<Duration> {
        let text = self.headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
        if let Ok(seconds) = text.parse() {
            return Some(Duration::from_secs(seconds));
        }
        let then = SystemTime::from(jiff::fmt::rfc2822::parse(text).ok()?.timestamp());
        then.duration_since(SystemTime::now()).ok()
    }
}

/// One line of at most [`SHOWN`] characters.
fn shortened(text: &str) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(SHOWN) {
        Some((at, _)) => format!("{}…", line.get(..at).unwrap_or_default()),
        None => line,
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use http::header::DATE;

    use super::*;

    fn problem(status: u16, kind: &str, body: &str) -> Option<String> {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_str(kind).unwrap());
        let status = StatusCode::from_u16(status).unwrap();
        Reply { status, headers: &headers, body }.problem().map(|problem| problem.to_string())
    }

    #[test]
    fn success_is_no_problem() {
        assert_eq!(problem(200, "application/json", "[]"), None);
        assert_eq!(problem(204, "text/html", ""), None);
        // MAAS says this of plain text.
        assert_eq!(problem(200, "text/html; charset=utf-8", "OK"), None);
    }

    #[test]
    fn a_400_says_what_each_field_lacks() {
        let body =
            r#"{"os":["OS ubuntu with release jammy has no available images"],"a":["b","c"]}"#;
        assert_eq!(
            problem(400, "application/json", body).unwrap(),
            "MAAS refuses it: os: OS ubuntu with release jammy has no available images; a: b c"
        );
        assert_eq!(problem(400, "text/plain", "No."), Some("MAAS refuses it: No.".into()));
        assert_eq!(
            problem(400, "text/plain", ""),
            Some("MAAS refuses it: it does not say why".into())
        );
    }

    #[test]
    fn the_body_of_a_401_is_never_shown() {
        let body = "Invalid signature. Expected signature base string: %26hunter2";
        let said = problem(401, "text/plain", body).unwrap();
        assert_eq!(said, "MAAS answers 401: it does not accept this API key");
        let said = problem(401, "text/plain", "Authorization Error: Invalid API key.").unwrap();
        assert_eq!(said, "MAAS answers 401: it does not know this API key");
    }

    #[test]
    fn clocks_that_differ_are_told() {
        let mut headers = HeaderMap::new();
        headers.insert(DATE, HeaderValue::from_static("Thu, 01 Jan 2099 00:00:00 GMT"));
        let body = "Expired timestamp";
        let reply = Reply { status: StatusCode::UNAUTHORIZED, headers: &headers, body };
        let said = reply.problem().unwrap().to_string();
        assert!(said.contains("the clock here is ") && said.contains("behind MAAS's"), "{said}");
    }

    #[test]
    fn a_server_says_when_to_come_back() {
        let after = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(RETRY_AFTER, HeaderValue::from_str(text).unwrap());
            let status = StatusCode::SERVICE_UNAVAILABLE;
            Reply { status, headers: &headers, body: "" }.retry_after()
        };
        assert_eq!(after("7"), Some(Duration::from_secs(7)));
        assert!(after("Thu, 01 Jan 2099 00:00:00 GMT").unwrap() > Duration::from_secs(3600));
        assert_eq!(after("Thu, 01 Jan 1998 00:00:00 GMT"), None);
        assert_eq!(after("soon"), None);
    }

    #[test]
    fn a_login_page_of_something_in_between_is_no_refusal_of_the_key() {
        let page = "<html><title>%26hunter2</title></html>";
        for status in [401, 403] {
            let said = problem(status, "text/html", page).unwrap();
            assert!(said.contains("is a web page, not MAAS's API"), "{said}");
        }
    }

    #[test]
    fn web_pages_are_told_from_answers() {
        let page = "<!DOCTYPE html><html><head><title>Log in</title></head></html>";
        let said = problem(200, "text/html", page).unwrap();
        assert_eq!(said, "the answer (200 OK) is a web page ('Log in'), not MAAS's API");
        let said =
            problem(502, "text/html", "<html><title>502 Bad Gateway</title></html>").unwrap();
        assert!(said.contains("502 Bad Gateway"), "{said}");
        // MAAS's own answer to a user that is there already.
        assert!(problem(409, "text/html", "<html>…</html>").unwrap().contains("conflicts"));
    }

    #[test]
    fn what_a_server_says_is_shortened_to_a_line() {
        let said = problem(500, "text/plain", &"a\nb ".repeat(400)).unwrap();
        assert!(said.starts_with("MAAS has trouble of its own and answers 500"), "{said}");
        assert!(said.len() < 400 && !said.contains('\n'), "{said}");
    }
}
