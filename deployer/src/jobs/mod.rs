//! The jobs of the chart, a file each.
//!
//! Every job may be run again at any time: it looks first, changes what is not
//! as it should be, and says what it changed. Ended half way, it leaves what the
//! next run goes on from.

pub mod check_database;
pub mod check_ports;
pub mod configure;
pub mod create_admin;
pub mod db_init;
pub mod db_sync;
pub mod disable_tls;
pub mod enable_tls;
pub mod export_api_key;
pub mod import_images;
pub mod install_self;
pub mod probe;
pub mod quiesce;
pub mod region_conf;
pub mod register_rack;
pub mod secrets;
pub mod seed_secret;
pub mod test;
pub mod wait_for;

mod boot_source;
mod context;
mod error;
mod files;
mod maas_config;
mod old_jobs;
mod progress;
mod region_image;
mod report;
pub(crate) mod resources;
mod schema;
mod stale_regions;
mod tls_record;

pub use context::Context;
pub use error::JobError;
pub use report::Report;
