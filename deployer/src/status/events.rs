//! The last warnings.

use jiff::Timestamp;
use serde_json::Value;

use super::{Known, why};
use crate::cluster::{Cluster, Place};

/// How old a warning may be, in seconds: what came good is of no interest.
const OLD_S: i64 = 3600;
/// How many are shown.
const SHOWN: usize = 6;

/// A warning.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventState {
    /// When it was seen last.
    pub last: Option<Timestamp>,
    /// Of what: `Pod maas-region-0`.
    pub object: String,
    /// Its word for it.
    pub reason: String,
    /// What it says.
    pub message: String,
    /// How often it was seen.
    pub count: u64,
}

pub(super) async fn look(cluster: &Cluster, namespace: &str) -> Known<Vec<Value>> {
    let place = Place::list("/api/v1", Some(namespace), "events");
    let doing = format!("list the events in {namespace}");
    cluster.list(&doing, &place, ("fieldSelector", "type=Warning")).await.map_err(|it| why(&it))
}

/// Of these events, the last of objects whose names begin so.
pub(super) fn of_release(events: &[Value], prefix: &str) -> Vec<EventState> {
    // The pods of `check` try images by starting what cannot run; they are gone.
    let probes = format!("{prefix}-check-");
    let is_told = |name: &str| name.starts_with(prefix) && !name.starts_with(&probes);
    let mut all: Vec<EventState> = events
        .iter()
        .filter(|event| event.get("type").and_then(Value::as_str) == Some("Warning"))
        .map(read)
        .filter(|event| event.object.split(' ').nth(1).is_some_and(is_told))
        .filter(|event| {
            event.last.is_none_or(|last| Timestamp::now().as_second() - last.as_second() < OLD_S)
        })
        .collect();
    all.sort_by_key(|event| event.last);
    let surplus = all.len().saturating_sub(SHOWN);
    all.split_off(surplus)
}

fn read(event: &Value) -> EventState {
    let text = |pointer: &str| event.pointer(pointer).and_then(Value::as_str);
    // Which of them is set depends on who wrote it.
    let times =
        ["/series/lastObservedTime", "/lastTimestamp", "/eventTime", "/metadata/creationTimestamp"];
    let count = event.pointer("/series/count").or_else(|| event.get("count"));
    let message = text("/message").unwrap_or_default().split_whitespace().collect::<Vec<_>>();
    EventState {
        last: times.iter().find_map(|time| text(time)?.parse().ok()),
        object: format!(
            "{} {}",
            text("/involvedObject/kind").unwrap_or_default(),
            text("/involvedObject/name").unwrap_or_default()
        ),
        reason: text("/reason").unwrap_or_default().to_owned(),
        message: message.join(" ").chars().take(300).collect(),
        count: count.and_then(Value::as_u64).unwrap_or(1),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_last_warnings_of_the_release_are_told() {
        let event = |name: &str, time: String| {
            json!({"type": "Warning", "reason": "BackOff", "message": "a\n b", "count": 3,
                "involvedObject": {"kind": "Pod", "name": name}, "lastTimestamp": time})
        };
        let now = Timestamp::now();
        let old = Timestamp::from_second(now.as_second() - 2 * OLD_S).unwrap();
        let events = vec![
            event("maas-region-0", now.to_string()),
            event("other-0", now.to_string()),
            event("maas-check-images-1-bc018e-tdvpw", now.to_string()),
            event("maas-region-1", old.to_string()),
        ];
        let told = of_release(&events, "maas");
        assert_eq!(told.len(), 1);
        assert_eq!(
            (told[0].object.as_str(), told[0].message.as_str()),
            ("Pod maas-region-0", "a b")
        );
        assert_eq!(told[0].count, 3);
    }
}
