"""The region and rack images under systemd, without privileges but those documented."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from containers import SYSTEMD_CAPABILITIES, Container, wait_for

RTMIN_3 = signal.SIGRTMIN + 3
HALT_SECONDS = 90


@pytest.fixture
def mounted(tmp_path: Path) -> Path:
    """What a chart mounts at /etc/maas-deployer; the database is not there."""
    folder = tmp_path / "mounted"
    write_regiond_conf(folder, "nobody")
    return folder


def write_regiond_conf(folder: Path, password: str) -> None:
    settings = {
        "database_host": "127.0.0.1",
        "database_port": 5432,
        "database_name": "maasdb",
        "database_user": "maas",
        "database_pass": password,
        "maas_url": "http://127.0.0.1:5240/MAAS",
    }
    (folder / "region").mkdir(parents=True)
    lines = "".join(f"{name}: {value}\n" for name, value in settings.items())
    (folder / "region/regiond.conf").write_text(lines)


def boot(container: Callable[..., Container], name: str, mounts: dict[str, Path]) -> Container:
    new = container(name, mounts=mounts, capabilities=SYSTEMD_CAPABILITIES)
    wait_for("systemd", lambda: system_state(new) in ("running", "degraded"), 90, evidence=new.evidence)
    return new


def system_state(one: Container) -> str:
    return one.run("systemctl", "is-system-running", check=False).stdout.strip()


def assert_running(one: Container) -> None:
    failed = one.run("systemctl", "list-units", "--failed", "--plain", "--no-legend", "--no-pager").stdout
    assert failed == ""
    assert system_state(one) == "running", one.output


def unit(one: Container, name: str, field: str) -> str:
    return one.run("systemctl", "show", "--value", f"--property={field}", name).stdout.strip()


def test_the_region_boots_serves_and_stops(
    container: Callable[..., Container], tmp_path: Path
) -> None:
    mounted, data = tmp_path / "mounted", tmp_path / "data"
    write_regiond_conf(mounted, "sesame")
    data.mkdir()
    container(
        "postgres",
        environment={"POSTGRES_USER": "maas", "POSTGRES_PASSWORD": "sesame", "POSTGRES_DB": "maasdb"},
    )
    region = boot(container, "maas-region-controller", {"/etc/maas-deployer": mounted, "/var/lib/maas": data})
    wait_for("the schema", lambda: region.succeeds("maas-region", "dbupgrade"), evidence=region.evidence)
    region.run("systemctl", "restart", "maas-regiond.service")
    wait_for("the API", lambda: region.succeeds("/usr/local/sbin/maas-health"), evidence=region.evidence)
    assert_running(region)

    # What `kubectl logs` shows is the journal, regiond's lines among it.
    wait_for("regiond's log", lambda: "maas-regiond.service" in region.output)
    assert "sesame" not in region.output
    region.run("systemctl", "stop", "maas-regiond.service")
    assert not region.succeeds("/usr/local/sbin/maas-health")
    region.signal(RTMIN_3)
    region.wait(HALT_SECONDS)


def test_the_rack_boots(container: Callable[..., Container], tmp_path: Path) -> None:
    etc, state = tmp_path / "etc", tmp_path / "state"
    etc.mkdir()
    state.mkdir()
    rack = boot(container, "maas-rack-controller", {"/etc/maas": etc, "/var/lib/maas": state})
    assert_running(rack)
    # Not registered, nothing there to register it: neither runs, neither failed.
    assert unit(rack, "maas-rackd.service", "ConditionResult") == "no"
    assert unit(rack, "maas-deployer-register.service", "ConditionResult") == "no"
    assert rack.run("/usr/local/sbin/maas-health", check=False).returncode != 0
    rack.signal(RTMIN_3)
    rack.wait(HALT_SECONDS)


def test_the_rack_registers_with_the_mounted_binary_and_again_after_a_failure(
    container: Callable[..., Container], tmp_path: Path
) -> None:
    binary = tmp_path / "opt/maas-deployer"
    binary.parent.mkdir()
    # Fails the first time; then does what `maas-rack register` does at its end,
    # which must not wait for this very unit.
    binary.write_text(
        '#!/bin/sh\necho "called with $*"\nif [ ! -e /opt/maas-deployer/tried ]; then touch /opt/maas-deployer/tried; '
        "exit 1; fi\ntouch /var/lib/maas/secret /opt/maas-deployer/registered\n"
        "systemctl stop maas-rackd.service\nsystemctl start maas-rackd.service\n"
    )
    binary.chmod(0o755)
    rack = boot(container, "maas-rack-controller", {"/opt/maas-deployer": binary.parent})
    wait_for(
        "registration",
        lambda: unit(rack, "maas-deployer-register.service", "ActiveState") == "active",
        evidence=rack.evidence,
    )
    assert (binary.parent / "registered").exists()
    assert "called with job register-rack" in rack.output
    assert unit(rack, "maas-rackd.service", "ConditionResult") == "yes"


def test_no_timer_but_systemds_own_tidying(container: Callable[..., Container], mounted: Path) -> None:
    region = boot(container, "maas-region-controller", {"/etc/maas-deployer": mounted})
    timers = region.run("systemctl", "list-timers", "--plain", "--no-legend", "--no-pager").stdout
    names = {word for word in timers.split() if word.endswith(".timer")}
    assert {name for name in names if not name.startswith(("maas-", "logrotate"))} <= {"systemd-tmpfiles-clean.timer"}


def test_without_the_capability_it_says_what_is_missing(
    container: Callable[..., Container], mounted: Path
) -> None:
    region = container("maas-region-controller", mounts={"/etc/maas-deployer": mounted})
    assert region.wait() == 1
    assert "CAP_SYS_ADMIN" in region.output


def test_the_syslog_server_runs_from_the_region_image(
    container: Callable[..., Container], tmp_path: Path
) -> None:
    logs = tmp_path / "logs"
    logs.mkdir()
    conf = tmp_path / "rsyslog.conf"
    conf.write_text(
        'module(load="imudp")\ninput(type="imudp" port="514")\n*.* action(type="omfile" file="/var/log/nodes/all.log")\n'
    )
    server = container(
        "maas-region-controller",
        args=["/usr/sbin/rsyslogd", "-n", "-i", "NONE", "-f", "/rsyslog.conf"],
        mounts={"/rsyslog.conf": conf, "/var/log/nodes": logs},
    )
    port_514 = ":0202"
    wait_for("rsyslogd", lambda: port_514 in server.run("cat", "/proc/net/udp").stdout, evidence=server.evidence)
    server.run("bash", "-c", "echo '<13>Jan  1 00:00:00 node17 kernel: hello' >/dev/udp/127.0.0.1/514")
    wait_for("the line", lambda: (logs / "all.log").exists() and "node17" in (logs / "all.log").read_text())
