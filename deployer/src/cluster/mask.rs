//! What the API server says of a Secret, without the Secret's values.
//!
//! A refusal may print what it refuses: a field of the wrong type with its value,
//! the whole object by a webhook. Errors go to logs, records and reports.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use kube::core::Status;
use serde_json::{Map, Value};

use super::secrets::SecretData;
use crate::strike;

/// Shorter values are found in every text.
const SHORT: usize = 4;
/// Stands for what is not shown.
const HIDDEN: &str = "…";

/// The values that a request sends in a Secret; none where it sends none.
#[derive(Default)]
pub(super) struct Mask {
    /// In each form in which they may be printed, the longest first.
    texts: Vec<String>,
    /// Whether one of them may be printed in a form that is not among these.
    is_unsure: bool,
}

impl Mask {
    /// The mask for a request that sends `body`.
    pub(super) fn of(body: Option<&Value>) -> Self {
        let mut mask = Self::default();
        let kind = body.and_then(|body| body.get("kind")).and_then(Value::as_str);
        let Some(body) = body.filter(|_| kind == Some("Secret")) else { return mask };
        let part = |name: &str| body.get(name).and_then(Value::as_object).map(Map::values);
        for value in part("stringData").into_iter().flatten() {
            mask.value(value);
        }
        for value in part("data").into_iter().flatten() {
            mask.value(value);
            if let Some(bytes) = value.as_str().and_then(|text| STANDARD.decode(text).ok()) {
                mask.text(&String::from_utf8_lossy(&bytes));
            }
        }
        mask.sort();
        mask
    }

    /// The mask for what a job writes.
    pub(super) fn of_data(data: &SecretData) -> Self {
        let mut mask = Self::default();
        for value in data.values() {
            mask.text(value.expose());
            mask.text(&STANDARD.encode(value.expose()));
        }
        mask.sort();
        mask
    }

    fn value(&mut self, value: &Value) {
        match value {
            Value::String(text) => self.text(text),
            Value::Null => {}
            other => {
                // Go writes numbers in ways of its own.
                self.is_unsure = true;
                self.texts.push(other.to_string());
            }
        }
    }

    fn text(&mut self, text: &str) {
        self.is_unsure |= text.len() < SHORT || text.contains(|c: char| !c.is_ascii_graphic());
        self.texts.extend(strike::forms(text));
        self.texts.extend(text.lines().map(|line| line.trim().to_owned()));
    }

    /// What holds another goes first, or a part of it would stay.
    fn sort(&mut self) {
        self.texts.retain(|text| text.len() >= SHORT);
        self.texts.sort_by_key(|text| std::cmp::Reverse(text.len()));
        self.texts.dedup();
    }

    /// What the server says, with no value in it.
    pub(super) fn over(&self, status: &Status) -> Status {
        let mut status = status.clone();
        let prints_none = prints_none(&status);
        let causes = status.details.iter_mut().flat_map(|details| &mut details.causes);
        let mut fields = Vec::new();
        for cause in causes {
            fields.push(self.struck(&cause.field));
            cause.field = self.struck(&cause.field);
            cause.message = self.shown(prints_none, &cause.message, || HIDDEN.to_owned());
        }
        status.message = self.shown(prints_none, &status.message, || {
            let fields =
                if fields.is_empty() { String::new() } else { format!(" ({})", fields.join(", ")) };
            format!("it does not take the Secret{fields}; the rest may hold a value of it, and is not shown")
        });
        status
    }

    fn shown(&self, prints_none: bool, text: &str, instead: impl FnOnce() -> String) -> String {
        if self.is_unsure && !prints_none { instead() } else { self.struck(text) }
    }

    fn struck(&self, text: &str) -> String {
        self.texts.iter().fold(text.to_owned(), |text, value| text.replace(value, HIDDEN))
    }
}

/// Whether the API server says this in words of its own, which hold no value: of rights, quotas,
/// and what is there already. Webhooks and policies deny with these codes too, and say what
/// they like.
fn prints_none(status: &Status) -> bool {
    let has = |text: &str| status.message.contains(text);
    if has("admission webhook") || has("AdmissionPolicy") {
        return false;
    }
    let of_rights = || has("User ") && has(" cannot ");
    match status.code {
        403 => of_rights() || has("exceeded quota: ") || has("is being terminated"),
        401 | 404 | 409 | 413 | 429 => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn refused(secret: &Value, code: u16, message: &str) -> Status {
        let cause = json!({"reason": "FieldValueInvalid", "message": message, "field": "stringData.PASSWORD"});
        let status = json!({"status": "Failure", "code": code, "message": message,
            "reason": "Invalid", "details": {"causes": [cause]}});
        let status: Status = serde_json::from_value(status).unwrap();
        Mask::of(Some(secret)).over(&status)
    }

    #[test]
    fn values_of_a_secret_are_struck_out() {
        let data = STANDARD.encode("s3cret-in-data");
        let secret = json!({"kind": "Secret", "data": {"a": data},
            "stringData": {"b": "pass\"word", "c": "s3cret"}});
        let said = format!("bad: {data} s3cret-in-data pass\\\"word pass\"word s3cret");
        assert_eq!(refused(&secret, 422, &said).message, "bad: … … … … …");
        let other = json!({"kind": "ConfigMap", "data": {"a": "visible"}});
        assert_eq!(refused(&other, 422, "bad: visible").message, "bad: visible");
    }

    #[test]
    fn what_may_be_printed_in_another_form_is_not_shown_at_all() {
        for value in [json!(1_000_000), json!("ab"), json!("zwölf Köche"), json!(["x", "y"])] {
            let secret = json!({"kind": "Secret", "stringData": {"PASSWORD": value}});
            let status = refused(&secret, 500, "expected string, got Value:1e+06");
            assert!(status.message.contains("(stringData.PASSWORD); the rest may"), "{status:?}");
            assert!(!format!("{status:?}").contains("1e+06"), "{status:?}");
            for said in [
                "secrets \"a\" is forbidden: exceeded quota: small, requested: secrets=1",
                "secrets \"a\" is forbidden: User \"b\" cannot create resource \"secrets\"",
            ] {
                assert_eq!(refused(&secret, 403, said).message, said);
            }
            for said in [
                "admission webhook \"w\" denied the request: User ab cannot have 1e+06",
                "secrets \"a\" is forbidden: ValidatingAdmissionPolicy 'p' denied request: 1e+06",
                "1e+06",
            ] {
                for code in [403, 409] {
                    let status = refused(&secret, code, said);
                    if code == 403 || said.contains("dmission") {
                        assert!(!format!("{status:?}").contains("1e+06"), "{status:?}");
                    }
                }
            }
        }
    }

    #[test]
    fn values_are_struck_out_as_other_programs_write_them() {
        let secret = json!({"kind": "Secret", "stringData": {"PASSWORD": "hunter<2>&top'secret"}});
        for said in [
            "denied: {\"PASSWORD\":\"hunter\\u003c2\\u003e\\u0026top'secret\"}",
            "denied: hunter%3C2%3E%26top%27secret",
            "denied: 'hunter<2>&top''secret'",
            &format!("denied: {}", STANDARD.encode("PASSWORD: hunter<2>&top'secret")),
        ] {
            let status = refused(&secret, 403, said);
            let shown = format!("{status:?}");
            for part in ["hunter", "secret\"", "top'"] {
                assert!(!shown.contains(part), "{shown}");
            }
            assert!(status.message.starts_with("denied: "), "{shown}");
        }
    }
}
