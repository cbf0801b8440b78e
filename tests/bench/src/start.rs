//! How soon a server answers.

use std::time::Instant;

use fixtures::StreamSpec;

use crate::Result;
use crate::client::get_status;
use crate::figures::Report;
use crate::process::Server;
use crate::setup::Upstream;

/// Items in the snapshot.
const ITEMS: usize = 10_000;

/// From the start of the process to its first answer, on a snapshot of 10,000
/// items.
pub(crate) fn measure(rounds: usize, report: &mut Report) -> Result<()> {
    let store = Upstream::new(&StreamSpec::items(ITEMS))?.store()?;
    let (mut listening, mut answered) = (Vec::new(), Vec::new());
    for round in 0..=rounds {
        let started = Instant::now();
        let server = Server::maas_mirror(store.path().join("store").as_os_str())?;
        let status = get_status(&server.address, "/images/streams/v1/index.sjson")?;
        let elapsed = started.elapsed();
        if status != "HTTP/1.1 200 OK" {
            return Err(format!("the first answer was '{status}'").into());
        }
        if round > 0 {
            listening.push(server.ready_after.as_secs_f64() * 1000.0);
            answered.push(elapsed.as_secs_f64() * 1000.0);
        }
    }
    report.add("start on 10,000 items, to listening", "maas-mirror", "ms", listening);
    report.add("start on 10,000 items, to first answer", "maas-mirror", "ms", answered);
    Ok(())
}
