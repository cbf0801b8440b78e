"""Images that `scripts/images build` made, and containers of them."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from containers import Container, Image, Network, Storage, run

REPOSITORY = Path(__file__).resolve().parents[2]
ARCHIVES = Path(os.environ["IMAGES_DIR"])


@pytest.fixture(scope="session")
def image() -> Callable[[str], Image]:
    """An image by its name; its newest tag."""

    def find(name: str) -> Image:
        found = sorted(ARCHIVES.glob(f"{name}-[0-9]*.tar"), key=lambda path: path.stat().st_mtime)
        plain = [path for path in found if "-baked" not in path.name]
        assert plain, f"no {name} in {ARCHIVES}: run scripts/images build"
        return Image(plain[-1])

    return find


@pytest.fixture(scope="session")
def storage() -> Iterator[Storage]:
    # Not pytest's own folder: that is kept, and images are large.
    storage = Storage(Path(tempfile.mkdtemp(prefix="maas-images-")))
    yield storage
    storage.close()


@pytest.fixture(scope="session")
def unpacked(image: Callable[[str], Image], storage: Storage) -> Callable[[str], Path]:
    """An image's root folder, to look into and not to change."""
    roots: dict[str, Path] = {}

    def root(name: str) -> Path:
        if name not in roots:
            roots[name] = storage.root(image(name))[1]
        return roots[name]

    return root


@pytest.fixture
def network() -> Iterator[Network]:
    network = Network()
    yield network
    network.close()


@pytest.fixture
def container(
    image: Callable[[str], Image], storage: Storage, network: Network, tmp_path: Path
) -> Iterator[Callable[..., Container]]:
    """Starts a container of an image, by name or as it is."""
    made: list[Container] = []

    def start(what: str | Image, **options: object) -> Container:
        chosen = image(what) if isinstance(what, str) else what
        new = Container(chosen, storage, network, tmp_path / f"container-{len(made)}", **options)  # type: ignore[arg-type]
        made.append(new)
        return new.start()

    yield start
    for one in reversed(made):
        one.remove()


@pytest.fixture(scope="session")
def stream(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small signed upstream: a folder with the tree and its keyring."""
    folder = tmp_path_factory.mktemp("stream")
    run(
        os.environ["FIXTURES_BIN"], "make", folder / "tree", "--release", "xenial", "--release", "noble",
        "--arch", "amd64", "--versions", "1", "--scale", "0.005", "--keyring-out", folder / "keyring.gpg",
    )  # fmt: skip
    return folder


@pytest.fixture
def serve() -> Iterator[Callable[..., str]]:
    """Serves a stream, in this network or in a container's; gives its URL."""
    servers: list[subprocess.Popen[str]] = []

    def start(stream: Path, network: Network | None = None) -> str:
        command = [os.environ["FIXTURES_BIN"], "serve", str(stream / "tree"), "--listen", "127.0.0.1:0"]
        server = subprocess.Popen(
            network.enter(*command) if network else command,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        servers.append(server)
        assert server.stdout is not None
        return server.stdout.readline().removeprefix("listening on ").strip().rstrip("/") + "/"

    yield start
    for server in servers:
        server.kill()
        server.wait()
