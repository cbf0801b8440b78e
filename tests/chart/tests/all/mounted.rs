//! Files that the chart mounts over MAAS's, and those of services that MAAS looks after: where they
//! lie, and what they say there. The places are those of MAAS 3.6's packages.

use chart_tests::{Helm, Pod, files};

/// A value file; the StatefulSet and container; where a file lies there; words of it.
type Mounted = (&'static str, &'static str, &'static str, &'static str, &'static [&'static str]);

const REGION: (&str, &str) = ("maas-region", "region");
const RACK: (&str, &str) = ("maas-rack", "rack");

const MOUNTED: &[Mounted] = &[
    (
        "curtin-override",
        REGION.0,
        REGION.1,
        "/etc/maas/preseeds/curtin_userdata",
        // MAAS writes its own part, and is told when an installation is done.
        &[
            "{{for line in str(curtin_preseed).splitlines()}}",
            "{{node_disable_pxe_url|escape.json}}",
        ],
    ),
    ("curtin", REGION.0, REGION.1, "/etc/maas/preseeds/curtin_userdata", &["plain_text_passwd"]),
    (
        "drydock",
        REGION.0,
        REGION.1,
        "/etc/maas/preseeds/curtin_userdata",
        &["__baid__", "{{keys[0]}}"],
    ),
    ("cloud-config", REGION.0, REGION.1, "/etc/maas/preseeds/enlist", &["{{preseed_data}}\n"]),
    (
        "cloud-config",
        REGION.0,
        REGION.1,
        "/etc/maas/preseeds/commissioning",
        &["{{preseed_data}}\n"],
    ),
    ("cloud-config", REGION.0, REGION.1, "/etc/maas/preseeds/curtin", &["{{preseed_data}}\n"]),
    (
        "drivers",
        REGION.0,
        REGION.1,
        "/etc/maas/drivers.yaml",
        &["drivers:\n- comment: ", "  module: "],
    ),
    ("bind-override", REGION.0, REGION.1, "/etc/default/named", &["OPTIONS=\"-u bind -4 -n 4\""]),
    ("bind-override", RACK.0, RACK.1, "/etc/default/named", &["OPTIONS=\"-u bind -4 -n 4\""]),
    ("bind-override", REGION.0, REGION.1, "/etc/bind/named.conf.options", &[]),
    ("bind-override", RACK.0, RACK.1, "/etc/bind/named.conf.options", &[]),
    (
        "nginx-auto",
        RACK.0,
        RACK.1,
        "/etc/systemd/system/maas-http.service.d/50-chart.conf",
        &["[Service]\nExecStartPre=-/bin/sed -i ", "/var/lib/maas/http/nginx.conf\n"],
    ),
    (
        "no-ntp",
        REGION.0,
        REGION.1,
        "/etc/systemd/system/chrony.service.d/50-chart.conf",
        &["[Service]\nType=exec\n", "ExecStart=\nExecStart=/bin/sleep infinity\n"],
    ),
    (
        "no-ntp",
        RACK.0,
        RACK.1,
        "/etc/systemd/system/chrony.service.d/50-chart.conf",
        &["ExecStart=\nExecStart=/bin/sleep infinity\n"],
    ),
    (
        "database-tls",
        REGION.0,
        REGION.1,
        "/etc/systemd/system/maas-regiond.service.d/50-chart.conf",
        &["Environment=PGSSLMODE=verify-full\n", "Environment=PGSSLROOTCERT=/etc/maas-deployer/"],
    ),
    (
        "database-tls",
        REGION.0,
        REGION.1,
        "/etc/systemd/system/maas-apiserver.service.d/50-chart.conf",
        &["Environment=PGSSLMODE=verify-full\n"],
    ),
    (
        "database-tls",
        REGION.0,
        REGION.1,
        "/etc/systemd/system/maas-temporal-worker.service.d/50-chart.conf",
        &["Environment=PGSSLMODE=verify-full\n"],
    ),
];

/// What lies at a path of a container: of the ConfigMap or Secret that is mounted there.
fn content(objects: &chart_tests::Objects, set: &str, container: &str, path: &str) -> String {
    use base64::Engine as _;
    let pod = objects.pod_of(set);
    let mut mounts = Pod::mounts(pod.container(container));
    let mount = mounts
        .find(|mount| mount["mountPath"] == path)
        .unwrap_or_else(|| panic!("{set}: nothing is mounted at {path}"));
    assert_eq!(mount["readOnly"], true, "{path}");
    let key = mount["subPath"].as_str().expect("a file of a volume");
    let volume = pod.volume(mount["name"].as_str().unwrap()).expect("the volume");
    if let Some(map) = volume["configMap"]["name"].as_str() {
        return objects.one("ConfigMap", map).at("/data")[key].as_str().unwrap().to_owned();
    }
    let secret = objects.one("Secret", volume["secret"]["secretName"].as_str().unwrap());
    let bytes = base64::prelude::BASE64_STANDARD.decode(secret.at("/data")[key].as_str().unwrap());
    String::from_utf8(bytes.unwrap()).unwrap()
}

#[test]
fn files_lie_where_maas_and_its_services_read_them() {
    for (file, set, container, path, words) in MOUNTED {
        let Some(objects) = files::objects(file) else { return };
        let content = content(&objects, set, container, path);
        for word in *words {
            assert!(content.contains(word), "{file}: {path}: no '{word}' in:\n{content}");
        }
    }
    // No other file is mounted over one of the image's.
    let Some(rendered) = files::rendered() else { return };
    let known: Vec<_> = MOUNTED.iter().map(|(_, _, _, path, _)| *path).collect();
    for (file, objects) in rendered {
        for pod in objects.pods() {
            for mount in
                pod.containers().flat_map(Pod::mounts).filter(|one| one["subPath"].is_string())
            {
                let path = mount["mountPath"].as_str().unwrap();
                let volumes = ["/etc/maas", "/var/cache/maas"];
                let own = path.starts_with("/var/lib/maas") || volumes.contains(&path);
                assert!(own || known.contains(&path), "{file}: {path} is in no table");
            }
        }
    }
}

/// nginx.conf as MAAS's package has it: its two numbers are set by what the drop-in runs.
#[test]
fn numbers_of_nginx_are_set_in_the_packages_file() {
    let Some(helm) = Helm::find() else { return };
    let set = ["conf.nginx.worker_processes=3", "conf.nginx.worker_connections=2000"];
    let objects = helm.set(&set).objects(&[]);
    let path = "/etc/systemd/system/maas-http.service.d/50-chart.conf";
    let unit = content(&objects, RACK.0, RACK.1, path);
    let folder = tempfile::tempdir().unwrap();
    let conf = folder.path().join("nginx.conf");
    let text = "pid /run/maas-http.pid;\nworker_processes auto;\n\nevents {\n    worker_connections 768;\n}\n";
    std::fs::write(&conf, text).unwrap();
    for line in unit.lines().filter_map(|line| line.strip_prefix("ExecStartPre=-")) {
        // What systemd reads otherwise than a shell.
        let line = line.replace("/var/lib/maas/http/nginx.conf", &conf.to_string_lossy());
        assert!(!line.contains(['$', '%', '\\']), "{line}");
        let done = std::process::Command::new("sh").args(["-c", &line]).status().unwrap();
        assert!(done.success(), "{line}");
    }
    let wanted = text.replace("auto", "3").replace("768", "2000");
    assert_eq!(std::fs::read_to_string(&conf).unwrap(), wanted);
}

/// The chart's own named.conf.options takes MAAS's in, which an override has to do itself.
#[test]
fn the_charts_options_of_bind_take_in_those_of_maas() {
    let Some(helm) = Helm::find() else { return };
    let objects =
        helm.set(&["conf.bind.append=// after", "conf.bind.prefix=// before"]).objects(&[]);
    for (set, container) in [REGION, RACK] {
        let text = content(&objects, set, container, "/etc/bind/named.conf.options");
        assert!(text.starts_with("// before\n") && text.ends_with("// after\n"), "{text}");
        let include = "include \"/etc/bind/maas/named.conf.options.inside.maas\";";
        assert_eq!(text.matches(include).count(), 1, "{text}");
    }
}
