//! Index and products files.

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{PathError, RelPath, Timestamp, TimestampError};

/// The key under which a file keeps its abbreviations.
const ALIASES: &str = "_aliases";

/// A signed file of a stream: what its `format` says it is.
#[derive(Clone, Debug)]
pub enum Document {
    /// `index:1.0`.
    Index(Index),
    /// `products:1.0`.
    Products(Products),
}

/// An `index:1.0` file. Keys this type does not name survive in `other`.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
pub struct Index {
    /// `index:1.0`.
    pub format: String,
    /// When it was published; see [`Timestamp`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub updated: Option<String>,
    /// Content id to entry, in the file's order.
    pub index: IndexMap<String, IndexEntry>,
    /// Everything else in the file.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

/// What an index says of one products file.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
pub struct IndexEntry {
    /// `products:1.0`, or `index:1.0` for an index below this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub format: Option<String>,
    /// Where the file is, relative to the mirror's root.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// When the publisher last changed it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub updated: Option<String>,
    /// The product ids that the file holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub products: Option<Vec<String>>,
    /// Everything else in the entry.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

/// A `products:1.0` file. Keys this type does not name survive in `other`.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
pub struct Products {
    /// `products:1.0`.
    pub format: String,
    /// The stream's name, such as `com.ubuntu.maas:stable:v3:download`.
    pub content_id: String,
    /// When it was published; see [`Timestamp`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub updated: Option<String>,
    /// Product id to product, in the file's order.
    #[serde(default)]
    pub products: IndexMap<String, Product>,
    /// Everything else in the file.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

/// One product, such as `com.ubuntu.maas.stable:v3:boot:16.04:amd64:ga-16.04`.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
pub struct Product {
    /// Version name to version, in the file's order.
    #[serde(default)]
    pub versions: IndexMap<String, Version>,
    /// `arch`, `release`, `kflavor` and whatever else the publisher set.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

/// One version of a product.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
pub struct Version {
    /// Item name to item, in the file's order.
    #[serde(default)]
    pub items: IndexMap<String, Item>,
    /// Everything else.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

/// One item: a file with `ftype`, `path`, `size`, `sha256`, or an entry
/// without a path, such as a cloud's image id.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(transparent)]
pub struct Item(pub Map<String, Value>);

impl Item {
    /// The item's own path, as the file spells it; `None` where the item is
    /// not a file.
    #[must_use]
    pub fn path(&self) -> Option<&str> {
        self.0.get("path")?.as_str().filter(|path| !path.is_empty())
    }
}

/// Why a file is not an index or products file that can be used.
#[derive(Debug, thiserror::Error)]
pub enum DocumentError {
    /// Not JSON, or JSON of another shape.
    #[error("it is not valid simplestreams JSON")]
    Json(#[from] serde_json::Error),
    /// A `format` that this program does not read.
    #[error("its format is '{0}', and only index:1.0 and products:1.0 are known")]
    Format(String),
    /// An item or entry whose path cannot be used.
    #[error("{at} has a path that cannot be used")]
    Path {
        /// Where it stands in the file.
        at: String,
        /// What is wrong with it.
        source: PathError,
    },
    /// An `_aliases` table that does not say what a value stands for.
    #[error("its _aliases do not say what {key} = '{value}' stands for")]
    Alias {
        /// The abbreviated key.
        key: String,
        /// The value without an entry.
        value: String,
    },
    /// An `updated` that is no time.
    #[error("its 'updated' cannot be read")]
    Updated(#[from] TimestampError),
}

impl Document {
    /// Reads the plaintext of a signed file and checks every path in it: a
    /// path that leads outside would be followed by clients of the mirror even
    /// where this mirror never selects it.
    ///
    /// Nesting deeper than 128 levels is an error of `serde_json`.
    ///
    /// # Errors
    /// [`DocumentError`], which does not name the file: the caller knows it.
    pub fn parse(plaintext: &[u8]) -> Result<Self, DocumentError> {
        #[derive(Deserialize)]
        struct Probe {
            format: String,
            #[serde(rename = "_aliases")]
            aliases: Option<Value>,
        }
        let probe: Probe = serde_json::from_slice(plaintext)?;
        if !matches!(probe.format.as_str(), "index:1.0" | "products:1.0") {
            return Err(DocumentError::Format(probe.format));
        }
        let document = match (probe.format.as_str(), probe.aliases) {
            ("index:1.0", None) => Self::Index(serde_json::from_slice(plaintext)?),
            (_, None) => Self::Products(serde_json::from_slice(plaintext)?),
            (format, Some(aliases)) => {
                let mut tree: Value = serde_json::from_slice(plaintext)?;
                if let Some(aliases) = aliases.as_object() {
                    expand_aliases(&mut tree, aliases)?;
                }
                match format {
                    "index:1.0" => Self::Index(serde_json::from_value(tree)?),
                    _ => Self::Products(serde_json::from_value(tree)?),
                }
            }
        };
        match &document {
            Self::Index(index) => index.check()?,
            Self::Products(products) => products.check()?,
        }
        Ok(document)
    }
}

impl Index {
    /// When it was published, where it says so.
    ///
    /// # Errors
    /// [`DocumentError::Updated`] where the text is no time.
    pub fn updated(&self) -> Result<Option<Timestamp>, DocumentError> {
        Ok(self.updated.as_deref().map(Timestamp::parse).transpose()?)
    }

    fn check(&self) -> Result<(), DocumentError> {
        self.updated()?;
        for (content_id, entry) in &self.index {
            if let Some(path) = &entry.path {
                check_path(path, || format!("the entry {content_id}"))?;
            }
        }
        Ok(())
    }
}

impl Products {
    /// When it was published, where it says so.
    ///
    /// # Errors
    /// [`DocumentError::Updated`] where the text is no time.
    pub fn updated(&self) -> Result<Option<Timestamp>, DocumentError> {
        Ok(self.updated.as_deref().map(Timestamp::parse).transpose()?)
    }

    fn check(&self) -> Result<(), DocumentError> {
        self.updated()?;
        for (product, version, name, item) in self.items() {
            if let Some(path) = item.path() {
                check_path(path, || format!("item {name} of {product} {version}"))?;
            }
        }
        Ok(())
    }

    /// Every item with the names of its product and version, and its own.
    pub fn items(&self) -> impl Iterator<Item = (&str, &str, &str, &Item)> {
        self.products.iter().flat_map(|(product_name, product)| {
            product.versions.iter().flat_map(move |(version_name, version)| {
                version.items.iter().map(move |(item_name, item)| {
                    (product_name.as_str(), version_name.as_str(), item_name.as_str(), item)
                })
            })
        })
    }
}

fn check_path(path: &str, at: impl Fn() -> String) -> Result<(), DocumentError> {
    match RelPath::new(path) {
        Ok(_) => Ok(()),
        Err(source) => Err(DocumentError::Path { at: at(), source }),
    }
}

/// Replaces each abbreviated `key: value` by the keys that `_aliases` gives
/// for that value, at every level, as `python-simplestreams` does before it
/// looks at anything. The abbreviation itself stays.
fn expand_aliases(tree: &mut Value, aliases: &Map<String, Value>) -> Result<(), DocumentError> {
    match tree {
        Value::Object(map) => {
            let keys: Vec<String> = map.keys().filter(|key| *key != ALIASES).cloned().collect();
            for key in keys {
                let Some(table) = aliases.get(&key).and_then(Value::as_object) else {
                    continue;
                };
                let Some(value) = map.get(&key).and_then(Value::as_str) else {
                    continue;
                };
                if table.is_empty() || value.is_empty() {
                    continue;
                }
                let Some(expansion) = table.get(value).and_then(Value::as_object) else {
                    return Err(DocumentError::Alias { key, value: value.to_owned() });
                };
                for (name, replacement) in expansion {
                    map.insert(name.clone(), replacement.clone());
                }
            }
            for (_, child) in map.iter_mut().filter(|(key, _)| *key != ALIASES) {
                expand_aliases(child, aliases)?;
            }
        }
        Value::Array(list) => {
            for child in list {
                expand_aliases(child, aliases)?;
            }
        }
        _ => {}
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn products(text: &str) -> Products {
        match Document::parse(text.as_bytes()).expect(text) {
            Document::Products(products) => products,
            Document::Index(_) => panic!("an index"),
        }
    }

    #[test]
    fn unknown_keys_survive_a_round_trip_at_every_level() {
        let text = r#"{"format":"products:1.0","content_id":"c","updated":"Tue, 22 Jul 2025 11:01:49 +0000",
            "products":{"p":{"versions":{"1":{"items":{"i":{"path":"a","size":"12","x":[1,2]}},"label":"l"}},
            "arch":"amd64","nested":{"a":null}}},"license":"http://x","tags":["t"],"creator":{"n":1.5}}"#;
        let before: Value = serde_json::from_str(text).expect("json");
        let after = serde_json::to_value(products(text)).expect("value");
        assert_eq!(before, after);
    }

    #[test]
    fn an_index_keeps_unknown_keys() {
        let text = r#"{"format":"index:1.0","updated":"2025-07-22T11:01:49Z","extra":1,
            "index":{"c":{"datatype":"image-ids","format":"products:1.0","path":"streams/v1/c.sjson","clouds":[]}}}"#;
        let before: Value = serde_json::from_str(text).expect("json");
        let Document::Index(index) = Document::parse(text.as_bytes()).expect("index") else {
            panic!("not an index")
        };
        assert_eq!(before, serde_json::to_value(index).expect("value"));
    }

    #[test]
    fn a_path_that_escapes_is_refused_and_named() {
        let text = r#"{"format":"products:1.0","content_id":"c",
            "products":{"p":{"versions":{"1":{"items":{"i":{"path":"../x"}}}}}}}"#;
        let error = Document::parse(text.as_bytes()).expect_err("escapes");
        assert_eq!(error.to_string(), "item i of p 1 has a path that cannot be used");
    }

    #[test]
    fn deep_nesting_and_other_formats_are_errors() {
        let deep = format!(
            r#"{{"format":"products:1.0","content_id":"c","x":{}{}}}"#,
            "[".repeat(10_000),
            "]".repeat(10_000)
        );
        assert!(matches!(Document::parse(deep.as_bytes()), Err(DocumentError::Json(_))));
        let other = br#"{"format":"products:2.0"}"#;
        assert!(matches!(Document::parse(other), Err(DocumentError::Format(_))));
        assert!(matches!(Document::parse(b"{\"format\":"), Err(DocumentError::Json(_))));
    }

    #[test]
    fn aliases_are_expanded_and_stay() {
        let text = r#"{"format":"products:1.0","content_id":"c",
            "_aliases":{"crsn":{"One":{"region":"east","endpoint":"e"}}},
            "products":{"p":{"crsn":"One","versions":{}}}}"#;
        let products = products(text);
        let product = products.products.get("p").expect("p");
        assert_eq!(product.other.get("region"), Some(&Value::from("east")));
        assert_eq!(product.other.get("crsn"), Some(&Value::from("One")));
        let unknown = text.replace(r#""crsn":"One","versions""#, r#""crsn":"Two","versions""#);
        assert!(matches!(Document::parse(unknown.as_bytes()), Err(DocumentError::Alias { .. })));
    }
}
