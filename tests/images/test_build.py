"""scripts/images: what it asks of docker for users, and what it leaves behind in tests."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

from conftest import REPOSITORY
from containers import run

SCRIPT = REPOSITORY / "scripts/images"


@pytest.fixture
def docker(tmp_path: Path) -> Path:
    """A folder with a `docker` that writes down how it was called, a word a line."""
    folder = tmp_path / "bin"
    folder.mkdir()
    program = folder / "docker"
    program.write_text('#!/bin/sh\n{ echo "-- $1"; shift; printf "%s\\n" "$@"; } >>"${0%/*}/calls"\n')
    program.chmod(0o755)
    return folder


def builds(docker: Path, *images: str, **settings: str) -> list[list[str]]:
    """The words of each `docker build`."""
    names = {"UPSTREAM", "KEYRING", "MAAS_VERSION", "BASE", "VERSION", "SOURCE", "ENGINE", "REPOSITORY"}
    environment = {name: value for name, value in os.environ.items() if name not in names}
    environment |= {"PATH": f"{docker}:{os.environ['PATH']}", **settings}
    subprocess.run([SCRIPT, "release", *images], env=environment, check=True, capture_output=True, timeout=60)
    calls = (docker / "calls").read_text().split("-- ")
    return [call.splitlines()[1:] for call in calls if call.startswith("build\n")]


def option(words: list[str], name: str) -> str:
    return words[words.index(name) + 1]


def test_a_user_builds_four_images_and_no_latest(docker: Path) -> None:
    calls = builds(docker)
    assert [option(call, "--file") for call in calls] == [
        f"images/{name}/Dockerfile"
        for name in ("maas-region-controller", "maas-rack-controller", "maas-mirror", "maas-deployer")
    ]
    tags = [option(call, "--tag") for call in calls]
    assert [tag.split(":")[1] for tag in tags[:2]] == ["3.6.5", "3.6.5"]
    assert all(re.fullmatch(r"[a-z-]+:[0-9]+\.[0-9]+\.[0-9]+", tag) for tag in tags)
    assert all(call[-1] == "." for call in calls)


def test_settings_become_build_arguments(docker: Path) -> None:
    (call,) = builds(
        docker,
        "maas-rack-controller",
        MAAS_VERSION="1:3.7.3-1-g.0",
        MAAS_ARCHIVE="https://archive.example/maas",
        REPOSITORY="registry.example/maas/",
    )
    assert option(call, "--tag") == "registry.example/maas/maas-rack-controller:3.7.3"
    assert "--build-arg=MAAS_VERSION=1:3.7.3-1-g.0" in call
    assert "--build-arg=MAAS_ARCHIVE=https://archive.example/maas" in call
    assert not any("BASE=" in word for word in call)


def test_a_baked_mirror_is_built_where_an_upstream_is_named(docker: Path) -> None:
    call = builds(docker, UPSTREAM="https://mirror.example/", SELECTION="--release xenial --arch amd64")[-1]
    assert option(call, "--file") == "images/maas-mirror/Dockerfile"
    assert option(call, "--tag").endswith("-baked")
    assert {
        "--build-arg=FLAVOUR=baked",
        "--build-arg=UPSTREAM=https://mirror.example/",
        "--build-arg=SELECTION=--release xenial --arch amd64",
    } <= set(call)


def test_make_images_passes_settings_on(docker: Path) -> None:
    path = {"PATH": f"{docker}:{os.environ['PATH']}"}
    words = ["make", "images", "IMAGES=maas-region-controller", "MAAS_VERSION=1:3.7.*"]
    subprocess.run(words, cwd=REPOSITORY, env=os.environ | path, check=True, capture_output=True, timeout=60)
    assert "--build-arg=MAAS_VERSION=1:3.7.*\n" in (docker / "calls").read_text()


def test_a_second_build_writes_nothing_and_leaves_no_mount(tmp_path: Path) -> None:
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    mounts = Path("/proc/mounts").read_text()

    def build() -> tuple[str, int]:
        words = [SCRIPT, "build", "--out", "archives", "maas-mirror"]
        environment = os.environ | {"TMPDIR": str(temporary)}
        done = subprocess.run(
            words, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=600, check=True
        )
        (archive,) = (tmp_path / "archives").glob("maas-mirror-*.tar")
        return done.stdout, archive.stat().st_mtime_ns

    first = build()
    assert build() == first
    assert re.fullmatch(r"maas-mirror:\S+ [0-9]+ MiB \S+\.tar\n", first[0])
    assert not list(temporary.iterdir())
    assert Path("/proc/mounts").read_text() == mounts


def test_no_archive_of_this_machine_is_named_in_the_sources_or_images() -> None:
    sites = set(run("apt-get", "indextargets", "--format", "$(SITE)").stdout.split())
    hosts = {site.split("//")[-1].strip("/") for site in sites} - {"", "deb.debian.org", "security.debian.org"}
    for folder in ("images", "fixtures/images", "scripts", "tests/images"):
        for path in (REPOSITORY / folder).rglob("*"):
            if path.is_file():
                assert not any(host in path.read_text(errors="replace") for host in hosts), path


def test_a_mistake_is_told(tmp_path: Path) -> None:
    for words in (["build"], ["build", "--out", tmp_path, "--wrong"], ["nothing"]):
        done = subprocess.run([SCRIPT, *words], capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode != 0
        assert "images: " in done.stderr
