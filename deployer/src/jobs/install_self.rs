//! `install-self`: brings the program and its settings into another image's pod.

use std::path::Path;

use super::error::JobError;
use super::files;
use super::report::Report;
use crate::settings::Settings;

/// Copies the running program to `folder`, and beside it the settings of the
/// environment, which it has understood before.
///
/// # Errors
/// [`JobError`].
pub fn run(folder: &Path, settings: Option<&str>) -> Result<Report, JobError> {
    let mut report = Report::default();
    if let Some(settings) = settings {
        // What the other container could not read is an error here already.
        serde_json::from_str::<Settings>(settings)
            .map_err(|error| JobError::Settings(error.to_string()))?;
    }
    let own = Path::new("/proc/self/exe");
    let file = |source| JobError::File { doing: "read", path: own.to_owned(), source };
    let program = std::fs::read(own).map_err(file)?;
    let target = folder.join("maas-deployer");
    if files::read(&target)?.as_deref() == Some(&program) {
        report.noted(format!("{} is there", target.display()));
    } else {
        files::write(&target, &program, 0o755)?;
        report.changed(format!("wrote {}", target.display()));
    }
    if let Some(settings) = settings {
        let target = folder.join("settings.json");
        files::write(&target, settings.as_bytes(), 0o644)?;
        report.changed(format!("wrote {}", target.display()));
    }
    Ok(report)
}
