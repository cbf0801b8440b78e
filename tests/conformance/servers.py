"""Servers as child processes: started on port 0, ready by what they say, ended by id."""

from __future__ import annotations

import re
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import requests

import peers
from peers import Word

START_S = 60.0
READY_S = 300.0
STOP_S = 20.0
POLL_S = 0.05

T = TypeVar("T")


@dataclass(frozen=True)
class Server:
    """A running server: `url` ends in a slash."""

    url: str
    log: Path


def poll(what: str, deadline_s: float, probe: Callable[[], T | None]) -> T:
    """Asks `probe` until it has an answer; fails after the deadline."""
    end = time.monotonic() + deadline_s
    while time.monotonic() < end:
        answer = probe()
        if answer is not None:
            return answer
        time.sleep(POLL_S)
    raise AssertionError(f"{what}: nothing within {deadline_s:.0f} s")


@contextmanager
def serve_tree(tree: Path, logs: Path) -> Iterator[Server]:
    """Serves a folder as an upstream."""
    argv: list[Word] = [peers.fixtures(), "serve", tree, "--listen", "127.0.0.1:0"]
    with child(argv, logs, "upstream", r"^listening on (http://\S+)$") as server:
        yield server


@contextmanager
def serve_mirror(store: Path, logs: Path, *options: str | Path) -> Iterator[Server]:
    """Runs `maas-mirror serve` and waits until its first sync is complete."""
    argv: list[Word] = [peers.maas_mirror(), "serve", "--store", store, "--listen", "127.0.0.1:0", *options]
    with child(argv, logs, "maas-mirror", r"^listening on (http://\S+)$") as server:
        poll("/readyz", READY_S, lambda: ready(server.url + "readyz"))
        yield server


@contextmanager
def serve_registry(root: Path) -> Iterator[Server]:
    """Runs `docker-registry` with its storage under `root`; its log has a line a request."""
    config = root / "registry.yml"
    config.write_text(
        "version: 0.1\n"
        "log: {level: info, fields: {service: registry}}\n"
        f"storage: {{filesystem: {{rootdirectory: {root}/registry}}}}\n"
        "http: {addr: '127.0.0.1:0'}\n"
    )
    argv: list[Word] = [peers.debian("docker-registry"), "serve", config]
    with child(argv, root, "registry", r"listening on (127\.0\.0\.1:\d+)") as server:
        poll("/v2/", START_S, lambda: ready(server.url + "v2/"))
        yield server


@contextmanager
def child(argv: list[Word], logs: Path, name: str, announced: str) -> Iterator[Server]:
    """Starts a server, waits for the line that says where it listens, and ends it."""
    logs.mkdir(parents=True, exist_ok=True)
    log = logs / f"{name}.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [str(word) for word in argv],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=peers.clean_env() | {"OTEL_TRACES_EXPORTER": "none"},
        )
    try:
        address = poll(f"{name} listens", START_S, lambda: address_of(process, log, announced))
        if "://" not in address:
            address = f"http://{address}"
        yield Server(address.rstrip("/") + "/", log)
    finally:
        stop(process)


def address_of(process: subprocess.Popen[bytes], log: Path, announced: str) -> str | None:
    text = log.read_text(errors="replace")
    found = re.search(announced, text, re.MULTILINE)
    if found:
        return found.group(1)
    assert process.poll() is None, f"exit {process.returncode}: {process.args!r}\n{text[-4000:]}"
    return None


def ready(url: str) -> bool | None:
    try:
        return get(url).ok or None
    except requests.ConnectionError:
        return None


def get(url: str) -> requests.Response:
    with requests.Session() as session:
        session.trust_env = False
        return session.get(url, timeout=30)


def stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(STOP_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        raise AssertionError(f"had to be killed {STOP_S:.0f} s after SIGTERM: {process.args!r}") from None
