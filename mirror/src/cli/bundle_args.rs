//! Options of the verbs on bundles.

use std::path::PathBuf;

use clap::Args;

use super::args::{FetchArgs, KeyringArgs, NetworkArgs, SelectionArgs, StoreArgs, filter};
use super::bundle::Place;
use crate::simplestreams::{Filter, MaxVersions, Selection};
use crate::upstream::Address;

#[derive(Debug, Args)]
pub(super) struct ExportArgs {
    /// File to write, folder of an OCI image layout (ends in /), - for a pipe, or oci://HOST/NAME:TAG
    #[arg(value_name = "BUNDLE", required_unless_present = "tree", conflicts_with = "tree")]
    pub(super) target: Option<Place>,
    /// Write a plain tree of files instead, as it is served, for another web server
    #[arg(long, value_name = "DIR", conflicts_with_all = ["since", "split", "overwrite"])]
    pub(super) tree: Option<PathBuf>,
    /// Of a tree: share no content with the store
    #[arg(long, requires = "tree")]
    pub(super) copy: bool,
    /// Of a tree: remove what an earlier export made and is no longer listed
    #[arg(long, requires = "tree")]
    pub(super) delete: bool,
    #[command(flatten)]
    pub(super) store: StoreArgs,
    /// Export straight from this upstream, and keep no store
    #[arg(long, value_name = "URL", conflicts_with = "tree")]
    pub(super) from: Option<Address>,
    /// Leave out what the other side has: a bundle, or a snapshot of the store
    #[arg(long, value_name = "BUNDLE|DIGEST")]
    pub(super) since: Option<String>,
    /// Write parts of this size (4GiB, 4.7GB, cd, dvd, dvd-dl, bluray, bluray-dl, fat32)
    #[arg(long, value_name = "SIZE", value_parser = super::size::parse)]
    pub(super) split: Option<u64>,
    /// Write over a bundle that is there
    #[arg(long)]
    pub(super) overwrite: bool,
    #[command(flatten)]
    pub(super) keyring: KeyringArgs,
    #[command(flatten)]
    pub(super) network: NetworkArgs,
    #[command(flatten)]
    pub(super) selection: ExportSelection,
}

/// The same choice as `sync` has, of what a store holds.
#[derive(Clone, Debug, Args)]
#[command(
    next_help_heading = "Selection (default: all that the store holds; with --from, as for sync)"
)]
pub(super) struct ExportSelection {
    /// Release to export (xenial, 16.04); repeatable
    #[arg(long, value_name = "R", value_delimiter = ',')]
    pub(super) release: Vec<String>,
    /// Architecture to export (amd64); repeatable
    #[arg(long, value_name = "A", value_delimiter = ',')]
    pub(super) arch: Vec<String>,
    /// Kernel to export (ga-16.04); repeatable
    #[arg(long, value_name = "K", value_delimiter = ',')]
    pub(super) kernel: Vec<String>,
    /// Leave out the bootloaders
    #[arg(long)]
    pub(super) no_bootloaders: bool,
    /// Newest versions of each product to export, or 'all'
    #[arg(long, value_name = "N")]
    pub(super) max_versions: Option<MaxVersions>,
    /// sstream-mirror filters, all of which must hold: arch=amd64 'release~(xenial|bionic)'
    #[arg(value_name = "FILTER", value_parser = filter)]
    pub(super) filters: Vec<Filter>,
}

#[derive(Debug, Args)]
pub(super) struct ImportArgs {
    /// Bundles, parts in any order, folders of them, - for a pipe, or oci://HOST/NAME:TAG
    #[arg(value_name = "BUNDLE", required = true)]
    pub(super) bundles: Vec<Place>,
    #[command(flatten)]
    pub(super) store: StoreArgs,
    #[command(flatten)]
    pub(super) keyring: KeyringArgs,
    #[command(flatten)]
    pub(super) fetch: FetchArgs,
}

#[derive(Debug, Args)]
pub(super) struct InspectArgs {
    /// Bundle, folder of an OCI image layout, or - for a pipe
    #[arg(value_name = "BUNDLE")]
    pub(super) bundle: Place,
    #[command(flatten)]
    pub(super) store: StoreArgs,
    /// List every file with its size and digest
    #[arg(long)]
    pub(super) files: bool,
}

impl ExportSelection {
    /// The choice as `sync` takes it.
    pub(super) fn args(&self) -> SelectionArgs {
        let Self { release, arch, kernel, no_bootloaders, max_versions, filters } = self.clone();
        SelectionArgs { release, arch, kernel, no_bootloaders, max_versions, filters }
    }

    /// The choice of what a store holds; `None` where nothing is said of it.
    pub(super) fn given(&self) -> Option<Selection> {
        let args = self.args();
        let said = args.chooses() || args.max_versions.is_some() || args.no_bootloaders;
        said.then(|| args.selection_of_held())
    }
}
