//! Who installs.

/// What changes a release: either goes on with what the other left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tool {
    /// `maas-deployer`, with the chart that is in it.
    Deployer,
    /// `helm`, with the folder of the chart.
    Helm,
}

impl Tool {
    /// The arguments with which an install, upgrade or rollback returns when all is ready.
    pub(crate) fn waits(self) -> &'static [&'static str] {
        match self {
            Self::Deployer => &["--timeout", "10m", "--progress", "plain"],
            Self::Helm => &["--wait", "--wait-for-jobs", "--timeout", "10m"],
        }
    }
}
