//! Which items of a stream a mirror holds.

use std::collections::HashMap;
use std::fmt;
use std::num::NonZeroUsize;
use std::str::FromStr;

use serde::Serialize;

use super::flatten::{flatten, flatten_version};
use super::{
    Digest, DigestError, Filter, FilterError, FlatItem, PathError, Product, Products, RelPath,
    compare_versions,
};

/// What to mirror: the newest versions of the products whose items pass.
///
/// The friendly spellings (`releases`, `arches`, `kernels`) choose images and
/// keep the bootloaders of the chosen architectures beside them. `filters`
/// act exactly as in `sstream-mirror`: an item must pass them all, whatever
/// the friendly spellings say of it.
#[derive(Clone, Debug)]
pub struct Selection {
    /// Release codenames or numbers (`xenial`, `16.04`); empty means any.
    pub releases: Vec<String>,
    /// Architectures (`amd64`); empty means any.
    pub arches: Vec<String>,
    /// Kernels (`ga-16.04`); empty means any.
    pub kernels: Vec<String>,
    /// Whether the friendly spellings keep bootloaders.
    pub bootloaders: bool,
    /// Raw filters, all of which must hold.
    pub filters: Vec<Filter>,
    /// How many versions of each product.
    pub max_versions: MaxVersions,
}

/// Xenial for amd64, newest version, with its bootloaders.
impl Default for Selection {
    fn default() -> Self {
        Self {
            releases: vec!["xenial".to_owned()],
            arches: vec!["amd64".to_owned()],
            kernels: Vec::new(),
            bootloaders: true,
            filters: Vec::new(),
            max_versions: MaxVersions::default(),
        }
    }
}

/// How many versions of each product, counted from the newest that has an item
/// selected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MaxVersions {
    /// No limit.
    All,
    /// The newest N.
    Newest(NonZeroUsize),
}

impl Default for MaxVersions {
    fn default() -> Self {
        Self::Newest(NonZeroUsize::MIN)
    }
}

/// `all` or a number from 1.
impl FromStr for MaxVersions {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "all" => Ok(Self::All),
            _ => text
                .parse()
                .map(Self::Newest)
                .map_err(|_| "neither a number from 1 nor 'all'".into()),
        }
    }
}

impl fmt::Display for MaxVersions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str("all"),
            Self::Newest(count) => count.fmt(f),
        }
    }
}

/// A file to hold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SelectedItem {
    /// The stream it is listed in.
    pub content_id: String,
    /// Its product id.
    pub product: String,
    /// Its version name.
    pub version: String,
    /// Its name within the version.
    pub item: String,
    /// Where it is served.
    pub path: RelPath,
    /// SHA-256 of its content.
    pub sha256: Digest,
    /// Its length in bytes.
    pub size: u64,
}

/// The outcome of a selection: every selected item that is a file, in the
/// order of the files and products given. A path may occur many times, with
/// the same digest each time.
pub type Selected = Vec<SelectedItem>;

/// Why a selection cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum SelectionError {
    /// A filter cannot be evaluated.
    #[error(transparent)]
    Filter(#[from] FilterError),
    /// A selected item lacks what is needed to verify it.
    #[error("{item} ({path}) has no {key}, so it cannot be verified")]
    Unverifiable {
        /// The item's names.
        item: String,
        /// The item's path.
        path: String,
        /// The missing key.
        key: &'static str,
    },
    /// The item's digest is not one.
    #[error("{item} has a sha256 that is not one")]
    Digest {
        /// The item's names.
        item: String,
        /// What is wrong with it.
        source: DigestError,
    },
    /// The item's size is not a number of bytes.
    #[error("{item} has the size '{size}', which is not a number of bytes")]
    Size {
        /// The item's names.
        item: String,
        /// The text given.
        size: String,
    },
    /// The item's path cannot be used.
    #[error("{item} has a path that cannot be used")]
    Path {
        /// The item's names.
        item: String,
        /// What is wrong with it.
        source: PathError,
    },
    /// One content, two lengths: no bytes can be right for both.
    #[error("the content {digest} is listed with different sizes: by {first} and by {second}")]
    Sizes {
        /// The digest.
        digest: Digest,
        /// The item that lists it first.
        first: String,
        /// The item that disagrees.
        second: String,
    },
    /// One path, two contents: no bytes can be right for both.
    #[error("{path} is listed twice with different digests or sizes: by {first} and by {second}")]
    Conflict {
        /// The path.
        path: RelPath,
        /// The item that lists it first.
        first: String,
        /// The item that disagrees.
        second: String,
    },
}

/// The files that `selection` takes from `documents`.
///
/// As in `sstream-mirror`, items are filtered first and versions counted
/// after: the newest version is the newest that has an item left. The order of
/// versions is [`compare_versions`].
///
/// # Errors
/// [`SelectionError`]; an item that is not selected is never the cause.
pub fn select(documents: &[Products], selection: &Selection) -> Result<Selected, SelectionError> {
    select_among(documents, selection, &|_| true)
}

/// As [`select`], of the items whose path is `on_offer`: where an upstream has
/// not all that its metadata lists, the rest counts for nothing. An item that is
/// no file has no path.
///
/// # Errors
/// [`SelectionError`].
pub fn select_among(
    documents: &[Products],
    selection: &Selection,
    on_offer: &dyn Fn(Option<&str>) -> bool,
) -> Result<Selected, SelectionError> {
    let mut selected = Vec::new();
    for products in documents {
        for (product_name, product) in &products.products {
            let versions = select_product(products, product_name, product, selection, on_offer)?;
            selected.extend(versions);
        }
    }
    check_conflicts(&selected)?;
    Ok(selected)
}

/// Every item of `products` that is a file and can be verified, in the file's
/// order. A path may occur many times.
pub fn listed(products: &Products) -> impl Iterator<Item = SelectedItem> {
    flatten(products).filter_map(|item| verifiable(&item, item.path()?).ok())
}

fn select_product(
    products: &Products,
    product_name: &str,
    product: &Product,
    selection: &Selection,
    on_offer: &dyn Fn(Option<&str>) -> bool,
) -> Result<Selected, SelectionError> {
    let mut versions = Vec::new();
    for version_name in product.versions.keys() {
        let mut taken = Vec::new();
        for flat in flatten_version(products, product_name, product, version_name) {
            if on_offer(flat.path()) && selection.takes(&flat)? {
                taken.push(flat);
            }
        }
        if !taken.is_empty() {
            versions.push((version_name.as_str(), taken));
        }
    }
    versions.sort_by(|(a, _), (b, _)| compare_versions(b, a));
    if let MaxVersions::Newest(count) = selection.max_versions {
        versions.truncate(count.get());
    }
    let items = versions.iter().flat_map(|(_, items)| items);
    items.filter_map(|item| Some(verifiable(item, item.path()?))).collect()
}

impl Selection {
    fn takes(&self, item: &FlatItem<'_>) -> Result<bool, FilterError> {
        for filter in &self.filters {
            if !filter.matches(item)? {
                return Ok(false);
            }
        }
        Ok(self.takes_by_name(item))
    }

    fn takes_by_name(&self, item: &FlatItem<'_>) -> bool {
        let plain = self.releases.is_empty() && self.arches.is_empty() && self.kernels.is_empty();
        if plain {
            return self.bootloaders || !is_bootloader(item);
        }
        if is_bootloader(item) {
            return self.bootloaders && self.takes_bootloader_of(item);
        }
        let one_of = |wanted: &[String], keys: &[&str]| {
            wanted.is_empty()
                || keys
                    .iter()
                    .filter_map(|key| item.get(key))
                    .any(|v| wanted.iter().any(|w| *w == v))
        };
        one_of(&self.releases, &["release", "release_codename", "version"])
            && one_of(&self.arches, &["arch"])
            && one_of(&self.kernels, &["subarch", "kflavor"])
    }

    /// A bootloader serves the architectures in `arches`, or else `arch`; the
    /// PXE one is listed under i386 and boots amd64 as well.
    fn takes_bootloader_of(&self, item: &FlatItem<'_>) -> bool {
        let arch = item.get("arch").unwrap_or_default();
        let arches = item.get("arches").unwrap_or_default();
        let serves = |wanted: &str| {
            arch == wanted
                || arches.split(',').any(|listed| listed.trim() == wanted)
                || (arch == "i386" && wanted == "amd64")
        };
        self.arches.is_empty() || self.arches.iter().any(|wanted| serves(wanted))
    }
}

/// maas.io marks bootloaders by `bootloader-type`; the stream's name says so
/// too, for publishers that leave the key out.
fn is_bootloader(item: &FlatItem<'_>) -> bool {
    item.get("bootloader-type").is_some()
        || item.get("content_id").is_some_and(|id| id.contains("bootloader"))
}

fn verifiable(item: &FlatItem<'_>, path: &str) -> Result<SelectedItem, SelectionError> {
    let need = |key: &'static str| {
        item.get(key).ok_or_else(|| SelectionError::Unverifiable {
            item: item.describe(),
            path: path.to_owned(),
            key,
        })
    };
    let size = need("size")?;
    Ok(SelectedItem {
        content_id: item.products.content_id.clone(),
        product: item.product_name.to_owned(),
        version: item.version_name.to_owned(),
        item: item.item_name.to_owned(),
        path: RelPath::new(path)
            .map_err(|source| SelectionError::Path { item: item.describe(), source })?,
        sha256: need("sha256")?
            .parse()
            .map_err(|source| SelectionError::Digest { item: item.describe(), source })?,
        size: parse_size(&size).ok_or_else(|| SelectionError::Size {
            item: item.describe(),
            size: size.chars().take(40).collect(),
        })?,
    })
}

/// A size as metadata lists it: digits, as a number or as text.
#[must_use]
pub fn parse_size(text: &str) -> Option<u64> {
    let text = text.trim();
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().ok()).flatten()
}

fn check_conflicts(selected: &[SelectedItem]) -> Result<(), SelectionError> {
    let mut seen: HashMap<&RelPath, &SelectedItem> = HashMap::new();
    let mut sizes: HashMap<Digest, &SelectedItem> = HashMap::new();
    let describe = |i: &SelectedItem| format!("{} of {} {}", i.item, i.product, i.version);
    for item in selected {
        let first = *seen.entry(&item.path).or_insert(item);
        if (first.sha256, first.size) != (item.sha256, item.size) {
            return Err(SelectionError::Conflict {
                path: item.path.clone(),
                first: describe(first),
                second: describe(item),
            });
        }
        let same = *sizes.entry(item.sha256).or_insert(item);
        if same.size != item.size {
            return Err(SelectionError::Sizes {
                digest: item.sha256,
                first: describe(same),
                second: describe(item),
            });
        }
    }
    Ok(())
}

/// The selection in words, for records and reports.
impl fmt::Display for Selection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut words = Vec::new();
        for (name, values) in
            [("release", &self.releases), ("arch", &self.arches), ("kernel", &self.kernels)]
        {
            if !values.is_empty() {
                words.push(format!("{name} {}", values.join(",")));
            }
        }
        words.extend(self.filters.iter().map(|filter| format!("'{filter}'")));
        if !self.bootloaders {
            words.push("no bootloaders".into());
        }
        words.push(match self.max_versions {
            MaxVersions::All => "all versions".into(),
            MaxVersions::Newest(count) if count.get() == 1 => "newest version".into(),
            MaxVersions::Newest(count) => format!("newest {count} versions"),
        });
        f.write_str(&words.join(", "))
    }
}
