//! The view of an item in which it has inherited everything above it.

use std::borrow::Cow;

use serde_json::{Map, Value};

use super::{Item, Product, Products, Version};

/// An item with the keys it inherits: its own over its version's over its
/// product's over the file's, plus the four computed ones (`content_id`,
/// `product_name`, `version_name`, `item_name`).
#[derive(Clone, Copy, Debug)]
pub struct FlatItem<'a> {
    pub(super) products: &'a Products,
    pub(super) product_name: &'a str,
    pub(super) product: &'a Product,
    pub(super) version_name: &'a str,
    pub(super) version: &'a Version,
    pub(super) item_name: &'a str,
    pub(super) item: &'a Item,
}

/// Every item of `products`, flattened.
pub fn flatten(products: &Products) -> impl Iterator<Item = FlatItem<'_>> {
    products.products.iter().flat_map(move |(product_name, product)| {
        product.versions.keys().flat_map(move |version_name| {
            flatten_version(products, product_name, product, version_name)
        })
    })
}

/// The items of one version, flattened; none where the product lacks it.
pub(super) fn flatten_version<'a>(
    products: &'a Products,
    product_name: &'a str,
    product: &'a Product,
    version_name: &'a str,
) -> impl Iterator<Item = FlatItem<'a>> {
    product.versions.get(version_name).into_iter().flat_map(move |version| {
        version.items.iter().map(move |(item_name, item)| FlatItem {
            products,
            product_name,
            product,
            version_name,
            version,
            item_name,
            item,
        })
    })
}

impl<'a> FlatItem<'a> {
    /// The text that a filter sees under `key`; `None` where nothing sets it.
    ///
    /// As in `sstream-mirror`, numbers and booleans are seen as Python writes
    /// them, lists and objects are not seen at all, and a computed key wins
    /// over a key of that name at its own level or above.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<Cow<'a, str>> {
        let levels = [
            (Some(("item_name", self.item_name)), &self.item.0),
            (Some(("version_name", self.version_name)), &self.version.other),
            (Some(("product_name", self.product_name)), &self.product.other),
            (None, &self.products.other),
        ];
        for (computed, keys) in levels {
            match computed {
                Some((name, value)) if name == key => return Some(Cow::Borrowed(value)),
                _ => {}
            }
            if let Some(text) = text_of(keys, key) {
                return Some(text);
            }
        }
        match key {
            "content_id" => Some(Cow::Borrowed(&self.products.content_id)),
            "format" => Some(Cow::Borrowed(&self.products.format)),
            "updated" => self.products.updated.as_deref().map(Cow::Borrowed),
            _ => None,
        }
    }

    /// The item's own path; not inherited.
    #[must_use]
    pub fn path(&self) -> Option<&'a str> {
        self.item.path()
    }

    /// `ITEM of PRODUCT VERSION`, to name it in a message.
    #[must_use]
    pub fn describe(&self) -> String {
        format!("item {} of {} {}", self.item_name, self.product_name, self.version_name)
    }
}

/// A scalar as Python's `str()` writes it.
fn text_of<'a>(keys: &'a Map<String, Value>, key: &str) -> Option<Cow<'a, str>> {
    match keys.get(key)? {
        Value::String(text) => Some(Cow::Borrowed(text)),
        Value::Bool(true) => Some(Cow::Borrowed("True")),
        Value::Bool(false) => Some(Cow::Borrowed("False")),
        Value::Number(number) => Some(Cow::Owned(number.to_string())),
        _ => None,
    }
}
