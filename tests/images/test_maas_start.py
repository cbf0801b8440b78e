"""maas-start: what it puts where, and what it must leave alone."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from containers import SYSTEMD_CAPABILITIES, Container, wait_for

REGION, RACK = "maas-region-controller", "maas-rack-controller"
SKELETON = "/usr/share/maas-start/skeleton/var/lib/maas"


@pytest.fixture
def mounted(tmp_path: Path) -> Path:
    folder = tmp_path / "mounted"
    (folder / "region").mkdir(parents=True)
    (folder / "region/regiond.conf").write_text("database_host: 127.0.0.1\n")
    return folder


@pytest.fixture
def start(container: Callable[..., Container]) -> Callable[..., Container]:
    """Starts an image whose systemd only says that it was reached."""

    def run(name: str, mounts: dict[str, Path], reached: bool = True) -> Container:
        one = container(name, mounts=mounts, capabilities=SYSTEMD_CAPABILITIES)
        if reached:
            wait_for("systemd", lambda: "systemd[1]" in one.output, evidence=one.evidence)
        return one

    return run


@pytest.fixture
def skeleton(tmp_path: Path) -> Path:
    """In place of what this image has to fill a volume with."""
    folder = tmp_path / "skeleton"
    (folder / "boot-resources/cache").mkdir(parents=True)
    (folder / "boot-resources/cache/grub.cfg").write_text("set timeout=0\n")
    (folder / "prometheus").mkdir(mode=0o750)
    (folder / "current").symlink_to("boot-resources/cache")
    (folder / "dhcpd.leases").write_text("")
    for path in (folder, *folder.rglob("*")):
        os.chown(path, 800, 800, follow_symlinks=False)
    os.chown(folder / "dhcpd.leases", 0, 800)
    (folder / "dhcpd.leases").chmod(0o640)
    return folder


def tree(folder: Path) -> dict[str, tuple[int, int, int, bytes]]:
    """Everything under a folder: owner, group, mode and content."""
    found = {}
    for path in sorted(folder.rglob("*")):
        if path.is_socket() or path.is_fifo():
            continue
        facts = path.lstat()
        content = path.read_bytes() if path.is_file() and not path.is_symlink() else b""
        found[str(path.relative_to(folder))] = (facts.st_uid, facts.st_gid, facts.st_mode, content)
    return found


def volume(tmp_path: Path, files: dict[str, str]) -> Path:
    folder = tmp_path / "volume"
    folder.mkdir()
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content)
    return folder


@pytest.mark.parametrize("before", [{}, {"lost+found/.keep": ""}], ids=["empty", "new-file-system"])
def test_an_empty_volume_gets_the_images_files(
    start: Callable[..., Container], mounted: Path, skeleton: Path, tmp_path: Path, before: dict[str, str]
) -> None:
    data = volume(tmp_path, before)
    start(REGION, {"/etc/maas-deployer": mounted, "/var/lib/maas": data, SKELETON: skeleton})
    found = tree(data)
    for name, facts in tree(skeleton).items():
        assert found[name] == facts, name
    assert {path.name for path in data.glob(".maas-start-*")} == {".maas-start-filled"}
    assert (data.stat().st_uid, data.stat().st_gid) == (800, 800)


@pytest.mark.parametrize("name", [REGION, RACK])
def test_an_empty_volume_belongs_to_maas(start: Callable[..., Container], mounted: Path, tmp_path: Path, name: str) -> None:  # fmt: skip
    data = volume(tmp_path, {})
    start(name, {"/etc/maas-deployer": mounted, "/var/lib/maas": data})
    assert (data.stat().st_uid, data.stat().st_gid) == (800, 800)


def test_the_racks_cache_belongs_to_maas(start: Callable[..., Container], tmp_path: Path) -> None:
    cache = volume(tmp_path, {})
    start(RACK, {"/var/cache/maas": cache})
    assert (cache.stat().st_uid, cache.stat().st_gid) == (800, 800)


def test_what_is_in_a_volume_stays_and_what_it_lacks_comes(
    start: Callable[..., Container], mounted: Path, skeleton: Path, tmp_path: Path
) -> None:
    # As an image left it that kept no record; the empty one is what a mount leaves behind.
    files = {"image-storage/squashfs": "mine", "dhcpd.leases": "changed", "boot-resources/cache/grub.cfg": ""}
    data = volume(tmp_path, files)
    region = start(REGION, {"/etc/maas-deployer": mounted, "/var/lib/maas": data, SKELETON: skeleton})
    assert (data / "image-storage/squashfs").read_text() == "mine"
    assert (data / "dhcpd.leases").read_text() == "changed"
    found, given = tree(data), tree(skeleton)
    for name in ("prometheus", "current", "boot-resources/cache/grub.cfg"):
        assert found[name] == given[name], name
    assert "kept /var/lib/maas/dhcpd.leases" in region.output


def test_a_newer_image_brings_what_is_new_and_nobody_changed(
    start: Callable[..., Container], skeleton: Path, tmp_path: Path
) -> None:
    data = volume(tmp_path, {})
    mounts = {"/var/lib/maas": data, SKELETON: skeleton}
    for name in ("removed", "folder/part", "ours", "theirs"):
        (skeleton / name).parent.mkdir(exist_ok=True)
        (skeleton / name).write_text("old")
    start(RACK, mounts)
    # MAAS, or an operator, at work.
    (data / "maas_id").write_text("abc123")
    (data / "ours").write_text("mine")
    (data / "removed").unlink()
    shutil.rmtree(data / "folder")
    # The newer image.
    for name in ("removed", "folder/part", "folder/new", "ours", "theirs", "added/file"):
        (skeleton / name).parent.mkdir(exist_ok=True)
        (skeleton / name).write_text("new")
    (skeleton / "theirs").chmod(0o600)
    (skeleton / "current").unlink()
    (skeleton / "current").symlink_to("prometheus")
    second = start(RACK, mounts)
    found, given = tree(data), tree(skeleton)
    for name in ("theirs", "added", "added/file", "current"):
        assert found[name] == given[name], name
    assert (data / "current").readlink() == Path("prometheus")
    assert (data / "ours").read_text() == "mine"
    assert "kept /var/lib/maas/ours" in second.output
    assert (data / "maas_id").read_text() == "abc123"
    assert not (data / "removed").exists()
    assert not (data / "folder").exists()
    # Once is enough, for the files and for what is said of them.
    third = start(RACK, mounts)
    assert tree(data) == found
    assert "maas-start:" not in third.output


def test_an_older_image_again_is_an_image_like_any_other(
    start: Callable[..., Container], skeleton: Path, tmp_path: Path
) -> None:
    data = volume(tmp_path, {})
    mounts = {"/var/lib/maas": data, SKELETON: skeleton}
    for text in ("old", "new", "old"):
        (skeleton / "theirs").write_text(text)
        start(RACK, mounts)
        assert (data / "theirs").read_text() == text


def test_a_file_that_the_chart_mounts_is_the_charts(
    start: Callable[..., Container], tmp_path: Path
) -> None:
    etc, skeleton, own = tmp_path / "etc", tmp_path / "skeleton", tmp_path / "drivers.yaml"
    etc.mkdir()
    skeleton.mkdir()
    (skeleton / "drivers.yaml").write_text("image: 1")
    own.write_text("image: 1")
    mounts = {"/etc/maas": etc, SKELETON.replace("var/lib", "etc"): skeleton}
    start(RACK, mounts | {"/etc/maas/drivers.yaml": own})
    (skeleton / "drivers.yaml").write_text("image: 2")
    start(RACK, mounts | {"/etc/maas/drivers.yaml": own})
    assert own.read_text() == "image: 1"
    # The empty file that was mounted over is none that MAAS is to read.
    assert (etc / "drivers.yaml").read_text() == ""
    start(RACK, mounts)
    assert (etc / "drivers.yaml").read_text() == "image: 2"


def test_a_fill_that_was_cut_short_goes_on_and_overwrites_nothing(
    start: Callable[..., Container], mounted: Path, skeleton: Path, tmp_path: Path
) -> None:
    half = {".maas-start-filling": "", ".maas-start-new/0": "set time", ".maas-start-new/record": "x"}
    data = volume(tmp_path, half | {"dhcpd.leases": "changed", "prometheus/.keep": ""})
    start(REGION, {"/etc/maas-deployer": mounted, "/var/lib/maas": data, SKELETON: skeleton})
    assert (data / "dhcpd.leases").read_text() == "changed"
    assert tree(skeleton).keys() <= tree(data).keys()
    left = {path.name for path in data.glob(".maas-start-*")}
    assert left == {".maas-start-filled"}


def test_a_second_start_changes_nothing(
    start: Callable[..., Container], skeleton: Path, tmp_path: Path
) -> None:
    etc, state = tmp_path / "etc", tmp_path / "state"
    etc.mkdir()
    state.mkdir()
    mounts = {"/etc/maas": etc, "/var/lib/maas": state, SKELETON: skeleton}
    start(RACK, mounts)
    (etc / "rackd.conf").write_text("maas_url: http://mine/\n")
    before = tree(etc), tree(state)
    second = start(RACK, mounts)
    assert (tree(etc), tree(state)) == before
    assert "filled" not in second.output


def test_regiond_conf_is_for_maas_alone(start: Callable[..., Container], mounted: Path) -> None:
    region = start(REGION, {"/etc/maas-deployer": mounted})
    assert region.run("stat", "--format=%U:%G %a", "/etc/maas/regiond.conf").stdout.strip() == "root:maas 640"
    assert region.run("cat", "/etc/maas/regiond.conf").stdout == (mounted / "region/regiond.conf").read_text()


def test_a_region_without_its_configuration_refuses(start: Callable[..., Container], tmp_path: Path) -> None:
    data = volume(tmp_path, {})
    region = start(REGION, {"/var/lib/maas": data}, reached=False)
    assert region.wait() == 1
    assert "/etc/maas-deployer/region/regiond.conf" in region.output
    assert "maas-deployer job region-conf" in region.output


def test_a_rack_needs_no_mounts(start: Callable[..., Container]) -> None:
    start(RACK, {})


def test_mounted_authorities_are_trusted(start: Callable[..., Container], mounted: Path, tmp_path: Path) -> None:
    (mounted / "maas-tls").mkdir()
    (mounted / "ca").mkdir()
    for name in ("maas-tls/ca.crt", "ca/proxy.crt"):
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
             "-subj", f"/CN={name.replace('/', '-')}", "-keyout", tmp_path / "key.pem", "-out", mounted / name],
            check=True, capture_output=True,
        )  # fmt: skip
    region = start(REGION, {"/etc/maas-deployer": mounted})
    for name in ("maas-tls/ca.crt", "ca/proxy.crt"):
        done = region.run("openssl", "verify", "-CApath", "/etc/ssl/certs", f"/etc/maas-deployer/{name}")
        assert "OK" in done.stdout
    bundle = region.run("cat", "/etc/ssl/certs/ca-certificates.crt").stdout
    assert (mounted / "maas-tls/ca.crt").read_text().strip() in bundle


def test_an_authority_that_is_none_stops_the_start(start: Callable[..., Container], mounted: Path) -> None:
    (mounted / "ca").mkdir()
    (mounted / "ca/broken.crt").write_text("not a certificate\n")
    region = start(REGION, {"/etc/maas-deployer": mounted}, reached=False)
    assert region.wait() == 1
    assert "ca/broken.crt" in region.output


def test_the_ssh_key_is_for_maas_alone(start: Callable[..., Container], mounted: Path, tmp_path: Path) -> None:
    (mounted / "ssh").mkdir()
    (mounted / "ssh/PRIVATE_KEY").write_text("a key\n")
    data = volume(tmp_path, {"maas_id": "abc123"})
    region = start(REGION, {"/etc/maas-deployer": mounted, "/var/lib/maas": data})
    key = "/var/lib/maas/.ssh/id_rsa"
    assert region.run("stat", "--format=%U:%G %a", key).stdout.strip() == "maas:maas 600"
    assert "a key" not in region.output
    # The mounted one is the one: a new key replaces the old.
    (mounted / "ssh/PRIVATE_KEY").write_text("another\n")
    start(REGION, {"/etc/maas-deployer": mounted, "/var/lib/maas": data})
    assert (data / ".ssh/id_rsa").read_text() == "another\n"


@pytest.mark.parametrize("name", [REGION, RACK])
def test_each_container_has_dns_keys_of_its_own(start: Callable[..., Container], mounted: Path, name: str) -> None:
    secrets = []
    for _ in range(2):
        one = start(name, {"/etc/maas-deployer": mounted})
        files = ("rndc.key", "maas/keys.conf.maas", "maas/rndc.conf.maas", "maas/named.conf.rndc.maas")
        stat = one.run("stat", "--format=%U:%G %a", *(f"/etc/bind/{file}" for file in files)).stdout
        assert stat.splitlines() == ["bind:bind 640", "maas:bind 640", "maas:bind 600", "maas:bind 640"]
        secrets += set(re.findall(r'secret "(.+)"', one.run("sh", "-c", "cat /etc/bind/rndc.key /etc/bind/maas/*").stdout))
        assert not any(secret in one.output for secret in secrets)
    # Of each container: BIND's own, that for updates and that for MAAS's rndc.
    assert len(set(secrets)) == 6


def test_another_command_runs_instead(container: Callable[..., Container]) -> None:
    one = container(REGION, args=["/usr/local/sbin/maas-start", "cat", "/etc/os-release"])
    assert one.wait() == 0
    assert "PRETTY_NAME" in one.output
    assert "maas-start" not in one.output


def test_the_environment_of_the_pod_does_not_reach_the_log(
    container: Callable[..., Container], mounted: Path
) -> None:
    region = container(
        REGION,
        mounts={"/etc/maas-deployer": mounted},
        capabilities=SYSTEMD_CAPABILITIES,
        environment={"MAAS_PASSWORD": "sesame-open"},
    )
    wait_for("systemd", lambda: "systemd[1]" in region.output, evidence=region.evidence)
    assert "sesame-open" not in region.output
    assert "sesame-open" not in region.run("systemctl", "show-environment").stdout
