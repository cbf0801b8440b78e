"""Images run as containers, by runc, as a kubelet would have them run.

Each test's containers have a network of their own with nothing but loopback,
and a writable layer of their own over the image's.
"""

from __future__ import annotations

import itertools
import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

# What containerd gives to a container that asks for nothing.
DEFAULT_CAPABILITIES = (
    "AUDIT_WRITE CHOWN DAC_OVERRIDE FOWNER FSETID KILL MKNOD NET_BIND_SERVICE NET_RAW SETFCAP SETGID SETPCAP"
    " SETUID SYS_CHROOT"
).split()
# What systemd needs besides; images/README.md tells operators so.
SYSTEMD_CAPABILITIES = ("SYS_ADMIN",)

_numbers = itertools.count(1)


def run(*command: str | Path, check: bool = True, stdin: str = "") -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [str(word) for word in command], input=stdin, capture_output=True, text=True, timeout=300, check=False
    )
    if check and done.returncode != 0:
        raise AssertionError(f"{command}: exit {done.returncode}\n{done.stdout}{done.stderr}")
    return done


def wait_for(
    what: str, condition: Callable[[], Any], seconds: float = 60, evidence: Callable[[], str] = lambda: ""
) -> Any:
    """The first true value of `condition`; fails after `seconds`, saying for what it waited, with the evidence."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        value = condition()
        if value:
            return value
        time.sleep(0.1)
    raise AssertionError(f"waited {seconds:.0f} s for {what}\n{evidence()}")


@dataclass(frozen=True)
class Image:
    """An image in a docker-archive."""

    archive: Path

    @property
    def config(self) -> dict[str, Any]:
        return json.loads(run("skopeo", "inspect", "--config", "--raw", f"docker-archive:{self.archive}").stdout)["config"]

    @property
    def labels(self) -> dict[str, str]:
        return self.config.get("Labels") or {}


class Storage:
    """Unpacked images and the containers' own layers; all under one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._pulled: dict[Path, str] = {}

    def buildah(self, *words: str | Path) -> str:
        places = ("--root", self.folder / "storage", "--runroot", self.folder / "run", "--storage-driver", "overlay")
        return run("buildah", *places, *words).stdout.strip()

    def root(self, image: Image) -> tuple[str, Path]:
        """A new container of `image`, and where its root folder is mounted."""
        if image.archive not in self._pulled:
            self._pulled[image.archive] = self.buildah("pull", "--quiet", f"docker-archive:{image.archive}")
        name = self.buildah("from", self._pulled[image.archive])
        return name, Path(self.buildah("mount", name))

    def remove(self, name: str) -> None:
        self.buildah("umount", name)
        self.buildah("rm", name)

    def close(self) -> None:
        self.buildah("umount", "--all")
        self.buildah("rm", "--all")
        run("umount", self.folder / "storage" / "overlay", check=False)
        shutil.rmtree(self.folder)


class Network:
    """A network that only has loopback, for containers and for servers beside them."""

    def __init__(self) -> None:
        self._holder = subprocess.Popen(["unshare", "--net", "sleep", "infinity"])
        own = os.readlink("/proc/self/ns/net")
        path = f"/proc/{self._holder.pid}/ns/net"
        wait_for("a network namespace", lambda: os.readlink(path) != own)
        self.path = path
        run(*self.enter("ip", "link", "set", "lo", "up"))

    def enter(self, *command: str | Path) -> list[str]:
        return ["nsenter", f"--net={self.path}", *(str(word) for word in command)]

    def close(self) -> None:
        self._holder.kill()
        self._holder.wait()


@dataclass
class Container:
    """One container; `start` it, and it is removed by the fixture that made it."""

    image: Image
    storage: Storage
    network: Network
    folder: Path
    args: Iterable[str] | None = None
    """Instead of the image's entry point and command."""
    mounts: Mapping[str, Path] = field(default_factory=dict)
    """Where in the container, and what of this machine."""
    capabilities: Iterable[str] = ()
    """Besides containerd's default ones."""
    read_only: bool = False
    environment: Mapping[str, str] = field(default_factory=dict)
    user: int | None = None
    """Instead of the image's user."""

    def start(self) -> Container:
        self.folder.mkdir(parents=True)
        self.last = ""
        self.id = f"maas-image-{os.getpid()}-{next(_numbers)}"
        self._layer, self.root = self.storage.root(self.image)
        run("runc", "spec", "--bundle", self.folder)
        spec = self._spec(json.loads((self.folder / "config.json").read_text()))
        (self.folder / "config.json").write_text(json.dumps(spec))
        self.log = self.folder / "log"
        with self.log.open("wb") as log:
            self._runc = subprocess.Popen(
                self._command("run", "--keep", "--bundle", str(self.folder), self.id),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        wait_for(f"{self.id} to start", lambda: self.status != "absent" or self._runc.poll() is not None)
        return self

    def _spec(self, spec: dict[str, Any]) -> dict[str, Any]:
        config = self.image.config
        user = self.user if self.user is not None else int((config.get("User") or "0").split(":")[0])
        environment = dict(entry.split("=", 1) for entry in config.get("Env") or [])
        environment.update(self.environment)
        capabilities = [f"CAP_{name}" for name in (*DEFAULT_CAPABILITIES, *self.capabilities)] if user == 0 else []
        process = spec["process"]
        process.pop("rlimits", None)
        process.pop("apparmorProfile", None)
        process |= {
            "terminal": False,
            "args": list(self.args or (config.get("Entrypoint") or []) + (config.get("Cmd") or [])),
            "env": [f"{name}={value}" for name, value in environment.items()],
            "cwd": config.get("WorkingDir") or "/",
            "user": {"uid": user, "gid": user},
            "capabilities": {kind: capabilities for kind in ("bounding", "effective", "permitted")},
            "noNewPrivileges": user != 0,
        }
        spec["root"] = {"path": str(self.root), "readonly": self.read_only}
        spec["hostname"] = "maas-test"
        spec["linux"]["cgroupsPath"] = f"/maas-images-test/{self.id}"
        for namespace in spec["linux"]["namespaces"]:
            if namespace["type"] == "network":
                namespace["path"] = self.network.path
        for inside, outside in self.mounts.items():
            spec["mounts"].append(
                {"destination": inside, "type": "bind", "source": str(outside), "options": ["rbind", "rw"]}
            )
        return spec

    def _command(self, *words: str) -> list[str]:
        return ["runc", "--root", str(self.storage.folder / "runc"), *words]

    @property
    def status(self) -> str:
        state = run(*self._command("state", self.id), check=False)
        return json.loads(state.stdout)["status"] if state.returncode == 0 else "absent"

    @property
    def output(self) -> str:
        return self.log.read_text(errors="replace")

    def run(self, *command: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Runs a command inside, as `kubectl exec` does."""
        return run(*self._command("exec", self.id, *command), check=check)

    def succeeds(self, *command: str) -> bool:
        """Whether a command inside succeeds; what it said is kept in `last`."""
        done = self.run(*command, check=False)
        self.last = f"{command}: exit {done.returncode}\n{done.stdout}{done.stderr}"
        return done.returncode == 0

    def evidence(self) -> str:
        return f"{self.last}\n--- {self.id} said:\n{self.output}"

    def signal(self, number: int) -> None:
        run(*self._command("kill", self.id, str(int(number))))

    def wait(self, seconds: float = 60) -> int:
        """The exit status, once it has ended."""
        try:
            return self._runc.wait(seconds)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"{self.id} did not end in {seconds} s:\n{self.output}") from None

    def remove(self) -> None:
        if not hasattr(self, "_runc"):
            return
        if self._runc.poll() is None:
            run(*self._command("kill", self.id, str(int(signal.SIGKILL))), check=False)
            self.wait()
        run(*self._command("delete", "--force", self.id), check=False)
        self.storage.remove(self._layer)
