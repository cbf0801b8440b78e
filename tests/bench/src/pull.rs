//! Items that are pulled through.

use std::path::Path;
use std::process::Command;

use fixtures::{Server as Fixture, Stream, StreamSpec};

use crate::Result;
use crate::client::{first_byte, get};
use crate::figures::Report;
use crate::process::{Server, maas_mirror, measure as run};
use crate::setup::Upstream;

const CLIENTS: usize = 50;

/// A tenth of the true size: 18 MB.
const SCALE: f64 = 0.1;

/// What both figures need: an upstream, and a mirror of it that holds the
/// manifests alone.
struct Scene {
    stream: Stream,
    fixture: Fixture,
    server: Server,
    /// The squashfs of each version.
    items: Vec<String>,
    _folders: (Upstream, tempfile::TempDir),
}

impl Scene {
    fn set(versions: usize) -> Result<Self> {
        let spec = StreamSpec::new().bootloaders(false).version_count(versions).scale(SCALE);
        let (upstream, stream) = (Upstream::new(&spec)?, spec.build());
        // One of its own, which counts requests.
        let fixture = Fixture::start(upstream.tree())?;
        let folder = tempfile::tempdir()?;
        let (store, url, keyring) =
            (folder.path().join("store"), fixture.url(), upstream.keyring());
        run(&mut sync(&store, &url, &keyring)?)?;
        let mut options = vec!["--pull-through", "--once", "--upstream", &url, "--keyring"];
        let keyring = keyring.to_str().ok_or("a path that is no text")?;
        options.extend([keyring, "--max-versions", "all", "ftype=manifest"]);
        let options: Vec<_> = options.iter().map(std::ffi::OsStr::new).collect();
        let server = Server::maas_mirror_with(store.as_os_str(), &options)?;
        // This waits until the server knows what is listed.
        let _ = crate::client::get_status(&server.address, "/images/nothing")?;
        let items = stream.item_paths().into_iter().filter(|path| path.ends_with("/squashfs"));
        let items = items.collect();
        Ok(Self { items, stream, fixture, server, _folders: (upstream, folder) })
    }
}

fn sync(store: &Path, url: &str, keyring: &Path) -> Result<Command> {
    let mut command = Command::new(maas_mirror()?);
    command.arg("sync").arg("--store").arg(store).args(["--upstream", url, "--keyring"]);
    command.arg(keyring).args(["--max-versions", "all", "ftype=manifest"]);
    Ok(command)
}

/// The first byte of an item that is not held, beside upstream's own; and 50
/// clients at once for another.
pub(crate) fn measure(rounds: usize, report: &mut Report) -> Result<()> {
    let scene = Scene::set(rounds + 2)?;
    let upstream = scene.fixture.address().to_string();
    let (mut ours, mut theirs, mut later) = (Vec::new(), Vec::new(), Vec::new());
    let (Some(first), Some(cold)) = (scene.items.first(), scene.items.get(1..=rounds)) else {
        return Err("the stream has too few versions".into());
    };
    // The first is for warming up.
    get(&scene.server.address, &format!("/images/{first}"))?;
    for item in cold {
        // Read once, so that upstream's disk plays no part.
        get(&upstream, &format!("/{item}"))?;
        let direct = first_byte(&upstream, &format!("/{item}"))?.as_secs_f64() * 1000.0;
        let pulled = first_byte(&scene.server.address, &format!("/images/{item}"))?;
        let pulled = pulled.as_secs_f64() * 1000.0;
        theirs.push(direct);
        ours.push(pulled);
        later.push(pulled - direct);
    }
    let what = "first byte of an item not held";
    report.add(what, "maas-mirror", "ms", ours);
    report.add(what, "upstream itself", "ms", theirs);
    report.add("the same, later than upstream by", "maas-mirror", "ms", later);
    many(&scene, report)
}

fn many(scene: &Scene, report: &mut Report) -> Result<()> {
    let item = scene.items.last().ok_or("the stream has no squashfs")?;
    let content = scene.stream.content(item)?;
    let (address, url) = (scene.server.address.as_str(), format!("/images/{item}"));
    scene.fixture.clear_log();
    let whole = std::thread::scope(|scope| {
        let fetch = || get(address, &url).is_ok_and(|body| body == content);
        let clients: Vec<_> = (0..CLIENTS).map(|_| scope.spawn(fetch)).collect();
        clients.into_iter().filter_map(|client| client.join().ok()).filter(|whole| *whole).count()
    });
    #[allow(clippy::cast_precision_loss, reason = "small numbers")]
    let (asked, whole) = (scene.fixture.count(item) as f64, whole as f64);
    report.add("50 clients of one item not held, asked", "maas-mirror", "upstream", vec![asked]);
    report.add("50 clients of one item not held, whole", "maas-mirror", "clients", vec![whole]);
    Ok(())
}
