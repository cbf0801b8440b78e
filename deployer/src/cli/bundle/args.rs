//! Options of the verbs on bundles.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use oci::client::{Options, RetryPolicy};
use oci::registry::ReferenceError;

use super::super::release_args::{ValuesArgs, registry};
use super::super::shared_args::{OverwriteArgs, ProgressArgs};
use crate::bundle::find::FromArchive;
use crate::bundle::push::Destination;

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub(in crate::cli) struct BundleArgs {
    #[command(subcommand)]
    pub(super) verb: Option<BundleVerb>,
    #[command(flatten)]
    pub(super) make: MakeArgs,
}

#[derive(Debug, Subcommand)]
pub(super) enum BundleVerb {
    /// Load a bundle's images and chart into a registry; what it has is not sent again
    Push(PushArgs),
    /// Say what is in a bundle
    Inspect(InspectArgs),
    /// Take chart, programs and boot images out of a bundle
    Unpack(UnpackArgs),
}

#[derive(Debug, Args)]
pub(super) struct MakeArgs {
    /// The file to write
    #[arg(value_name = "FILE", required = true)]
    pub(super) file: Option<PathBuf>,
    /// Only images for these machines, such as amd64 or arm64 [default: all that there are]
    #[arg(long, value_name = "ARCH")]
    pub(super) arch: Vec<String>,
    /// Take an image from an archive or a layout instead of a registry; without IMAGE=, all that the archive has by name
    #[arg(long, value_name = "[IMAGE=]FILE", value_parser = from_archive)]
    pub(super) from_archive: Vec<FromArchive>,
    /// Put a bundle of boot images in, made by maas-mirror export
    #[arg(long, value_name = "FILE")]
    pub(super) mirror_bundle: Vec<PathBuf>,
    /// Put another program in, beside this one
    #[arg(long, value_name = "FILE")]
    pub(super) binary: Vec<PathBuf>,
    /// Leave this program out
    #[arg(long)]
    pub(super) no_program: bool,
    #[command(flatten)]
    pub(super) overwrite: OverwriteArgs,
    /// Say what would be in it, and write nothing
    #[arg(long)]
    pub(super) dry_run: bool,
    #[command(flatten)]
    pub(super) network: NetworkArgs,
    #[command(flatten)]
    pub(super) progress: ProgressArgs,
    #[command(flatten)]
    pub(super) values: ValuesArgs,
}

#[derive(Debug, Args)]
pub(super) struct BundleFile {
    /// The bundle
    #[arg(value_name = "FILE")]
    pub(super) file: PathBuf,
}

#[derive(Debug, Args)]
pub(super) struct PushArgs {
    #[command(flatten)]
    pub(super) bundle: BundleFile,
    /// The registry, and a path below which everything goes
    #[arg(value_name = "REGISTRY[/PATH]", value_parser = destination)]
    pub(super) registry: Destination,
    /// Ask what is missing, and send nothing
    #[arg(long)]
    pub(super) dry_run: bool,
    /// Uploads at a time
    #[arg(long, value_name = "N", default_value = "4", value_parser = clap::value_parser!(u8).range(1..=16))]
    pub(super) parallel: u8,
    #[command(flatten)]
    pub(super) network: NetworkArgs,
    #[command(flatten)]
    pub(super) progress: ProgressArgs,
}

#[derive(Debug, Args)]
pub(super) struct InspectArgs {
    #[command(flatten)]
    pub(super) bundle: BundleFile,
    /// Read all of it, and check every digest
    #[arg(long)]
    pub(super) verify: bool,
}

#[derive(Debug, Args)]
pub(super) struct UnpackArgs {
    #[command(flatten)]
    pub(super) bundle: BundleFile,
    /// The folder; made where it is not there
    #[arg(value_name = "DIR")]
    pub(super) folder: PathBuf,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Network")]
pub(super) struct NetworkArgs {
    /// Reach registries without TLS
    #[arg(long)]
    plain_http: bool,
    /// A file of more certificate authorities, PEM
    #[arg(long, value_name = "FILE")]
    ca_file: Vec<PathBuf>,
    /// How often a request is made again that failed for a reason that may pass
    #[arg(long, value_name = "N", default_value = "4")]
    retries: u32,
}

impl NetworkArgs {
    pub(super) fn options(&self) -> Options {
        Options {
            user_agent: concat!("maas-deployer/", env!("CARGO_PKG_VERSION")),
            retry: RetryPolicy { retries: self.retries, ..RetryPolicy::default() },
            ca_files: self.ca_file.clone(),
            plain_http: self.plain_http,
            ..Options::default()
        }
    }
}

fn destination(text: &str) -> Result<Destination, String> {
    registry(text.trim_end_matches('/'))?.parse().map_err(|error: ReferenceError| error.to_string())
}

/// An equals sign may stand in a file's name too: where what is before it names
/// no image, all of it is the file.
#[expect(clippy::unnecessary_wraps, reason = "the form that clap wants")]
fn from_archive(text: &str) -> Result<FromArchive, String> {
    if let Some((image, path)) = text.split_once('=')
        && image.parse::<crate::bundle::name::ImageName>().is_ok()
    {
        return Ok(FromArchive { image: Some(image.to_owned()), path: path.into() });
    }
    Ok(FromArchive { image: None, path: text.into() })
}
