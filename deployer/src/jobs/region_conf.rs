//! `region-conf`: MAAS's own configuration of its database.

use std::path::{Path, PathBuf};

use super::context::Context;
use super::error::JobError;
use super::files;
use super::report::Report;
use crate::secret::Secret;

/// Where it is written unless told otherwise.
#[must_use]
pub fn default_path(context: &Context) -> PathBuf {
    context.mounts.path("region/regiond.conf")
}

/// Writes `regiond.conf` to `path`, whole or not at all, for its owner and
/// group alone.
///
/// # Errors
/// [`JobError`].
pub fn run(context: &Context, path: &Path) -> Result<Report, JobError> {
    let mut report = Report::default();
    context.settings.region()?;
    let content = content(context)?;
    if files::read(path)?.as_deref() == Some(content.expose().as_bytes()) {
        report.noted(format!("{} is as it should be", path.display()));
    } else {
        files::write(path, content.expose().as_bytes(), 0o640)?;
        report.changed(format!("wrote {}", path.display()));
    }
    Ok(report)
}

/// The file's content.
pub(super) fn content(context: &Context) -> Result<Secret, JobError> {
    let database = context.settings.database()?;
    let user = context.mounts.database_user()?;
    let mut lines = vec![
        format!("database_host: {}", yaml(&database.host)),
        format!("database_name: {}", yaml(&database.name)),
        format!("database_pass: {}", yaml(user.password.expose())),
        format!("database_port: {}", database.port),
        format!("database_user: {}", yaml(&user.username)),
    ];
    // Jobs that work on the database alone are told of no region.
    if let Ok(region) = context.settings.region() {
        lines.push(format!("maas_url: {}", yaml(region.maas_url())));
        lines.extend(region.workers.map(|workers| format!("num_workers: {workers}")));
    }
    Ok(Secret::new(format!("{}\n", lines.join("\n"))))
}

/// `text` as a YAML scalar in double quotes. What YAML's parsers refuse raw, or
/// take for a line break, is escaped.
fn yaml(text: &str) -> String {
    let mut quoted = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => {
                quoted.push('\\');
                quoted.push(c);
            }
            ' '..='~' => quoted.push(c),
            '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}' | '\0'..='\u{9f}' => {
                quoted.push_str(&format!("\\u{:04x}", u32::from(c)));
            }
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_text_stays_one_scalar() {
        assert_eq!(yaml("maas"), "\"maas\"");
        assert_eq!(yaml("no: #1 'x' \"y\" \\z"), "\"no: #1 'x' \\\"y\\\" \\\\z\"");
        assert_eq!(yaml("ä😀\u{2028}\u{85}"), "\"ä😀\\u2028\\u0085\"");
        assert_eq!(yaml(""), "\"\"");
    }
}
