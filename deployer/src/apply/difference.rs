//! Two states of an object, compared without noise and without secrets.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use crate::strike::Strike;
use crate::values::HIDDEN;

/// What the server notes of an object by itself.
const NOTES: [&str; 6] =
    ["managedFields", "resourceVersion", "generation", "creationTimestamp", "uid", "selfLink"];
/// A copy of the whole object, secrets and all, that kubectl keeps in it.
const COPY: &str = "kubectl.kubernetes.io/last-applied-configuration";
/// Words in the name of a variable whose value is a secret.
const WORDS: [&str; 5] = ["passw", "secret", "token", "private_key", "api_key"];

/// What differs at one place of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldChange {
    /// Where, as a JSON pointer.
    pub path: String,
    /// What is there; none where nothing is.
    pub before: Option<Value>,
    /// What would be there; none where nothing would.
    pub after: Option<Value>,
}

/// An object without the server's own notes and its status.
pub(crate) fn bare(object: &Value) -> Value {
    let mut object = object.clone();
    if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        for note in NOTES {
            metadata.remove(note);
        }
    }
    if let Some(object) = object.as_object_mut() {
        object.remove("status");
    }
    object
}

/// Both states as they may be shown: bare, with secrets hidden. Where what is hidden differs,
/// that it does is seen.
pub(crate) fn shown(
    before: Option<&Value>,
    after: Option<&Value>,
    strike: &Strike,
) -> (Option<Value>, Option<Value>) {
    let [mut before, mut after] = [before, after].map(|state| state.map(without_copy));
    let is_secret = [&before, &after]
        .into_iter()
        .flatten()
        .any(|object| object.get("kind").and_then(Value::as_str) == Some("Secret"));
    if is_secret {
        for part in ["data", "stringData"] {
            hide_part(part, before.as_mut(), after.as_mut());
        }
    }
    let (mut old, mut new) = (before.take().unwrap_or_default(), after.take().unwrap_or_default());
    hide(&mut old, &mut new, strike);
    [before, after] = [old, new].map(|state| (!state.is_null()).then_some(state));
    (before, after)
}

fn without_copy(object: &Value) -> Value {
    let mut object = bare(object);
    let notes = object.pointer_mut("/metadata/annotations").and_then(Value::as_object_mut);
    if let Some(notes) = notes {
        notes.remove(COPY);
    }
    object
}

/// Hides what a Secret holds, by key.
fn hide_part(part: &str, before: Option<&mut Value>, after: Option<&mut Value>) {
    let mut old = before.and_then(|object| object.get_mut(part)?.as_object_mut());
    let mut new = after.and_then(|object| object.get_mut(part)?.as_object_mut());
    let keys = |side: &Option<&mut Map<String, Value>>| -> Vec<String> {
        side.iter().flat_map(|map| map.keys().cloned()).collect()
    };
    let all: BTreeSet<String> = keys(&old).into_iter().chain(keys(&new)).collect();
    for key in all {
        let held = old.as_mut().and_then(|map| map.get_mut(&key));
        let wanted = new.as_mut().and_then(|map| map.get_mut(&key));
        match (held, wanted) {
            (Some(held), Some(wanted)) if held != wanted => {
                *held = json!("(hidden: as it is)");
                *wanted = json!("(hidden: another)");
            }
            (held, wanted) => {
                for value in held.into_iter().chain(wanted) {
                    *value = json!(HIDDEN);
                }
            }
        }
    }
}

/// Hides secrets in texts: those that are known, and variables of containers by their names.
fn hide(before: &mut Value, after: &mut Value, strike: &Strike) {
    if is_secret_variable(before) || is_secret_variable(after) {
        let mut none = Value::Null;
        let old = before.get_mut("value").unwrap_or(&mut none);
        let mut none = Value::Null;
        let new = after.get_mut("value").unwrap_or(&mut none);
        hide_pair(old, new, |_| HIDDEN.to_owned());
        return;
    }
    match (&mut *before, &mut *after) {
        (Value::Object(old), Value::Object(new)) => {
            for (key, value) in old.iter_mut() {
                hide(value, new.get_mut(key).unwrap_or(&mut Value::Null), strike);
            }
            for (_, value) in new.iter_mut().filter(|(key, _)| !old.contains_key(*key)) {
                hide(&mut Value::Null, value, strike);
            }
        }
        (Value::Array(old), Value::Array(new)) => {
            let length = old.len().max(new.len());
            for at in 0..length {
                let (mut none, mut nothing) = (Value::Null, Value::Null);
                let held = old.get_mut(at).unwrap_or(&mut none);
                hide(held, new.get_mut(at).unwrap_or(&mut nothing), strike);
            }
        }
        (Value::String(_), Value::String(_)) => hide_pair(before, after, |text| strike.text(text)),
        _ => {
            for side in [before, after] {
                hide_alone(side, strike);
            }
        }
    }
}

/// Hides what is secret in an object: what a Secret holds, the copy that kubectl keeps, and what
/// [`shown`] hides.
pub(crate) fn hidden(object: &mut Value, strike: &Strike) {
    let notes = object.pointer_mut("/metadata/annotations").and_then(Value::as_object_mut);
    if let Some(notes) = notes {
        notes.remove(COPY);
    }
    if object.get("kind").and_then(Value::as_str) == Some("Secret") {
        for part in ["data", "stringData"] {
            hide_part(part, Some(object), None);
        }
    }
    hide_alone(object, strike);
}

/// Hides in one of two that are of different kinds.
fn hide_alone(value: &mut Value, strike: &Strike) {
    let mut none = Value::Null;
    match value {
        Value::Object(map) => map.values_mut().for_each(|one| hide(one, &mut none, strike)),
        Value::Array(list) => list.iter_mut().for_each(|one| hide(one, &mut none, strike)),
        Value::String(text) => *text = strike.text(text),
        _ => {}
    }
}

fn hide_pair(before: &mut Value, after: &mut Value, hidden: impl Fn(&str) -> String) {
    let masked = |value: &Value| value.as_str().map(&hidden);
    let (old, new) = (masked(before), masked(after));
    let is_lost = *before != *after && old == new;
    if let Some(text) = old {
        *before = json!(if is_lost { format!("{text} (as it is)") } else { text });
    }
    if let Some(text) = new {
        *after = json!(if is_lost { format!("{text} (another)") } else { text });
    }
}

/// `{"name": "PASSWORD", "value": "…"}`.
fn is_secret_variable(value: &Value) -> bool {
    let name = value.get("name").and_then(Value::as_str).unwrap_or_default().to_lowercase();
    value.get("value").is_some_and(Value::is_string) && WORDS.iter().any(|word| name.contains(word))
}

/// What differs, place by place.
#[must_use]
pub fn field_changes(before: Option<&Value>, after: Option<&Value>) -> Vec<FieldChange> {
    let mut changes = Vec::new();
    compare(before, after, &mut String::new(), &mut changes);
    changes
}

fn compare(
    before: Option<&Value>,
    after: Option<&Value>,
    path: &mut String,
    changes: &mut Vec<FieldChange>,
) {
    if before == after {
        return;
    }
    let mut below = |step: &str, old: Option<&Value>, new: Option<&Value>| {
        let length = path.len();
        path.push('/');
        path.push_str(&step.replace('~', "~0").replace('/', "~1"));
        compare(old, new, path, changes);
        path.truncate(length);
    };
    match (before, after) {
        (Some(Value::Object(old)), Some(Value::Object(new))) => {
            for (key, value) in old {
                below(key, Some(value), new.get(key));
            }
            for (key, value) in new.iter().filter(|(key, _)| !old.contains_key(*key)) {
                below(key, None, Some(value));
            }
        }
        (Some(Value::Array(old)), Some(Value::Array(new))) => {
            for at in 0..old.len().max(new.len()) {
                below(&at.to_string(), old.get(at), new.get(at));
            }
        }
        _ => changes.push(FieldChange {
            path: path.clone(),
            before: before.cloned(),
            after: after.cloned(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::strike::Secrets;

    fn strike(secret: &str) -> Strike {
        let mut secrets = Secrets::default();
        secrets.add(secret.as_bytes());
        secrets.strike().unwrap()
    }

    #[test]
    fn a_secrets_keys_are_told_and_its_values_never() {
        let secret = |data: Value| {
            json!({"kind": "Secret", "metadata": {"name": "a",
            "annotations": {COPY: "c2VjcmV0"}}, "data": data})
        };
        let before = secret(json!({"same": "YQ==", "other": "b2xk", "gone": "Z29uZQ=="}));
        let after = secret(json!({"same": "YQ==", "other": "bmV3", "new": "bmV3"}));
        let (old, new) = shown(Some(&before), Some(&after), &strike("none"));
        let text = format!("{old:?} {new:?}");
        for value in ["YQ==", "b2xk", "Z29uZQ==", "bmV3", "c2VjcmV0"] {
            assert!(!text.contains(value), "{text}");
        }
        let changes = field_changes(old.as_ref(), new.as_ref());
        let paths: Vec<&str> = changes.iter().map(|change| change.path.as_str()).collect();
        assert_eq!(paths, ["/data/other", "/data/gone", "/data/new"]);
        let (_, made) = shown(None, Some(&after), &strike("none"));
        assert_eq!(made.unwrap()["data"], json!({"same": HIDDEN, "other": HIDDEN, "new": HIDDEN}));
    }

    #[test]
    fn variables_and_known_secrets_are_hidden_and_their_change_is_seen() {
        let pod = |password: &str, url: &str| {
            json!({"kind": "Pod", "spec": {"containers": [{"name": "a", "env": [
                {"name": "DB_PASSWORD", "value": password}, {"name": "URL", "value": url},
                {"name": "REF", "valueFrom": {"secretKeyRef": {"name": "db", "key": "password"}}}]}]}})
        };
        let before = pod("one", "http://hunter22@x");
        let after = pod("two", "http://hunter22@y");
        let (old, new) = shown(Some(&before), Some(&after), &strike("hunter22"));
        let env = |side: &Value| side["spec"]["containers"][0]["env"].clone();
        let (old, new) = (env(&old.unwrap()), env(&new.unwrap()));
        assert_eq!(old[0]["value"], "(hidden) (as it is)");
        assert_eq!(new[0]["value"], "(hidden) (another)");
        assert_eq!(
            (&old[1]["value"], &new[1]["value"]),
            (&json!("http://(hidden)@x"), &json!("http://(hidden)@y"))
        );
        assert_eq!(old[2]["valueFrom"]["secretKeyRef"]["name"], "db");
    }

    #[test]
    fn what_differs_has_a_pointer() {
        let before = json!({"a": {"b/c": [1, 2]}, "d": 1});
        let after = json!({"a": {"b/c": [1, 3, 4]}, "e": null});
        let changes = field_changes(Some(&before), Some(&after));
        let told: Vec<(&str, Option<&Value>, Option<&Value>)> = changes
            .iter()
            .map(|one| (one.path.as_str(), one.before.as_ref(), one.after.as_ref()))
            .collect();
        let [two, three, four, one] = [2, 3, 4, 1].map(|n| json!(n));
        assert_eq!(
            told,
            [
                ("/a/b~1c/1", Some(&two), Some(&three)),
                ("/a/b~1c/2", None, Some(&four)),
                ("/d", Some(&one), None),
                ("/e", None, Some(&Value::Null)),
            ]
        );
    }

    #[test]
    fn the_servers_notes_are_no_part_of_an_object() {
        let object = json!({"kind": "Service", "metadata": {"name": "a", "uid": "1", "resourceVersion": "2",
            "generation": 3, "creationTimestamp": "x", "managedFields": []}, "status": {}});
        assert_eq!(bare(&object), json!({"kind": "Service", "metadata": {"name": "a"}}));
    }
}
