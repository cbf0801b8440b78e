//! A server with many clients.

use std::time::Instant;

use fixtures::StreamSpec;

use crate::Result;
use crate::client::fetch_many;
use crate::figures::Report;
use crate::process::Server;
use crate::setup::Upstream;

const CLIENTS: usize = 200;

/// Memory and speed while 200 clients each read one large file (a squashfs of
/// a quarter of the true size, so that a run takes seconds).
pub(crate) fn measure(report: &mut Report) -> Result<()> {
    let spec = StreamSpec::new().scale(0.25);
    let stream = spec.build();
    let path = stream.item_paths().into_iter().find(|path| path.ends_with("/squashfs"));
    let path = path.ok_or("the stream has no squashfs")?;
    let size = stream.content(&path)?.len() as u64;
    let store = Upstream::new(&spec)?.store()?;
    let server = Server::maas_mirror(store.path().join("store").as_os_str())?;
    let started = Instant::now();
    let received = fetch_many(&server.address, &format!("/images/{path}"), CLIENTS)?;
    let seconds = started.elapsed().as_secs_f64();
    if received < size * CLIENTS as u64 {
        return Err(format!("{received} bytes came, and {CLIENTS} times {size} were due").into());
    }
    #[allow(clippy::cast_precision_loss, reason = "bytes, for people")]
    let speed = received as f64 / 1e9 / seconds;
    report.add("200 clients of a large file, memory", "maas-mirror", "MB", vec![server.peak_mb()]);
    report.add("200 clients of a large file, speed", "maas-mirror", "GB/s", vec![speed]);
    Ok(())
}
