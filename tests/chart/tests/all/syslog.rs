//! The log server's files: what they say, and that they do it.

use std::process::Command;

use chart_tests::{Helm, files};

#[test]
fn old_logs_move_on_and_the_oldest_goes() {
    let Some(helm) = Helm::find() else { return };
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("nodeboot.log");
    let path = format!("conf.syslog.logpath={}", folder.path().display());
    let objects = helm.set(&[&path, "conf.syslog.logrotate.rotate=2"]).objects(&[]);
    let script = objects.one("ConfigMap", "maas-syslog-files").at("/data/rotate.sh").clone();
    for content in ["first", "second", "third"] {
        std::fs::write(&log, content).unwrap();
        let done = Command::new("sh").args(["-c", script.as_str().unwrap()]).output().unwrap();
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        assert!(!log.exists(), "rsyslog makes a new one");
    }
    let unpacked = |number: u8| {
        let name = folder.path().join(format!("nodeboot.log.{number}.gz"));
        let output = Command::new("gzip").args(["-dc"]).arg(name).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    assert_eq!((&*unpacked(1), &*unpacked(2)), ("third", "second"));
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 2, "the first is gone");
}

#[test]
fn what_arrives_goes_to_the_file_that_the_values_name() {
    let Some(helm) = Helm::find() else { return };
    let objects = helm.objects(&[&files::named("syslog")]);
    let data = objects.one("ConfigMap", "maas-syslog-files").at("/data").clone();
    let conf = data["rsyslog.conf"].as_str().unwrap();
    for words in [
        "*.debug action(",
        "file=\"/srv/logs/machines.log\"",
        "rotation.sizeLimit=\"10M\"",
        "rotation.sizeLimitCommand=\"/bin/sh /etc/maas-syslog/rotate.sh\"",
    ] {
        assert!(conf.contains(words), "{words}: {conf}");
    }
    let service = objects.one("Service", "maas-syslog");
    assert_eq!(service.at("/spec/type"), "LoadBalancer");
    for (index, port, target, input) in [(0, 1514, 5514, "imudp"), (1, 601, 5515, "imtcp")] {
        let found = &service.at("/spec/ports")[index];
        assert_eq!((&found["port"], &found["targetPort"]), (&port.into(), &target.into()));
        assert!(conf.contains(&format!("input(type=\"{input}\" port=\"{target}\")")));
    }
    let pod = objects.pod_of("maas-syslog");
    assert_eq!(pod.argv("syslog")[..2], ["rsyslogd", "-n"], "whose end is the pod's");
}
