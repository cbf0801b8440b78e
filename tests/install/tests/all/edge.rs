//! A second release, unlike the first in all that can be: a database server that is not the
//! chart's, no way to any upstream, two regions, no rack, and the mistakes that people make. Helm installs it,
//! and then the deployer and Helm take turns.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use base64::Engine as _;
use e2e::Mirror;
use fixtures::SigningKey;
use install_tests::{Database, Forward, Kube, Output, Release, Site, Tool, eventually};
use serde_json::{Value, json};

use crate::installed::{complete_images, maas};
use crate::upgrades::{migrated_once, of_version, revision_of};

/// The operator's own Secret with the administrator of the database server.
const ADMIN: &str = "our-database";
/// How long the API may be silent while one of two regions is gone: until Kubernetes sends nobody
/// to it any more.
const SILENCE: Duration = Duration::from_secs(30);

/// The release, and what it has instead of an upstream and a database of its own.
#[derive(Debug)]
pub(crate) struct Edge {
    release: Release,
    database: Database,
    bundle: PathBuf,
}

impl Edge {
    /// A release that is not installed yet, and a bundle for its mirrors.
    pub(crate) fn new(site: &Site) -> Self {
        Kube::remove(site, "edge");
        let release = Release::new(site, "edge", "edge");
        let database = Database::start(site, "edge-database");
        let bundle = release.folder().join("images.tar");
        let url = release.upstream.url();
        Mirror::new(["export", "--from", &url, "--release", "xenial,noble", "--arch", "amd64"])
            .arg("--keyring")
            .arg(release.keyring())
            .arg(&bundle)
            .run()
            .expect(0);
        release.upstream.clear_log();
        let edge = Self { release, database, bundle };
        std::fs::write(edge.values_file(), edge.values().to_string()).expect("values");
        edge
    }

    pub(crate) fn kube(&self) -> &Kube {
        &self.release.kube
    }

    /// What differs from the first release.
    fn values(&self) -> Value {
        json!({
            "postgresql": { "enabled": false },
            "secrets": { "maas_db": { "admin": ADMIN } },
            "endpoints": { "maas_db": {
                "host_fqdn_override": { "default": self.database.host() },
                "tls": { "mode": "verify-full", "ca": self.database.ca_pem },
            } },
            "conf": { "cache": { "upstream": "" } },
            "pod": { "replicas": { "region": 2 } },
            "manifests": {
                "network_policy": true,
                "rack_statefulset": false,
                "syslog_service": false,
                "syslog_statefulset": false,
            },
        })
    }

    fn values_file(&self) -> PathBuf {
        self.release.folder().join("edge.json")
    }

    /// Arguments of either tool: this release's values, and `set` besides.
    fn args(&self, set: &[&str]) -> Vec<String> {
        let mut args = vec!["--values".to_owned(), self.values_file().display().to_string()];
        for setting in set {
            args.extend(["--set".to_owned(), (*setting).to_owned()]);
        }
        args
    }

    /// An install or upgrade that does not wait for what it starts.
    fn start(&self, by: Tool, verb: &str, set: &[&str]) -> Output {
        let args = self.args(set);
        self.release.start(by, verb, &args.iter().map(String::as_str).collect::<Vec<_>>())
    }

    /// One that waits for all.
    fn apply(&self, by: Tool, verb: &str, set: &[&str]) -> Output {
        let args = self.args(set);
        self.release.apply(by, verb, &args.iter().map(String::as_str).collect::<Vec<_>>())
    }

    fn regions(&self) -> [String; 2] {
        [0, 1].map(|number| format!("{}-{number}", self.release.object("region")))
    }

    /// Waits until both regions are as the last upgrade wants them, and ready; gives their UIDs.
    #[track_caller]
    fn ready(&self) -> [String; 2] {
        let regions = format!("statefulset/{}", self.release.object("region"));
        self.kube().ok(&["rollout", "status", &regions, "--timeout", "5m"]);
        self.regions().map(|region| self.kube().ready(&region, None))
    }

    /// What NOTES says of bringing images to the mirrors, typed with this bundle; after so many
    /// seconds it ends with code 124.
    #[track_caller]
    fn import(&self, seconds: u32) -> Output {
        let commands = self.release.notes("maas-mirror import");
        let [command] = &commands[..] else { panic!("{commands:?}") };
        let bundle = self.bundle.display().to_string();
        self.release.type_in(&command.replace("BUNDLE", &bundle), seconds)
    }

    /// Whether the API answers at the Service's own address, within seconds.
    fn answers(&self) -> bool {
        let service = self.kube().get(&["service", &self.release.object("region")]);
        let url = service.and_then(|service| {
            let address = service["spec"]["clusterIP"].as_str()?.to_owned();
            Some(format!("http://{address}/MAAS/api/2.0/version/"))
        });
        let mut curl = std::process::Command::new("curl");
        curl.args(["--silent", "--fail", "--noproxy", "*", "--max-time", "5"]);
        install_tests::run(curl.arg(url.expect("the Service")), b"").stdout.contains("3.6.4")
    }

    /// Waits until the log of a Job's container, of any of its pods, has all of these.
    #[track_caller]
    fn told(&self, job: &str, container: &str, words: &[&str]) {
        let selector = self.release.selector(Some(job));
        let mut log = String::new();
        let args = ["logs", "--tail=-1", "--selector", &selector, "--container", container];
        eventually(&format!("{words:?} in the log of {job}"), || {
            log = self.kube().run(&args).stdout;
            words.iter().all(|word| log.contains(word)).then_some(())
        });
    }

    #[track_caller]
    fn assert_images(&self, names: &[&str]) {
        let maas = maas(&self.release);
        let complete = eventually("boot resources", || complete_images(&maas));
        assert_eq!(complete, names);
        let requests = self.release.upstream.requests();
        assert!(requests.is_empty(), "the air gap leaks: {requests:?}");
    }
}

fn keyring(file: &Path) -> String {
    keyring_of(&std::fs::read(file).expect("keyring"))
}

fn keyring_of(bytes: &[u8]) -> String {
    let text = base64::engine::general_purpose::STANDARD.encode(bytes);
    format!("conf.cache.keyring.data={text}")
}

/// The password of the database's administrator is wrong, and so is the keyring, which shows
/// later. The bound of waits is short, so that the failure shows soon.
pub(crate) fn wrong_password(edge: &Edge) {
    let login = json!({ "DATABASE_USERNAME": "postgres", "DATABASE_PASSWORD": "a-wrong-one" });
    edge.kube().set_secret(ADMIN, &login);
    edge.start(Tool::Helm, "install", &["jobs.wait_timeout=15s"]).expect("helm install");
    // `get pods`, as NOTES says, and the log of what failed.
    let selector = edge.release.selector(Some("db-init"));
    eventually("db-init to fail", || {
        let pods = edge.kube().get(&["pods", "--selector", &selector])?;
        let mut ended = pods["items"].as_array()?.iter().filter_map(|pod| {
            pod["status"]["initContainerStatuses"][0]["state"]["terminated"]["exitCode"].as_i64()
        });
        ended.next().map(|code| assert_eq!(code, 1))
    });
    edge.told("db-init", "wait", &[&edge.database.host(), "does not accept the password"]);
    // Helm says no more than that. The deployer ends with the first job that fails, and says why.
    let short = ["jobs.wait_timeout=5s", "jobs.backoff_limit=0"];
    let told = edge.apply(Tool::Deployer, "upgrade", &short).expect_exit(1, "a wrong password");
    for part in ["Job edge-maas-", "does not accept the password", "kubectl -n edge logs "] {
        assert!(told.contains(part), "no {part}: {told}");
    }
    let databases = edge.database.sql("postgres", "SELECT datname FROM pg_database");
    assert!(!databases.contains("maasdb"), "{databases}");
}

/// The password is mended, and the next upgrade goes on. The keyring is not that of the images.
pub(crate) fn wrong_keyring(edge: &Edge) {
    let login = json!({
        "DATABASE_USERNAME": "postgres", "DATABASE_PASSWORD": edge.database.password,
    });
    edge.kube().set_secret(ADMIN, &login);
    let other = SigningKey::generate("Other <other@example.org>").expect("key");
    let other = keyring_of(other.keyring());
    edge.start(Tool::Deployer, "upgrade", &[&other]).expect("maas-deployer upgrade");
    edge.ready();
    let output = edge.import(20);
    assert!(output.stderr.contains("name its keyring with --keyring"), "{output:?}");
    // containerd 1.6 never ends an exec whose program ended with input left: `timeout` does.
    assert!(matches!(output.code, Some(4 | 124)), "{output:?}");
}

/// The keyring is mended; images come by a file, as NOTES says, and MAAS imports them from there.
/// MAAS speaks to its database over TLS alone.
pub(crate) fn air_gap(edge: &Edge) {
    edge.start(Tool::Helm, "upgrade", &[]).expect("helm upgrade");
    edge.ready();
    edge.import(120).expect("maas-mirror import");
    for region in edge.regions() {
        let pod = format!("pod/{region}");
        let forward = eventually("a way to the mirror", || Forward::to(edge.kube(), &pod, 8888));
        // What serves sees a moment later what was imported.
        eventually(&format!("the mirror of {region} to serve it"), || {
            let ready = e2e::http::request(forward.address(), "GET", "/readyz", &[]).ok()?;
            (ready.status == 200).then_some(())
        });
    }
    edge.kube().complete(&edge.release.object("configure"));
    edge.kube().complete(&edge.release.object("import-images"));
    edge.assert_images(&["ubuntu/noble", "ubuntu/xenial"]);
    let encrypted = "SELECT count(*) > 0 AND bool_and(ssl) FROM pg_stat_ssl \
                     JOIN pg_stat_activity USING (pid) WHERE usename = 'maas'";
    assert_eq!(edge.database.sql("maasdb", encrypted), "t");
}

/// MAAS knows both, and one is enough.
pub(crate) fn two_regions(edge: &Edge) {
    let [first, second] = edge.regions();
    let before = edge.ready();
    let maas = maas(&edge.release);
    eventually("both regions in MAAS", || {
        let regions = maas.get("regioncontrollers/")?;
        let mut names: Vec<_> =
            regions.as_array()?.iter().map(|one| one["hostname"].clone()).collect();
        names.sort_by_key(ToString::to_string);
        (names == [json!(first), json!(second)]).then_some(())
    });
    edge.kube().ok(&["delete", "pod", &first, "--grace-period=0", "--force"]);
    let (mut answered, mut answers) = (Instant::now(), 0);
    eventually("the first region to be back", || {
        if edge.answers() {
            (answered, answers) = (Instant::now(), answers + 1);
        }
        assert!(answered.elapsed() < SILENCE, "no answer for {SILENCE:?}, one region down");
        let pod = edge.kube().get(&["pod", &first])?;
        let conditions = pod["status"]["conditions"].as_array()?;
        conditions.iter().any(|c| c["type"] == "Ready" && c["status"] == "True").then_some(())
    });
    assert!(answers > 1, "{answers} answers while a region was down");
    let after = edge.ready();
    assert_ne!(after[0], before[0]);
    assert_eq!(after[1], before[1]);
}

/// What the upgrade that brings another password, and all after it, have to say.
const REVISION: &str = "secrets.maas_db.revision=2";

/// Another password of MAAS's role, on a server that is not the chart's, in one upgrade.
pub(crate) fn another_password(edge: &Edge) {
    let (secret, before) = (edge.release.object("db-user"), edge.ready());
    let old = edge.kube().secret(&secret, "DATABASE_PASSWORD").expect("the Secret");
    let lets_in = |password: &str| edge.database.lets_in("maas", password, "maasdb");
    edge.kube().set_secret(&secret, &json!({ "DATABASE_PASSWORD": "changed-by-hand" }));
    assert!(lets_in(&old) && !lets_in("changed-by-hand"));
    edge.apply(Tool::Deployer, "upgrade", &[REVISION]).expect("maas-deployer upgrade");
    assert!(lets_in("changed-by-hand") && !lets_in(&old));
    let after = edge.ready();
    edge.apply(Tool::Helm, "upgrade", &[REVISION]).expect("helm upgrade");
    assert_eq!(edge.ready(), after);
    assert!(after[0] != before[0] && after[1] != before[1], "{before:?} {after:?}");
    edge.assert_images(&["ubuntu/noble", "ubuntu/xenial"]);
}

/// Images that the registry does not have: the regions that run go on.
pub(crate) fn missing_image(edge: &Edge) {
    let before = edge.ready();
    // The region's, which a hook runs first: nothing is changed.
    let missing = edge.release.site.image("maas-region-controller", "none");
    let tag = format!("images.tags.maas_region={missing}");
    let args = edge.args(&[REVISION, &tag]);
    let mut args: Vec<&str> = args.iter().map(String::as_str).collect();
    args.extend(["--timeout", "20s"]);
    let told = edge.release.start(Tool::Helm, "upgrade", &args).expect_exit(1, "helm upgrade");
    assert!(told.contains("pre-upgrade hooks failed"), "{told}");
    let told = edge.apply(Tool::Deployer, "upgrade", &[REVISION, &tag]).expect_exit(1, "no image");
    assert!(told.contains("ImagePullBackOff") && told.contains(&missing), "{told}");
    assert_eq!(edge.ready(), before);
    // The mirror's: the last region waits for it.
    let missing = edge.release.site.image("maas-mirror", "none");
    let tag = format!("images.tags.maas_cache={missing}");
    let told = edge.apply(Tool::Deployer, "upgrade", &[REVISION, &tag]).expect_exit(1, "no image");
    let [first, second] = edge.regions();
    for part in [&*format!("pod {second}"), "ImagePullBackOff", &missing] {
        assert!(told.contains(part), "no {part}: {told}");
    }
    assert_eq!(edge.kube().ready(&first, None), before[0]);
    assert!(edge.answers(), "the region that is left does not answer");
}

/// What is set from here on: the mirror's image with a store baked in, signed by another key, with
/// one release more.
fn settled(edge: &Edge) -> Vec<String> {
    let image = edge.release.site.image("maas-mirror", "baked");
    let file = PathBuf::from(std::env::var_os("BAKED_KEYRING").expect("BAKED_KEYRING is set"));
    vec![
        REVISION.to_owned(),
        format!("images.tags.maas_cache={image}"),
        "conf.cache.baked=true".to_owned(),
        "conf.maas.images.releases={jammy}".to_owned(),
        keyring(&file),
    ]
}

/// [`settled`], `more`, and MAAS of a version.
fn of(edge: &Edge, by: Tool, verb: &str, more: &[&str], version: &str) -> Output {
    let settings = [settled(edge), of_version(&edge.release, version)].concat();
    let settings: Vec<&str> =
        settings.iter().map(String::as_str).chain(more.iter().copied()).collect();
    edge.apply(by, verb, &settings)
}

const IMAGES: [&str; 3] = ["ubuntu/jammy", "ubuntu/noble", "ubuntu/xenial"];

/// An image that is there: the next upgrade is all that is needed.
pub(crate) fn baked(edge: &Edge) {
    of(edge, Tool::Deployer, "upgrade", &[], "3.6.4").expect("maas-deployer upgrade");
    edge.ready();
    edge.assert_images(&IMAGES);
}

/// Two regions, one schema.
pub(crate) fn newer(edge: &Edge) {
    let before = edge.ready();
    of(edge, Tool::Helm, "upgrade", &[], "3.7.3").expect("helm upgrade");
    let after = edge.ready();
    assert!(after[0] != before[0] && after[1] != before[1], "{before:?} {after:?}");
    migrated_once(|statement| edge.database.sql("maasdb", statement));
    edge.assert_images(&IMAGES);
}

/// To an older MAAS, which is refused, and to the same, which restarts nothing; each by both tools,
/// each of which meets what the other left.
pub(crate) fn rollbacks(edge: &Edge) {
    let (release, before) = (&edge.release, edge.ready());
    let older = revision_of(release, "3.6.4");
    let told = release.rollback(Tool::Deployer, &older).expect_exit(5, "an older MAAS");
    assert!(told.contains("the database was used by MAAS 3.7.3"), "{told}");
    let refused = release.rollback(Tool::Helm, &older);
    assert!(!refused.success, "{}", refused.stdout);
    let log = edge.kube().logs(&release.object("quiesce"));
    assert!(log.contains("the database was used by MAAS 3.7.3"), "{log}");
    // Helm leaves that pending. It is told, and given up where that is wanted.
    assert_eq!(release.revision().1, "pending-rollback");
    let told =
        of(edge, Tool::Deployer, "upgrade", &[], "3.7.3").expect_exit(5, "a pending release");
    assert!(told.contains("is pending-rollback since") && told.contains("--recover"), "{told}");
    assert_eq!(edge.ready(), before);
    let settings = [settled(edge), of_version(release, "3.7.3")].concat();
    let args = edge.args(&settings.iter().map(String::as_str).collect::<Vec<_>>());
    let args: Vec<&str> = args.iter().map(String::as_str).chain(["--recover"]).collect();
    release.apply(Tool::Deployer, "upgrade", &args).expect("maas-deployer upgrade --recover");
    let same = revision_of(release, "3.7.3");
    for by in [Tool::Helm, Tool::Deployer, Tool::Helm] {
        release.rollback(by, &same).expect("rollback");
        assert_eq!(edge.ready(), before, "{by:?}");
    }
    edge.assert_images(&IMAGES);
}

/// What the other tool uninstalled finds its data.
pub(crate) fn again(edge: &Edge) {
    let release = &edge.release;
    let key = edge.kube().secret(&release.object("api-key"), "token");
    uninstalled(edge, Tool::Helm);
    of(edge, Tool::Deployer, "install", &[], "3.7.3").expect("maas-deployer install");
    edge.ready();
    assert_eq!(edge.kube().secret(&release.object("api-key"), "token"), key);
    edge.assert_images(&IMAGES);
}

/// MAAS would wait for the region that is no more, and import nothing.
pub(crate) fn one_region_less(edge: &Edge) {
    let [first, _] = edge.regions();
    let before = edge.kube().ready(&first, None);
    let less = of(edge, Tool::Helm, "upgrade", &["pod.replicas.region=1"], "3.7.3");
    less.expect("helm upgrade");
    assert_eq!(edge.kube().ready(&first, None), before, "nothing else changed");
    let regions = maas(&edge.release).get("regioncontrollers/").expect("regions");
    let names: Vec<_> =
        regions.as_array().expect("regions").iter().map(|one| one["hostname"].clone()).collect();
    assert_eq!(names, [json!(first)]);
    edge.assert_images(&IMAGES);
}

/// Nothing is left but what cannot be made again.
fn uninstalled(edge: &Edge, by: Tool) {
    edge.release.uninstall(by, &[]).expect("uninstall");
    let selector = edge.release.selector(None);
    eventually("the pods to be gone", || {
        edge.kube().uids("pods", &selector).is_empty().then_some(())
    });
    for kind in ["jobs", "statefulsets", "services", "configmaps", "networkpolicies"] {
        let left = edge.kube().uids(kind, &selector);
        assert!(left.is_empty(), "{kind}: {left:?}");
    }
    assert_eq!(edge.kube().uids("pvc", &selector).len(), 4);
}

pub(crate) fn uninstall(edge: &Edge) {
    uninstalled(edge, Tool::Deployer);
    Kube::remove(&edge.release.site, "edge");
    Kube::remove(&edge.release.site, "edge-database");
}
