"""The operator as its image runs it, a process of its own, and what it costs."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from bodies import CONFIGURATION
from controlplane import ControlPlane, free_port

_READY_SECONDS = 60.0
_TICKS = os.sysconf("SC_CLK_TCK")
_LEASE = "leases"
OPERATOR = "tftraining-operator"
CONTROLLERS = "kube-controller-manager"
SERVICE_ACCOUNT = "operator"
_IN_A_POD = """
import sys
from pathlib import Path
# Of a development tool, and not in the image; structlog imports it where it is.
sys.modules["rich"] = None
from tftraining_operator.kube import service_account
service_account.FOLDER = Path(sys.argv.pop(1))
from tftraining_operator.__main__ import main
sys.exit(main())
"""
"""The operator as in a pod, but for the folder of its service account."""


@dataclass(slots=True)
class Subject:
    """The operator on a control plane, known to it by `token`; `restart` begins it anew after a kill without warning."""

    plane: ControlPlane
    token: str
    port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Subject:
        """Start it and wait until it leads."""
        config = CONFIGURATION | {"leaseNamespace": "default", "httpAddress": "127.0.0.1", "httpPort": self.port}
        self._config.write_text(json.dumps(config))
        self._account.mkdir()
        (self._account / "token").write_text(self.token)
        shutil.copy(self.plane.pki / "ca.crt", self._account)
        self.restart()
        return self

    def __exit__(self, *_: object) -> None:
        """Kill it."""
        self.kill()

    def restart(self) -> None:
        """Kill it if it runs, start it, and wait until it leads. Raises RuntimeError, with its log's end, if it does not."""
        self.kill()
        argv = [sys.executable, "-I", "-c", _IN_A_POD, str(self._account), "run", "--config", str(self._config)]
        host, _, port = self.plane.server.removeprefix("https://").partition(":")
        server = {"KUBERNETES_SERVICE_HOST": host, "KUBERNETES_SERVICE_PORT": port}
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(
                argv,
                env={"POD_NAME": "bench", "PATH": "/usr/bin:/bin", **server},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                process_group=0,
            )
        deadline = time.monotonic() + _READY_SECONDS
        while "tftraining_leader 1.0" not in self._metrics():
            if time.monotonic() > deadline or self.process.poll() is not None:
                raise RuntimeError(f"the operator does not lead; its log ends with:\n{self._log.read_text()[-2000:]}")
            time.sleep(0.05)

    def kill(self) -> None:
        """Kill it as hard as possible."""
        if self.process is not None:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait()
            self.process = None

    def memory(self) -> int:
        """Return its resident bytes."""
        found = re.search(r"^Rss:\s+(\d+) kB", Path(f"/proc/{self._pid}/smaps_rollup").read_text(), re.MULTILINE)
        return int(found[1]) * 1024 if found else 0

    def cpu_seconds(self) -> float:
        """Return the CPU time that it has used."""
        return process_cpu_seconds(self._pid)

    def requests(self) -> dict[str, int]:
        """Return its requests to the API server so far by verb, as it counts them; watches and its first lists are not among them."""
        found: dict[str, int] = {}
        for verb, count in re.findall(
            r'^tftraining_api_requests_total\{code="\d+",verb="(\w+)"\} ([\d.e+]+)$', self._metrics(), re.MULTILINE
        ):
            found[verb] = found.get(verb, 0) + int(float(count))
        return found

    def looks(self) -> int:
        """Return how often it has looked at a job so far."""
        return sum(
            int(float(count)) for count in re.findall(r"^tftraining_reconciles_total\{.*\} ([\d.e+]+)$", self._metrics(), re.MULTILINE)
        )

    def audited(self) -> int:
        """Return how many bytes of audit log there are by now."""
        return self.plane.audit_log.stat().st_size

    def writes(self, since: int, by: str = OPERATOR) -> list[str]:
        """Return what a program wrote but Leases, by the server's audit log from that byte on."""
        with self.plane.audit_log.open("rb") as log:
            log.seek(since)
            *lines, _ = log.read().split(b"\n")
        found = []
        for entry in map(json.loads, lines):
            thing = entry.get("objectRef", {})
            if entry.get("userAgent", "").startswith(by) and thing.get("resource") != _LEASE:
                found.append(f"{entry['verb']} {'/'.join(filter(None, (thing.get('resource'), thing.get('subresource'))))}")
        return found

    @property
    def _pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    @property
    def _account(self) -> Path:
        return self.plane.folder / "service-account"

    @property
    def _config(self) -> Path:
        return self.plane.folder / "operator.json"

    @property
    def _log(self) -> Path:
        return self.plane.folder / "operator.log"

    def _metrics(self) -> str:
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(f"http://127.0.0.1:{self.port}/metrics", timeout=5) as answer:
                return str(answer.read().decode())
        except OSError:
            return ""


def children_cpu_seconds() -> float:
    """Return the CPU time that the children of this process have used: control plane and operator, whatever else the machine does."""
    found = 0.0
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            with suppress(OSError):
                fields = _fields(int(folder.name))
                found += _cpu_seconds(fields) if int(fields[1]) == os.getpid() else 0.0
    return found


def process_cpu_seconds(pid: int) -> float:
    """Return the CPU time that a process has used; raises OSError if there is none of this number."""
    return _cpu_seconds(_fields(pid))


def _fields(pid: int) -> list[str]:
    """Return what a process's stat says after its name, which may hold blanks."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


def _cpu_seconds(fields: list[str]) -> float:
    return (int(fields[11]) + int(fields[12])) / _TICKS
