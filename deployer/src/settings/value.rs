//! Values of MAAS's own settings: as the chart has them, as MAAS takes them, and
//! when the two are the same.

use std::fmt;

use serde::Deserialize;
use serde_json::Value;

/// Settings that are lists. MAAS keeps them as one text, and turns commas into
/// spaces; in other settings a comma is a comma.
const LISTS: [&str; 6] = [
    "dns_trusted_acl",
    "internal_domains",
    "ntp_servers",
    "remote_syslog_servers",
    "upstream_dns",
    "vcenter_hosts",
];

/// A value for a setting of MAAS.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(untagged)]
pub enum ConfigValue {
    /// `true` or `false`.
    Bool(bool),
    /// A number.
    Number(serde_json::Number),
    /// Text.
    Text(String),
    /// Several texts.
    List(Vec<ListItem>),
    /// No value: the setting is emptied.
    None(()),
}

/// An item of a list.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(untagged)]
pub enum ListItem {
    /// Text.
    Text(String),
    /// A number.
    Number(serde_json::Number),
}

impl fmt::Display for ListItem {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => formatter.write_str(text),
            Self::Number(number) => write!(formatter, "{number}"),
        }
    }
}

/// A text where MAAS wants `true` or `false`: it would take anything but
/// `false` for true, `no` and `0` as well.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("the setting {name} is true or false, not '{value}'")]
pub struct NotABool {
    /// The setting.
    pub name: String,
    /// What was to be its value.
    pub value: String,
}

impl ConfigValue {
    /// The text that is sent to MAAS.
    #[must_use]
    pub fn text(&self) -> String {
        match self {
            Self::Bool(value) => value.to_string(),
            Self::Number(number) => number.to_string(),
            Self::Text(text) => text.clone(),
            Self::List(items) => {
                items.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
            }
            Self::None(()) => String::new(),
        }
    }

    /// What is to be sent so that the setting `name`, which is `current`, gets
    /// this value; `None` where it has it.
    ///
    /// # Errors
    /// [`NotABool`].
    pub fn change(&self, name: &str, current: &Value) -> Result<Option<String>, NotABool> {
        if let Value::Bool(now) = current {
            let wanted = self.as_bool(name)?;
            return Ok((wanted != *now).then(|| wanted.to_string()));
        }
        let wanted = self.text();
        let equal = match current {
            Value::Null => wanted.is_empty(),
            Value::String(now) => same_text(name, &wanted, now, matches!(self, Self::List(_))),
            Value::Number(now) => wanted.trim() == now.to_string(),
            Value::Array(_) | Value::Object(_) | Value::Bool(_) => {
                let now = current.to_string();
                wanted == now
            }
        };
        Ok((!equal).then_some(wanted))
    }

    fn as_bool(&self, name: &str) -> Result<bool, NotABool> {
        let text = self.text();
        match text.to_ascii_lowercase().as_str() {
            "true" => Ok(true),
            "false" => Ok(false),
            _ => Err(NotABool { name: name.to_owned(), value: text }),
        }
    }
}

/// Whether MAAS, which keeps `now`, would keep `wanted` as that.
fn same_text(name: &str, wanted: &str, now: &str, is_list: bool) -> bool {
    if is_list || LISTS.contains(&name) {
        return words(wanted).eq(words(now));
    }
    // MAAS adds the port.
    wanted == now
        || (name == "remote_syslog" && !wanted.is_empty() && format!("{wanted}:514") == now)
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split([',', ' ', '\t', '\n']).filter(|word| !word.is_empty())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn value(json: &str) -> ConfigValue {
        serde_json::from_str(json).unwrap()
    }

    fn change(name: &str, wanted: &str, now: &Value) -> Option<String> {
        value(wanted).change(name, now).unwrap()
    }

    #[test]
    fn what_is_so_already_is_not_sent() {
        assert_eq!(change("enable_analytics", "false", &json!(false)), None);
        assert_eq!(change("enable_analytics", "\"False\"", &json!(false)), None);
        assert_eq!(change("active_discovery_interval", "0", &json!(0)), None);
        assert_eq!(change("active_discovery_interval", "0", &json!("0")), None);
        assert_eq!(change("http_proxy", "null", &json!(null)), None);
        assert_eq!(change("http_proxy", "\"\"", &json!("")), None);
    }

    #[test]
    fn what_differs_is_sent_as_maas_takes_it() {
        assert_eq!(change("enable_analytics", "false", &json!(true)).unwrap(), "false");
        assert_eq!(change("enable_analytics", "\"TRUE\"", &json!(false)).unwrap(), "true");
        assert_eq!(change("active_discovery_interval", "3600", &json!(0)).unwrap(), "3600");
        assert_eq!(change("ntp_servers", "[\"a\",\"b\"]", &json!("a")).unwrap(), "a b");
    }

    #[test]
    fn a_word_that_is_no_bool_is_an_error_where_maas_has_one() {
        // MAAS would take each of them for true.
        for word in ["\"no\"", "\"0\"", "0", "\"maybe\"", "\"\""] {
            assert!(value(word).change("enable_http_proxy", &json!(true)).is_err(), "{word}");
        }
        assert_eq!(change("dnssec_validation", "\"no\"", &json!("no")), None);
    }

    #[test]
    fn commas_and_spaces_are_the_same_in_lists_alone() {
        assert_eq!(change("ntp_servers", "\"a, b,c\"", &json!("a b c")), None);
        assert_eq!(
            change("upstream_dns", "[\"1.1.1.1\",\"9.9.9.9\"]", &json!("1.1.1.1 9.9.9.9")),
            None
        );
        let options = json!("console=ttyS0 115200n8");
        assert!(change("kernel_opts", "\"console=ttyS0,115200n8\"", &options).is_some());
    }

    #[test]
    fn the_port_that_maas_adds_is_no_difference() {
        assert_eq!(change("remote_syslog", "\"log.example\"", &json!("log.example:514")), None);
        assert!(
            change("remote_syslog", "\"log.example:5514\"", &json!("log.example:514")).is_some()
        );
        assert!(change("remote_syslog", "\"\"", &json!(":514")).is_some());
    }
}
