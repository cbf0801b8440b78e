//! Options of the verbs on bundles.

use std::path::PathBuf;

use clap::Args;

use super::args::{FetchArgs, KeyringArgs, NetworkArgs, SelectionArgs, StoreArgs};
use super::bundle::Place;
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
    #[command(
        flatten,
        next_help_heading = "Selection (default: all that the store holds; with --from, as for sync)"
    )]
    pub(super) selection: SelectionArgs,
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
