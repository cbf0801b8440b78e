//! Bundles, beside `tar` and `sha256sum`.

use std::path::Path;
use std::process::Command;

use fixtures::StreamSpec;

use crate::Result;
use crate::figures::Report;
use crate::process::{Cost, maas_mirror, measure};
use crate::setup::Upstream;

/// `export` beside `tar cf` of the same files and then `sha256sum` of the
/// archive, and `import` beside `tar xf` and then `sha256sum` of the files, in
/// turn; and the size of a delta for one changed kernel.
pub(crate) fn compare(rounds: usize, scale: f64, report: &mut Report) -> Result<()> {
    // About 1 GB at full scale.
    let upstream = Upstream::new(&StreamSpec::new().scale(scale * 2.2))?;
    let store = upstream.store()?;
    let store = store.path().join("store");
    let mut export = [Vec::new(), Vec::new()];
    let mut import = [Vec::new(), Vec::new()];
    let mut peaks = [0.0_f64; 2];
    for round in 0..=rounds {
        let folder = tempfile::tempdir()?;
        let path = |name: &str| folder.path().join(name);
        let out = [
            measure(&mut exported(&store, &path("x.tar"))?)?,
            measure(&mut shell(
                &format!("tar cf y.tar -C {} . && sha256sum y.tar", store.display()),
                folder.path(),
            ))?,
        ];
        std::fs::create_dir(path("tree"))?;
        let back = [
            measure(&mut imported(&upstream, &path("x.tar"), &path("store"))?)?,
            measure(&mut shell(
                "tar xf y.tar -C tree && find tree -type f -exec sha256sum {} +",
                folder.path(),
            ))?,
        ];
        peaks = [peaks[0].max(out[0].peak_mb), peaks[1].max(back[0].peak_mb)];
        // The first round warms caches and is not counted.
        if round > 0 {
            push(&mut export, out);
            push(&mut import, back);
        }
    }
    let rows = [
        ("export of 1 GB", ["maas-mirror", "tar, sha256sum"], export),
        ("import of 1 GB", ["maas-mirror", "tar, sha256sum"], import),
    ];
    for (what, programs, samples) in rows {
        for (program, samples) in programs.iter().zip(samples) {
            report.add(what, program, "s", samples);
        }
    }
    report.add("memory of an export of 1 GB", "maas-mirror", "MB", vec![peaks[0]]);
    report.add("memory of an import of 1 GB", "maas-mirror", "MB", vec![peaks[1]]);
    Ok(())
}

fn push(samples: &mut [Vec<f64>; 2], costs: [Cost; 2]) {
    for (samples, cost) in samples.iter_mut().zip(costs) {
        samples.push(cost.wall.as_secs_f64());
    }
}

fn exported(store: &Path, target: &Path) -> Result<Command> {
    let mut command = Command::new(maas_mirror()?);
    command.arg("export").arg(target).arg("--store").arg(store);
    Ok(command)
}

fn imported(upstream: &Upstream, bundle: &Path, store: &Path) -> Result<Command> {
    let mut command = Command::new(maas_mirror()?);
    command.arg("import").arg(bundle).arg("--store").arg(store);
    command.arg("--keyring").arg(upstream.keyring());
    Ok(command)
}

fn shell(script: &str, folder: &Path) -> Command {
    let mut command = Command::new("sh");
    command.args(["-ec", script]).current_dir(folder);
    command
}
