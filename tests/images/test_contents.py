"""What every image says of itself and what it must not have in it."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from containers import Container, Image

SYSTEMD = ("maas-region-controller", "maas-rack-controller")
SMALL = ("maas-mirror", "maas-deployer")

# MiB of the uncompressed archive. Programs are stripped debug builds here and
# the packages stand-ins; what users build differs by that.
BOUNDS = {"maas-mirror": 60, "maas-deployer": 90, "maas-region-controller": 240, "maas-rack-controller": 260}


@pytest.mark.parametrize("name", SYSTEMD + SMALL)
def test_labels(image: Callable[[str], Image], name: str) -> None:
    labels = {
        key.removeprefix("org.opencontainers.image."): value
        for key, value in image(name).labels.items()
        if key.startswith("org.opencontainers.image.")
    }
    assert labels.keys() == {"title", "description", "version", "revision", "source", "licenses"}
    assert labels["title"] == name
    assert re.fullmatch(r"[0-9]+(\.[0-9]+)+.*|[0-9]+:[0-9].*", labels["version"])
    assert re.fullmatch(r"[0-9a-f]{40}|unknown", labels["revision"])
    assert "Apache-2.0" in labels["licenses"]
    assert ("AGPL-3.0" in labels["licenses"]) == (name in SYSTEMD)


@pytest.mark.parametrize("name", BOUNDS)
def test_size(image: Callable[[str], Image], name: str) -> None:
    assert image(name).archive.stat().st_size < BOUNDS[name] * 2**20


@pytest.mark.parametrize("name", SYSTEMD)
def test_controllers_start_with_maas_start_and_stop_as_systemd_wants(
    image: Callable[[str], Image], name: str
) -> None:
    config = image(name).config
    assert config["Entrypoint"] == ["/usr/local/sbin/maas-start"]
    assert config["StopSignal"] == "SIGRTMIN+3"
    assert config["Healthcheck"]["Test"][-1].endswith("maas-health")
    assert "container=oci" in config["Env"]


@pytest.mark.parametrize("name", SMALL)
def test_small_images_run_their_program_unprivileged(image: Callable[[str], Image], name: str) -> None:
    config = image(name).config
    assert config["Entrypoint"] == [f"/usr/bin/{name}"]
    assert config["User"] == "65532:65532"
    assert config["Healthcheck"]["Test"] != []


@pytest.mark.parametrize("name", SYSTEMD)
def test_no_secret_and_nothing_of_the_build_is_left(unpacked: Callable[[str], Path], name: str) -> None:
    root = unpacked(name)
    for gone in (
        "etc/maas/regiond.conf",
        "var/lib/maas/secret",
        "var/lib/maas/maas_id",
        "usr/share/maas-start/skeleton/var/lib/maas/secret",
        "etc/ssl/private/ssl-cert-snakeoil.key",
        "etc/apt/sources.list.d/maas.sources",
        "usr/sbin/policy-rc.d",
        "tmp/maas-image",
    ):
        assert not (root / gone).exists(), gone
    assert (root / "etc/machine-id").read_text() == ""
    assert not list((root / "etc/apt/trusted.gpg.d").glob("maas*"))
    assert not list((root / "var/lib/apt/lists").iterdir())
    # The test's base has the pool alone; no archive of this machine got in.
    assert [path.name for path in (root / "etc/apt/sources.list.d").iterdir()] == ["pool.list"]
    manuals = [path for path in (root / "usr/share/man").rglob("*") if path.is_file()]
    assert not manuals


@pytest.mark.parametrize("name", SYSTEMD)
def test_no_key_of_the_dns_server_is_left(unpacked: Callable[[str], Path], name: str) -> None:
    bind = unpacked(name) / "etc/bind"
    # The packages made them in there, and what is no key stays.
    assert (bind / "maas/named.conf.maas").exists()
    assert not (bind / "rndc.key").exists()
    keys = [path for path in bind.rglob("*") if path.is_file() and "secret" in path.read_text()]
    assert not keys


@pytest.mark.parametrize("name", SYSTEMD)
def test_what_maas_calls_and_its_packages_lack_is_there(container: Callable[..., Container], name: str) -> None:
    one = container(name, args=["sh", "-c", "sudo -V && nsupdate -V"])
    assert one.wait() == 0, one.output
    one = container(name, args=["runuser", "--user", "maas", "--", "sudo", "--non-interactive", "systemctl", "--version"])
    assert one.wait() == 0, one.output
    assert re.search("^systemd [0-9]", one.output, re.MULTILINE)
    # What MAAS's packages do not allow.
    one = container(name, args=["runuser", "--user", "maas", "--", "sudo", "--non-interactive", "true"])
    assert one.wait() == 1
    assert "a password is required" in one.output


@pytest.mark.parametrize("name", SYSTEMD)
def test_the_maas_user_has_the_same_number_everywhere(unpacked: Callable[[str], Path], name: str) -> None:
    maas = next(line for line in (unpacked(name) / "etc/passwd").read_text().splitlines() if line.startswith("maas:"))
    assert maas.split(":")[2:4] == ["800", "800"]


@pytest.mark.parametrize("name", SMALL)
def test_scanners_find_the_packages(unpacked: Callable[[str], Path], name: str) -> None:
    root = unpacked(name)
    packages = {path.name for path in (root / "var/lib/dpkg/status.d").iterdir()}
    assert {"libc6", "libgcc-s1", "ca-certificates"} <= packages
    for path in (root / "var/lib/dpkg/status.d").iterdir():
        assert path.read_text().startswith("Package: ")


@pytest.mark.parametrize("name", SMALL)
def test_public_authorities_are_trusted(unpacked: Callable[[str], Path], name: str) -> None:
    bundle = (unpacked(name) / "etc/ssl/certs/ca-certificates.crt").read_text()
    assert bundle.count("-----BEGIN CERTIFICATE-----") > 50


@pytest.mark.parametrize("name", SMALL)
def test_small_images_start_with_a_read_only_root(container: Callable[..., Container], name: str) -> None:
    one = container(name, args=[f"/usr/bin/{name}", "--version"], read_only=True)
    assert one.wait() == 0
    assert re.match(rf"{name} [0-9]+\.[0-9]+\.[0-9]+", one.output)


@pytest.mark.parametrize("name", SYSTEMD)
def test_units_of_a_machine_are_masked(unpacked: Callable[[str], Path], name: str) -> None:
    units = unpacked(name) / "etc/systemd/system"
    for unit in (
        "systemd-udevd.service",
        "systemd-resolved.service",
        "systemd-sysctl.service",
        "systemd-journald-audit.socket",
        "getty.target",
        "apt-daily.timer",
        "rsyslog.service",
    ):
        assert os.readlink(units / unit) == "/dev/null", unit
