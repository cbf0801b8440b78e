//! `maas-deployer uninstall`.

use std::collections::BTreeMap;
use std::io::{BufRead as _, IsTerminal as _};

use serde_json::{Value, json};

use super::super::failure::{Exit, Failure};
use super::super::job::interrupted;
use super::super::output::Output;
use super::args::UninstallArgs;
use super::{by, progress};
use crate::apply::{ApplyError, Kept, Leftovers, Uninstall};
use crate::cluster::Cluster;
use crate::counted::counted;

pub(super) async fn run(
    args: &UninstallArgs,
    cluster: &Cluster,
    namespace: &str,
    doing: &str,
    output: &Output,
) -> Result<Exit, Failure> {
    let name = &args.release.release;
    let recover = args.recover || args.dry_run;
    let looked = match Uninstall::look(cluster, name, namespace, by(), recover).await {
        Err(error @ ApplyError::Absent { .. }) if args.purge_data => {
            return purge_rest(args, cluster, namespace, doing, output, &error).await;
        }
        looked => looked.map_err(|error| Failure::apply(doing, &error))?,
    };
    let (count, kept) = (looked.count(), looked.kept());
    if args.dry_run {
        tell(output, "would delete", count, &kept, args.purge_data);
        let (kept, purged) = split(kept, args.purge_data);
        show(output, name, namespace, true, count, &kept, &purged);
        return Ok(Exit::Done);
    }
    if !args.yes {
        tell(output, "deletes", count, &kept, args.purge_data);
        ask(name, doing, args.purge_data)?;
    }
    let progress = progress::of(args.progress.progress, output);
    let work = looked.carry_out(args.purge_data, args.timeout, &*progress);
    let result = tokio::select! {
        result = Box::pin(work) => result,
        exit = interrupted() => {
            progress.close();
            output.error("interrupted: run the same command again to go on");
            return Ok(exit);
        }
    };
    progress.close();
    let gone = result.map_err(|error| Failure::apply(doing, &error))?;
    let deleted = counted(gone.deleted, "object");
    output.confirm(&format!("uninstalled {name} from {namespace}: {deleted} deleted"));
    told(output, &gone.kept, &gone.purged);
    let later = Leftovers::look(cluster, name, namespace).await.map(|rest| rest.kept());
    further(output, name, namespace, &gone.kept, &later.unwrap_or_default());
    show(output, name, namespace, false, gone.deleted, &gone.kept, &gone.purged);
    Ok(Exit::Done)
}

/// Purges what an uninstall kept: the release itself is not there, which is an `error` where
/// nothing of it is.
async fn purge_rest(
    args: &UninstallArgs,
    cluster: &Cluster,
    namespace: &str,
    doing: &str,
    output: &Output,
    error: &ApplyError,
) -> Result<Exit, Failure> {
    let name = &args.release.release;
    let failed = |error: &ApplyError| Failure::apply(doing, error);
    let rest = Leftovers::look(cluster, name, namespace).await.map_err(|error| failed(&error))?;
    let found = rest.kept();
    if found.is_empty() {
        return Err(failed(error));
    }
    if args.dry_run || !args.yes {
        let verb = if args.dry_run { "would delete" } else { "deletes" };
        output.error(&format!(
            "{name} is not installed in {namespace}; {verb} what an uninstall kept"
        ));
        tell_data(output, verb, &found);
    }
    if args.dry_run {
        show(output, name, namespace, true, 0, &Kept::default(), &found);
        return Ok(Exit::Done);
    }
    if !args.yes {
        ask(name, doing, true)?;
        // Somebody may have installed it anew while nobody answered.
        let again = Uninstall::look(cluster, name, namespace, by(), false).await;
        let rest_again = Leftovers::look(cluster, name, namespace).await;
        let is_same = rest_again.is_ok_and(|rest| rest.kept() == found);
        if !matches!(again, Err(ApplyError::Absent { .. })) || !is_same {
            let reason = "what is there has changed since it was shown";
            return Err(Failure::refused(doing, reason, "run it again"));
        }
    }
    let result = tokio::select! {
        result = Box::pin(rest.delete(args.timeout)) => result,
        exit = interrupted() => {
            output.error("interrupted: run the same command again to go on");
            return Ok(exit);
        }
    };
    result.map_err(|error| failed(&error))?;
    output.confirm(&format!("purged what {name} left in {namespace}"));
    told(output, &Kept::default(), &found);
    show(output, name, namespace, false, 0, &Kept::default(), &found);
    Ok(Exit::Done)
}

/// What is left, and what is not.
fn told(output: &Output, kept: &Kept, purged: &Kept) {
    for (mark, list) in [("kept", kept), ("purged", purged)] {
        for what in list.volumes.iter().chain(&list.secrets).chain(&list.objects) {
            output.confirm(&format!("{mark}: {what}"));
        }
    }
    for what in &kept.unsure {
        output
            .confirm(&format!("kept: {what}, which has the release's label and may be another's"));
    }
}

/// What can be done with what was kept: `later` is what a purge would find without the record.
fn further(output: &Output, name: &str, namespace: &str, kept: &Kept, later: &Kept) {
    if kept.volumes.is_empty() && kept.secrets.is_empty() {
        return;
    }
    output
        .confirm("an install of the same name goes on with what was kept; where nobody needs it:");
    if !later.is_empty() {
        output.confirm(&format!("  maas-deployer uninstall {name} -n {namespace} --purge-data"));
    }
    for (kind, kept, later) in
        [("pvc", &kept.volumes, &later.volumes), ("secret", &kept.secrets, &later.secrets)]
    {
        let rest: Vec<String> = kept.iter().filter(|one| !later.contains(one)).cloned().collect();
        deletion(kind, &rest).iter().for_each(|command| output.confirm(command));
    }
}

/// The commands that delete what was kept of a kind, of which each is `KIND NAMESPACE/NAME`.
fn deletion(kind: &str, kept: &[String]) -> Vec<String> {
    let mut spaces: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for shown in kept {
        let place = shown.rsplit(' ').next().and_then(|place| place.split_once('/'));
        if let Some((space, name)) = place {
            spaces.entry(space).or_default().push(name);
        }
    }
    let command = |(space, names): (_, Vec<&str>)| {
        format!("  kubectl -n {space} delete {kind} {}", names.join(" "))
    };
    spaces.into_iter().map(command).collect()
}

fn split(mut kept: Kept, purge: bool) -> (Kept, Kept) {
    let mut purged = Kept::default();
    if purge {
        purged.volumes = std::mem::take(&mut kept.volumes);
        purged.secrets = std::mem::take(&mut kept.secrets);
    }
    (kept, purged)
}

/// On stderr, as it is there to be answered or read, not to be parsed.
fn tell(output: &Output, verb: &str, count: usize, kept: &Kept, purge: bool) {
    output.error(&format!("{verb} {}", counted(count, "object")));
    tell_data(output, if purge { verb } else { "keeps" }, kept);
    for what in &kept.objects {
        output.error(&format!("  keeps: {what}"));
    }
    for what in &kept.unsure {
        output
            .error(&format!("  keeps: {what}, which has the release's label and may be another's"));
    }
}

fn tell_data(output: &Output, verb: &str, kept: &Kept) {
    for what in kept.volumes.iter().chain(&kept.secrets) {
        output.error(&format!("  {verb}: {what}"));
    }
}

/// Asks; without a terminal nobody can answer.
fn ask(name: &str, doing: &str, purge: bool) -> Result<(), Failure> {
    let refused = |reason: &str| Err(Failure::refused(doing, reason, "say it with --yes"));
    if !std::io::stdin().is_terminal() {
        return refused("it is not confirmed, and there is no terminal to ask on");
    }
    let what = if purge { format!("{name} and its data") } else { name.to_owned() };
    let question = format!("Delete {what}? Type the release's name: ");
    let _ = std::io::Write::write_all(&mut std::io::stderr(), question.as_bytes());
    let mut answer = String::new();
    let read = std::io::stdin().lock().read_line(&mut answer);
    if read.is_err() || answer.trim() != name {
        return refused("it was not confirmed");
    }
    Ok(())
}

fn show(
    output: &Output,
    name: &str,
    namespace: &str,
    dry_run: bool,
    deleted: usize,
    kept: &Kept,
    purged: &Kept,
) {
    output.json(&json!({
        "schema": "maas-deployer/uninstall/1",
        "release": name,
        "namespace": namespace,
        "dry_run": dry_run,
        "deleted": deleted,
        "kept": listed(kept),
        "purged": listed(purged),
    }));
}

fn listed(kept: &Kept) -> Value {
    json!({"volumes": kept.volumes, "secrets": kept.secrets, "objects": kept.objects,
        "unsure": kept.unsure})
}
