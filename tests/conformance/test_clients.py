"""The peers as clients of `maas-mirror serve`, with signature checks on."""

from __future__ import annotations

import filecmp
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import peers
import servers
from matrix import Case
from servers import Server
from streams import Stream

BASES = ("images/", "maas/images/ephemeral-v3/daily/", "maas/images/ephemeral-v3/stable/")
INDEX = "streams/v1/index.sjson"

# As the image that this program replaces ran `sstream-mirror`, and otherwise.
SELECTIONS = {
    "xenial": Case(("arch=amd64", "release~xenial"), 1),
    "bootloaders": Case(("os~(grub*|pxelinux)",), 1),
    "kernels-of-two-versions": Case(("ftype~boot-(kernel|initrd)", "arch!=arm64"), 2),
    "centos": Case(("os=centos",), 1),
    "all-of-bionic": Case(("release = bionic",), None),
}


@pytest.fixture(scope="module")
def mirror(
    stream: Stream, upstream: Server, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    """Our server, holding everything that the upstream lists."""
    home = tmp_path_factory.mktemp("mirror")
    everything = ("--once", "--max-versions", "all", "path~.")
    options = ("--upstream", upstream.url, "--keyring", stream.keyring, *everything)
    with servers.serve_mirror(home / "store", home, *options) as server:
        yield server


@pytest.mark.parametrize("base", BASES)
@pytest.mark.parametrize("filters", [[], ["arch=amd64", "release~xenial"]], ids=["all", "xenial"])
def test_query_lists_what_upstream_lists(
    stream: Stream, upstream: Server, mirror: Server, base: str, filters: list[str]
) -> None:
    theirs = query(upstream.url, stream.keyring, filters)
    ours = query(mirror.url + base, stream.keyring, filters)
    assert theirs
    assert ours == theirs


@pytest.mark.parametrize("base", BASES)
@pytest.mark.parametrize("selection", SELECTIONS)
def test_mirror_of_us_is_the_mirror_of_upstream(
    stream: Stream, upstream: Server, mirror: Server, tmp_path: Path, base: str, selection: str
) -> None:
    case = SELECTIONS[selection]
    sstream_mirror(upstream.url, stream.keyring, tmp_path / "theirs", case)
    sstream_mirror(mirror.url + base, stream.keyring, tmp_path / "ours", case)
    assert_same_tree(tmp_path / "ours", tmp_path / "theirs")


def test_mirror_of_a_default_selection(stream: Stream, upstream: Server, tmp_path: Path) -> None:
    """What `--release xenial --arch amd64` keeps is enough for both runs of the old image."""
    options = ("--upstream", upstream.url, "--keyring", stream.keyring, "--once")
    chosen = ("--release", "xenial", "--arch", "amd64")
    bootloaders = Case((*SELECTIONS["bootloaders"].filters, "arch~(amd64|i386)"), 1)
    runs = {"xenial": SELECTIONS["xenial"], "bootloaders": bootloaders}
    with servers.serve_mirror(tmp_path / "store", tmp_path, *options, *chosen) as server:
        for name, case in runs.items():
            sstream_mirror(upstream.url, stream.keyring, tmp_path / name / "theirs", case)
            sstream_mirror(server.url + "images/", stream.keyring, tmp_path / name / "ours", case)
            assert_same_tree(tmp_path / name / "ours", tmp_path / name / "theirs")


def test_a_keyring_without_the_key_refuses_us(
    signer: Any, mirror: Server, tmp_path: Path
) -> None:
    """The peers do check: with another keyring they take nothing."""
    argv = [peers.sstream("sstream-mirror"), f"--keyring={signer.keyring}", mirror.url + "images/" + INDEX]
    assert peers.run([*argv, tmp_path / "out"]).code != 0
    assert not list(tmp_path.glob("out/**/*.sjson"))


def query(base: str, keyring: Path, filters: list[str]) -> list[dict[str, Any]]:
    argv = [peers.sstream("sstream-query"), f"--keyring={keyring}", "--json", base + INDEX, *filters]
    items: list[dict[str, Any]] = json.loads(peers.run(argv).check().stdout)
    for entry in items:
        assert entry["item_url"].startswith(base)
        entry["item_url"] = entry["item_url"].removeprefix(base)
    return items


def sstream_mirror(base: str, keyring: Path, target: Path, case: Case) -> None:
    program = peers.sstream("sstream-mirror")
    options = [f"--keyring={keyring}", *([f"--max={case.limit}"] if case.limit else [])]
    peers.run([program, *options, base + INDEX, target, *case.filters]).check()


def assert_same_tree(ours: Path, theirs: Path) -> None:
    """The same names and bytes, without the mirror's own `.data/`; and some items among them."""
    names = files_of(theirs)
    assert [name for name in names if not name.startswith("streams/")]
    assert files_of(ours) == names
    _, differing, unreadable = filecmp.cmpfiles(ours, theirs, names, shallow=False)
    assert not differing
    assert not unreadable


def files_of(root: Path) -> list[str]:
    names = (path.relative_to(root) for path in root.rglob("*") if path.is_file())
    return sorted(str(name) for name in names if name.parts[0] != ".data")
