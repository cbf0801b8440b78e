"""maas-mirror's image, both flavours: unprivileged, with a read-only root."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from conftest import REPOSITORY
from containers import Container, Image, Network, wait_for

ITEM = "/images/streams/v1/index.sjson"


@pytest.fixture(scope="session")
def baked(stream: Path, tmp_path_factory: pytest.TempPathFactory) -> Image:
    """The image with the stream's store in it. The upstream is gone afterwards."""
    command = [os.environ["FIXTURES_BIN"], "serve", str(stream / "tree"), "--listen", "127.0.0.1:0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as upstream:
        assert upstream.stdout is not None
        url = upstream.stdout.readline().removeprefix("listening on ").strip()
        out = tmp_path_factory.mktemp("baked")
        settings = {
            "UPSTREAM": url,
            "KEYRING": str(stream / "keyring.gpg"),
            "SELECTION": "--release xenial --arch amd64",
        }
        built = subprocess.run(
            [REPOSITORY / "scripts/images", "build", "--out", out, "maas-mirror-baked"],
            env=os.environ | settings,
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )
        upstream.kill()
    assert built.returncode == 0, built.stderr
    (archive,) = out.glob("maas-mirror-*-baked.tar")
    return Image(archive)


def get(mirror: Container, path: str) -> bytes:
    done = subprocess.run(
        mirror.network.enter("curl", "--silent", "--show-error", "--fail", f"http://127.0.0.1:8888{path}"),
        capture_output=True,
        check=False,
        timeout=60,
    )
    return done.stdout if done.returncode == 0 else b""


def healthy(mirror: Container) -> bool:
    test = mirror.image.config["Healthcheck"]["Test"]
    assert test[0] == "CMD"
    return mirror.run(*test[1:], check=False).returncode == 0


def test_an_empty_mirror_syncs_into_its_volume_and_serves(
    container: Callable[..., Container],
    serve: Callable[..., str],
    network: Network,
    stream: Path,
    tmp_path: Path,
) -> None:
    volume = tmp_path / "volume"
    volume.mkdir()
    os.chown(volume, 65532, 65532)
    url = serve(stream, network)
    mirror = container(
        "maas-mirror",
        args=["/usr/bin/maas-mirror", "serve", "--listen", "0.0.0.0:8888", "--upstream", url, "--once",
              "--keyring", "/keyring.gpg", "--release", "xenial"],
        mounts={"/var/lib/maas-mirror": volume, "/keyring.gpg": stream / "keyring.gpg"},
        read_only=True,
    )  # fmt: skip
    wait_for("the first sync", lambda: get(mirror, "/readyz"), evidence=mirror.evidence)
    assert get(mirror, ITEM) == (stream / "tree/streams/v1/index.sjson").read_bytes()
    assert healthy(mirror)
    # gpg works there too, by hand.
    assert "intact" in mirror.run("/usr/bin/maas-mirror", "verify", "--keyring", "/keyring.gpg").stdout
    mirror.signal(signal.SIGTERM)
    assert mirror.wait() == 0


def test_an_empty_mirror_without_upstream_waits_and_is_healthy(
    container: Callable[..., Container], tmp_path: Path
) -> None:
    volume = tmp_path / "volume"
    volume.mkdir()
    os.chown(volume, 65532, 65532)
    mirror = container("maas-mirror", read_only=True, mounts={"/var/lib/maas-mirror": volume})
    wait_for("the health check", lambda: healthy(mirror), evidence=mirror.evidence)
    assert get(mirror, "/readyz") == b""


def test_processes_that_others_leave_behind_are_put_to_rest(
    container: Callable[..., Container], tmp_path: Path
) -> None:
    volume = tmp_path / "volume"
    volume.mkdir()
    os.chown(volume, 65532, 65532)
    mirror = container("maas-mirror", read_only=True, mounts={"/var/lib/maas-mirror": volume})
    wait_for("the health check", lambda: healthy(mirror), evidence=mirror.evidence)
    mirror.run("/usr/bin/busybox", "sh", "-c", "(busybox sleep 0.1 &)")

    def processes() -> list[list[str]]:
        lines = mirror.run("/usr/bin/busybox", "ps", "-o", "stat,args").stdout.splitlines()[1:]
        return [line.split(maxsplit=1) for line in lines]

    def rest() -> bool:
        return not any(state.startswith("Z") or "sleep" in command for state, command in processes())

    wait_for("the orphan to be gone", rest, evidence=lambda: str(processes()))
    mirror.signal(signal.SIGTERM)
    assert mirror.wait() == 0


def test_the_health_check_fails_without_a_server(container: Callable[..., Container]) -> None:
    mirror = container("maas-mirror", args=["/usr/bin/busybox", "sleep", "60"], read_only=True)
    assert not healthy(mirror)


def test_a_baked_mirror_serves_without_network_or_volume(
    container: Callable[..., Container], baked: Image, stream: Path
) -> None:
    mirror = container(baked, read_only=True)
    ready = json.loads(wait_for("the mirror", lambda: get(mirror, "/readyz"), evidence=mirror.evidence))
    assert ready["ready"]
    assert get(mirror, ITEM) == (stream / "tree/streams/v1/index.sjson").read_bytes()
    # Every image that was chosen, byte for byte; of the others none.
    files = json.loads(mirror.run("/usr/bin/maas-mirror", "list", "--files", "-o", "json").stdout)
    paths = [item["path"] for version in files["versions"] for item in version["files"]]
    assert any("xenial" in path for path in paths)
    assert not any("noble" in path for path in paths)
    for path in paths:
        served = hashlib.sha256(get(mirror, f"/images/{path}")).digest()
        assert served == hashlib.sha256((stream / "tree" / path).read_bytes()).digest(), path
    assert healthy(mirror)
    assert "upstream" not in mirror.output
    mirror.signal(signal.SIGTERM)
    assert mirror.wait() == 0


def test_a_baked_mirror_says_so(baked: Image) -> None:
    assert "baked" in baked.labels["org.opencontainers.image.description"]
    assert baked.config["User"] == "65532:65532"


def test_a_wrong_keyring_bakes_nothing(stream: Path, tmp_path: Path, serve: Callable[..., str]) -> None:
    settings = {"UPSTREAM": serve(stream), "SELECTION": "--release xenial"}
    built = subprocess.run(
        [REPOSITORY / "scripts/images", "build", "--out", tmp_path, "maas-mirror-baked"],
        env={name: value for name, value in os.environ.items() if name != "KEYRING"} | settings,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert built.returncode != 0
    assert "which is not in the keyring" in built.stderr
    assert "exit status 4" in built.stderr
    assert not list(tmp_path.glob("*.tar"))
