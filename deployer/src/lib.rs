//! Installs MAAS on Kubernetes; in the cluster, runs the jobs of the chart.
//!
//! Dependencies point one way; each module may use those above it:
//!
//! | module | is |
//! |---|---|
//! | [`secret`] | text that never shows itself, and the files it comes from |
//! | [`duration`] | durations as people write them |
//! | `counted` | numbers of things, as people say them |
//! | [`settings`] | what the chart tells a job |
//! | [`version`] | MAAS's version numbers |
//! | [`keyring`] | OpenPGP keyrings as MAAS takes them |
//! | [`certificate`] | when certificates expire |
//! | [`ports`] | the ports that a rack binds on its node's own network |
//! | [`wait`] | bounded waits that say what they wait for |
//! | [`maas`] | the client of MAAS's REST API |
//! | [`region_command`] | runs `maas-region` and other programs of the images |
//! | [`database`] | PostgreSQL, with TLS as libpq means it |
//! | [`tree`], [`yaml`] | values, each with where it was set; YAML as Helm reads and writes it |
//! | [`manifest`] | what a chart renders to |
//! | [`chart`] | the chart, as it is held in the program |
//! | [`images`] | the images of a release, and lists of them |
//! | [`values`] | files and options over the chart's own values, checked |
//! | [`strike`] | strikes secrets out of texts |
//! | [`render`] | the chart rendered, as Helm renders it |
//! | [`bundle`] | what an installation needs in one file: made, read, loaded |
//! | [`cluster`] | Kubernetes: Secrets, StatefulSets, Jobs, pods; objects of any kind |
//! | [`release`] | releases as Helm records them |
//! | [`apply`] | has a cluster hold what was rendered, and waits for it |
//! | [`jobs`] | a file a job |
//! | [`check`] | judges whether an installation would work, or works |
//! | [`status`] | how a release stands: one look at everything that tells |
//! | [`support`] | all that somebody needs who is to help, and no secret |
//! | [`cli`] | verbs, output, exit codes |

pub mod apply;
pub mod bundle;
pub mod certificate;
pub mod chart;
pub mod check;
pub mod cli;
pub mod cluster;
pub(crate) mod counted;
pub mod database;
pub mod duration;
pub mod images;
pub mod jobs;
pub mod keyring;
pub mod maas;
pub mod manifest;
pub mod ports;
pub mod region_command;
pub mod release;
pub mod render;
pub mod secret;
pub mod settings;
pub mod status;
pub mod strike;
pub mod support;
pub mod tree;
pub mod values;
pub mod version;
pub mod wait;
pub mod yaml;

/// An error with all its causes, `: ` between them: what a log line can hold.
/// Each error says only its own part.
#[must_use]
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        let part = error.to_string();
        // A transparent error says what its source says.
        if !text.ends_with(&part) {
            text.push_str(": ");
            text.push_str(&part);
        }
        source = error.source();
    }
    text
}
