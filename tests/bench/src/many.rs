//! A server with many clients.

use std::time::Instant;

use fixtures::StreamSpec;

use crate::Result;
use crate::client::fetch_many;
use crate::figures::Report;
use crate::rivals::Rival;
use crate::setup::Upstream;

const MANY: usize = 1000;
/// The few that the many are measured against.
const FEW: usize = 8;
/// Of the true size: a squashfs of some 20 MB, so that a round takes seconds.
const SCALE: f64 = 0.052;

/// Memory and speed while 1,000 clients each read one large file, and the
/// speed of 8 clients in the same round. Every answer has to be whole.
pub(crate) fn measure(rounds: usize, report: &mut Report) -> Result<()> {
    let spec = StreamSpec::new().scale(SCALE);
    let stream = spec.build();
    let path = stream.item_paths().into_iter().find(|path| path.ends_with("/squashfs"));
    let path = path.ok_or("the stream has no squashfs")?;
    let size = stream.items.get(&path).ok_or("the stream has no squashfs")?.len();
    let upstream = Upstream::new(&spec)?;
    let store = upstream.store()?;
    let servers =
        [Rival::maas_mirror(&store.path().join("store"))?, Rival::nginx(&upstream.tree())?];
    let path = format!("/images/{path}");
    let mut samples = servers.each_ref().map(|_| [Vec::new(), Vec::new(), Vec::new()]);
    for round in 0..=rounds {
        for (server, [few, many, ratio]) in servers.iter().zip(&mut samples) {
            let speed_of_few = speed(server, &path, size, FEW, MANY / FEW / 4)?;
            let speed_of_many = speed(server, &path, size, MANY, 1)?;
            if round > 0 {
                few.push(speed_of_few);
                many.push(speed_of_many);
                ratio.push(speed_of_many / speed_of_few);
            }
        }
    }
    for (server, [few, many, ratio]) in servers.iter().zip(samples) {
        report.add("20 MB file, 8 clients", server.name, "GB/s", few);
        report.add("20 MB file, 1,000 clients", server.name, "GB/s", many);
        report.add("speed of 1,000 clients / of 8", server.name, "times", ratio);
        report.add("memory with 1,000 clients", server.name, "MB", vec![server.peak_mb()]);
    }
    Ok(())
}

/// GB a second of so many clients at once, so many times one after another.
fn speed(server: &Rival, path: &str, size: u64, clients: usize, times: usize) -> Result<f64> {
    let (started, mut received) = (Instant::now(), 0);
    for _ in 0..times {
        received += fetch_many(&server.address, path, clients)?;
    }
    let due = size * clients as u64 * times as u64;
    if received < due {
        let name = server.name;
        return Err(format!("{name} sent {received} bytes, and {due} were due").into());
    }
    #[allow(clippy::cast_precision_loss, reason = "bytes, for people")]
    let gigabytes = received as f64 / 1e9;
    Ok(gigabytes / started.elapsed().as_secs_f64())
}
