"""Streams and servers that several tests share. Each is made once and not changed."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

import servers
import streams
from servers import Server
from streams import Signer, Stream


@pytest.fixture(scope="session")
def stream(tmp_path_factory: pytest.TempPathFactory) -> Stream:
    """Several releases, architectures and versions, bootloaders and CentOS; some MB."""
    root = tmp_path_factory.mktemp("stream") / "tree"
    releases = ("--release", "xenial", "--release", "bionic", "--release", "jammy")
    arches = ("--arch", "amd64", "--arch", "arm64")
    return streams.make(root, *releases, *arches, "--versions", "3", "--scale", "0.0005", "--centos")


@pytest.fixture(scope="session")
def upstream(stream: Stream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with servers.serve_tree(stream.root, tmp_path_factory.mktemp("upstream")) as server:
        yield server


@pytest.fixture(scope="session")
def signer() -> Iterator[Signer]:
    # gpg-agent's socket needs a short path, so not pytest's folder.
    with tempfile.TemporaryDirectory(prefix="conformance-") as folder:
        signer = Signer(Path(folder) / "gnupg")
        yield signer
        signer.close()
