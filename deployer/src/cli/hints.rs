//! What to do next, for each kind of error.

use crate::cluster::ClusterError;
use crate::database::{ConnectProblem, DatabaseError};
use crate::jobs::JobError;
use crate::keyring::KeyringError;
use crate::maas::{MaasError, Problem, Unauthorised};
use crate::region_command::CommandError;
use crate::render::RenderError;
use crate::settings::{LoadError, Names};
use crate::values::ValuesError;

pub(super) fn load(error: &LoadError) -> &'static str {
    match error {
        LoadError::Read { .. } => "name a file that is there with --settings FILE",
        LoadError::NotText | LoadError::Parse { .. } => {
            "chart and maas-deployer are made for each other: use images.tags.maas_deployer of the chart's version"
        }
    }
}

/// `settings_from` says where the job's settings came from; `names` are the release's.
pub(super) fn job(error: &JobError, settings_from: &str, names: &Names) -> Option<String> {
    let hint = match error {
        JobError::Section(_) => return Some(format!("the settings came from {settings_from}")),
        JobError::Settings(_) => "correct the chart's values and upgrade",
        JobError::Secret(_) => {
            let pods = names.kubectl("describe", "pods", None);
            return Some(format!("check the Secret that is mounted there; its name is in: {pods}"));
        }
        JobError::Database(error) => database(error),
        JobError::Maas(error) => return Some(maas(error, names)),
        JobError::MaasConfig(_) => "check conf.maas.url and conf.maas.tls in the chart's values",
        JobError::Key(_) => "delete the Secret of the API key and run the job export-api-key again",
        JobError::Cluster(error) => return Some(cluster(error, names)),
        JobError::Command(error) => command(error),
        JobError::Wait(error) => {
            let command = error.next.as_ref()?;
            return Some(format!("look at: {command}"));
        }
        JobError::Keyring { source, .. } => keyring(source),
        JobError::File { .. } => "check the volume: its mount, its owner and its free space",
        JobError::ImageVersion(_) => "use an image whose package maas-region-api dpkg-query knows",
        JobError::OldServer { .. } => "upgrade the server, or name another in endpoints.maas_db",
        JobError::Downgrade { .. } => {
            "use an image of that version or a newer one; to go back, restore the database from before the upgrade"
        }
        JobError::HalfMigrated { to, .. } => {
            return Some(format!(
                "use an image of MAAS {to} or a newer one: its db-sync goes on with the migration; to go back, restore the database from before it"
            ));
        }
        JobError::Migration { .. } => {
            "mend what it says and run it again, with this MAAS or a newer one: it goes on from there; an older one is refused"
        }
        JobError::Record(_) => {
            "maas-deployer is older than what wrote it: use images.tags.maas_deployer of the newer chart"
        }
        JobError::Refused { hint, .. }
        | JobError::Failed { hint, .. }
        | JobError::Preflight { hint, .. }
        | JobError::Several { hint, .. } => hint,
    };
    Some(hint.to_owned())
}

fn database(error: &DatabaseError) -> &'static str {
    match error {
        DatabaseError::ReadCa { .. } | DatabaseError::NoCa { .. } => {
            "give the server's CA certificate, in PEM, in the chart's values of the database's TLS"
        }
        DatabaseError::Tls(_) => "check the database's CA certificate",
        DatabaseError::Connect { source, .. } => match source {
            ConnectProblem::Unreachable(_) => {
                "check endpoints.maas_db, and that the server runs and listens on that address"
            }
            ConnectProblem::Tls { .. } => {
                "check the mode of the database's TLS, and its CA certificate"
            }
            ConnectProblem::Password => {
                "put the user's password into its Secret; a volume that was kept keeps the old password"
            }
            ConnectProblem::Rules(_) => "allow the user and the pods' addresses in pg_hba.conf",
            ConnectProblem::NoDatabase => "run the job db-init first",
            ConnectProblem::NotNow(_) => "run it again when the server is up",
            ConnectProblem::Other(_) => "look at the server's log",
        },
        DatabaseError::Query { .. } => "look at the server's log; run it again when that is mended",
        DatabaseError::Gone { .. } => "run it again when the server is up: it goes on from there",
        DatabaseError::Identifier(_) => "name it otherwise in endpoints.maas_db",
    }
}

fn maas(error: &MaasError, names: &Names) -> String {
    let hint = match &error.problem {
        Problem::Connect(_) | Problem::Transport(_) => {
            return format!(
                "check that the region runs: {}; its log says why not: {}",
                names.kubectl("get", "pods", Some("region")),
                names.region_logs()
            );
        }
        Problem::Unauthorised(Unauthorised::Clock { .. }) => {
            "set the nodes' clocks by NTP, then run it again"
        }
        Problem::Unauthorised(Unauthorised::Nonce) => "run it again",
        Problem::Unauthorised(_) => {
            return format!(
                "the job export-api-key writes a new key: {}; then upgrade the release",
                names.kubectl("delete", "jobs", Some("export-api-key"))
            );
        }
        Problem::Forbidden => "the API key must be an administrator's",
        Problem::Invalid(_) => "correct what MAAS names in the chart's values",
        Problem::NotFound(_) => "check that region.url ends in /MAAS and that MAAS is 3.5 or newer",
        Problem::Conflict => "look at what is there in MAAS already",
        Problem::Redirect(_) => {
            "MAAS may serve TLS: set conf.maas.tls.enabled, or name the address it redirects to"
        }
        Problem::WebPage { status, .. } if !status.is_server_error() => {
            "check the URL: something other than MAAS's API answers there"
        }
        Problem::WebPage { .. }
        | Problem::Server { .. }
        | Problem::Status { .. }
        | Problem::Nonsense(_) => {
            return format!("look at the region's log: {}", names.region_logs());
        }
    };
    hint.to_owned()
}

fn cluster(error: &ClusterError, names: &Names) -> String {
    match error {
        ClusterError::Name { .. } => "correct the name in the settings",
        ClusterError::Config(_) => "run it in a pod with a service account, or set KUBECONFIG",
        ClusterError::Api { code: 401 | 403, .. } => {
            "the pod's service account lacks the right: check its Role and RoleBinding"
        }
        ClusterError::Api { code: 404, .. } => "check that the namespace exists",
        ClusterError::Api { .. } => {
            return format!("look at the object that it names, and at: {}", names.events());
        }
        ClusterError::Transport { .. } => "check the cluster's API server, then run it again",
    }
    .to_owned()
}

fn command(error: &CommandError) -> &'static str {
    match error {
        CommandError::Missing { .. } => "this job runs in the image that has that program",
        CommandError::Run { .. } => "look at what the system says, then run it again",
        CommandError::Failed { .. } => "mend what it says, then run it again",
        CommandError::Endless { .. } => {
            "look at what it waits for, such as a lock in the database, then run it again"
        }
    }
}

fn keyring(error: &KeyringError) -> &'static str {
    match error {
        KeyringError::SecretKey => {
            "give the public key only, made by: gpg --export KEYID > FILE; and guard the other"
        }
        _ => "give a file made by: gpg --export KEYID > FILE",
    }
}

/// What to do about values that cannot be used.
pub(super) fn values(error: &ValuesError) -> &'static str {
    match error {
        ValuesError::Unreadable { .. } => "check the file's name and who may read it",
        ValuesError::Yaml(_) => "correct the file where the error says",
        ValuesError::NoMap { .. } => {
            "a file of values is a YAML map: `conf: {cache: {enabled: true}}`"
        }
        ValuesError::Set(_) => "KEY is a path such as conf.cache.enabled; quote it for the shell",
        ValuesError::Wrong(_) => {
            "`maas-deployer values` prints all that the chart knows; chart/README.md says what each is"
        }
        ValuesError::Schema(_) => "this is an error of the program: report it",
    }
}

/// What to do about a chart that cannot be rendered.
pub(super) fn render(error: &RenderError) -> &'static str {
    match error {
        RenderError::Refused(_) => "change the values, or the release's name",
        RenderError::Template { .. } | RenderError::Yaml { .. } => {
            "objects in the values (extraObjects) can use the chart's own functions alone; \
             docs/deployer.md lists them"
        }
    }
}
