//! `configure`: MAAS's settings, its boot source and selections.

use super::boot_source::Plan;
use super::context::Context;
use super::error::JobError;
use super::report::Report;
use super::{maas_config, wait_for};
use crate::maas::{Client, Complaints};

/// Settings that MAAS takes only when the images are there: import-images sets
/// them.
pub(super) const AFTER_IMPORT: [&str; 4] = [
    "default_osystem",
    "commissioning_distro_series",
    "default_distro_series",
    "default_min_hwe_kernel",
];

/// Sets what differs from the chart's values.
///
/// # Errors
/// [`JobError`].
pub async fn run(context: &Context) -> Result<Report, JobError> {
    let mut report = Report::default();
    let settings = &context.settings;
    // Refused before anything is sent.
    let config = maas_config::read(context, &mut report)?;
    let plan = match settings.boot_source() {
        Ok(_) => Some(Plan::new(context)?),
        Err(missing) if config.is_none() => return Err(missing.into()),
        Err(_) => None,
    };
    let maas = context.maas_with_key().await?;
    if let Some(config) = &config {
        set_all(&maas, config, &mut report).await?;
    }
    if let Some(plan) = plan {
        if settings.mirror().is_ok() {
            wait_for::mirror(context).await?;
        }
        plan.carry_out(context, &maas, &mut report).await?;
    }
    Ok(report)
}

/// Sets what differs. Names that MAAS does not know, and values that it would
/// misread, are found before the first is set.
async fn set_all(
    maas: &Client,
    config: &maas_config::Config,
    report: &mut Report,
) -> Result<(), JobError> {
    let mut changes = Vec::new();
    let mut wrong = Vec::new();
    for (name, value) in config {
        if AFTER_IMPORT.contains(&name.as_str()) {
            report.noted(format!("{name} is left to import-images"));
            continue;
        }
        match maas.config(name).await {
            Ok(now) => match value.change(name, &now) {
                Ok(Some(wanted)) => changes.push((name, wanted)),
                Ok(None) => {}
                Err(error) => wrong.push(error.to_string()),
            },
            Err(error) => match error.complaints() {
                Some(complaints) => wrong.push(refusal(name, complaints)),
                None => return Err(error.into()),
            },
        }
    }
    for (name, wanted) in changes {
        match maas.set_config(name, &wanted).await {
            Ok(()) => verify(maas, name, config, &wanted, report).await?,
            Err(error) => match error.complaints() {
                Some(complaints) => wrong.push(refusal(name, complaints)),
                None => return Err(error.into()),
            },
        }
    }
    if wrong.is_empty() {
        return Ok(());
    }
    Err(JobError::Several {
        reason: "MAAS does not take every setting".to_owned(),
        details: wrong,
        hint: "correct them in conf.maas of the chart's values".to_owned(),
    })
}

/// What MAAS says of a setting; and more, where that helps nobody.
fn refusal(name: &str, complaints: &Complaints) -> String {
    let said = complaints.of(name);
    let advice = match name {
        "maas_url" => "conf.maas.url.maas_url of the chart sets it",
        "tls_port" => "conf.maas.tls of the chart switches TLS on",
        "http_proxy" => "MAAS takes no host without a dot: give its full name or its address",
        "upstream_dns" => "MAAS takes IP addresses alone",
        _ => return similar(name, &said).unwrap_or(said),
    };
    // The list of all settings would hide it.
    let said = said.split(" (valid settings are").next().unwrap_or(&said);
    format!("{}; {advice}", said.trim_end_matches('.'))
}

/// For a name that MAAS does not know and that resembles one that it knows, that
/// one in place of all seventy.
fn similar(name: &str, said: &str) -> Option<String> {
    let (start, list) = said.split_once(" (valid settings are: ")?;
    let known = list.trim_end_matches([')', '.']).split(", ");
    let likeness = |other: &str| strsim::damerau_levenshtein(name, other);
    let nearest = known.min_by_key(|other| likeness(other))?;
    (likeness(nearest) <= 3).then(|| format!("{start} (did you mean {nearest}?)"))
}

/// MAAS keeps some values otherwise than they were given.
async fn verify(
    maas: &Client,
    name: &str,
    config: &maas_config::Config,
    wanted: &str,
    report: &mut Report,
) -> Result<(), JobError> {
    let now = maas.config(name).await?;
    // A value may hold a password, as of a proxy: names alone are shown.
    report.changed(format!("set {name}"));
    let differs = config.get(name).and_then(|value| value.change(name, &now).ok().flatten());
    if differs.is_some() && !wanted.is_empty() {
        tracing::warn!(setting = name, "MAAS keeps another value than it was given");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_says_what_to_do() {
        let list = "is not a valid config setting (valid settings are: ntp_servers, theme).";
        let said = |name: &str, text: &str| {
            refusal(name, &Complaints(vec![(name.to_owned(), text.to_owned())]))
        };
        assert_eq!(
            said("ntp_serverss", &format!("ntp_serverss {list}")),
            "ntp_serverss: ntp_serverss is not a valid config setting (did you mean ntp_servers?)"
        );
        assert_eq!(
            said("nonsense", &format!("nonsense {list}")),
            format!("nonsense: nonsense {list}")
        );
        assert_eq!(
            said("maas_url", &format!("maas_url {list}")),
            "maas_url: maas_url is not a valid config setting; \
             conf.maas.url.maas_url of the chart sets it"
        );
        assert_eq!(
            said("http_proxy", "Enter a valid URL."),
            "http_proxy: Enter a valid URL; MAAS takes no host without a dot: give its full name \
             or its address"
        );
    }
}
