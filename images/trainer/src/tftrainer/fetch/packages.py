"""`spec.dependencies.requirements`: packages from the index that an admin allows, beside those of the image.

pip resolves and installs them, as a process that has none of the job's credentials. It takes wheels alone, so nothing of a package runs
before the user's script does. The image's packages keep their versions, but for those that a requirement names.

What was resolved is written down in the bucket for all attempts of the job, and the wheels are kept there by their SHA-256: another
attempt installs the same files, whatever the index has by then, and other jobs need not ask it for them again.
"""

from __future__ import annotations

import importlib.metadata
import math
import os
import platform
import re
import shutil
import subprocess
import sys
import sysconfig
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

import msgspec

from tftrainer.messages import manifest
from tftrainer.messages.contract import Message, Plan, Reason
from tftrainer.messages.handover import Package
from tftrainer.phase_error import PhaseError, clip
from tftrainer.storage.interface import Store
from tftrainer.storage.store import digest

FIELD: Final = "spec.dependencies.requirements"
LOCK_NAME: Final = "packages.json"
WHEELS: Final = ".tftraining/packages/"
"""Key prefix of the wheels, each below its SHA-256."""
LIMIT: Final = 4 * 1024**2
SECONDS: Final = 1800
"""Time for one run of pip; a package of a gigabyte over a slow line takes less."""

_INHERITED: Final = ("PATH", "LANG", "SSL_CERT_FILE", "SSL_CERT_DIR", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY")
_NAME: Final = re.compile(r"[A-Za-z0-9](?:[-A-Za-z0-9._]*[A-Za-z0-9])?")
_VERSION: Final = re.compile(r"[A-Za-z0-9.!+_-]{1,128}")
_WHEEL: Final = re.compile(r"[A-Za-z0-9_.!+-]{1,250}\.whl")
_TENSORFLOW: Final = re.compile(r"tensorflow-(cpu|gpu|intel|rocm|cpu-aws)")
_UNREACHABLE: Final = re.compile(
    r"Could not fetch URL \S+: (?!404)(?P<page>.*?)(?: - skipping)?$"
    r"|(?P<file>HTTP error (?:401|403|429|5\d\d) while getting .*"
    r"|(?:Max retries exceeded|[Rr]ead timed out|Connection broken|IncompleteRead).*)",
    re.MULTILINE,
)
"""What pip notes, below the messages that it prints, of an index that cannot be asked. An index answers 404 for what it does not have."""
_START: Final = "import runpy, sys; sys.path.append(sys.argv.pop(1)); runpy.run_module('pip', run_name='__main__', alter_sys=True)"
"""Runs pip with one more folder in which it finds installed packages."""

_MATTERS: Final = ("Could not find a version", "Cannot install", "ResolutionImpossible")
_VERSIONS: Final = re.compile(r"\(from versions: ([^)]*)\)")
_LISTED: Final = 10

Distributions = Iterable[tuple[str, str]]


class Lock(Message, frozen=True):
    """What the requirements came to on one kind of machine."""

    version: int
    requirements: tuple[str, ...]
    machine: str
    packages: tuple[Package, ...] = ()


class Installer:
    """Installs one job's requirements.

    `installed` are the image's distributions, names and versions. `until`, a time of the monotonic clock, bounds it.
    """

    def __init__(
        self,
        plan: Plan,
        store: Store,
        work: Path,
        say: Callable[[str], None],
        environment: Mapping[str, str] = os.environ,
        installed: Distributions | None = None,
        until: float = math.inf,
    ) -> None:
        self._plan = plan
        self._store = store
        self._work = work
        self._say = say
        self._environment = environment
        found = dict(this_environment() if installed is None else installed)
        builds = [version for name, version in found.items() if _TENSORFLOW.fullmatch(name)]
        # Builds of TensorFlow for CPUs have other names than the one that packages depend on, which would come in beside them.
        self._stands_in = builds[0] if builds and "tensorflow" not in found else ""
        self._installed = {**found, "tensorflow": self._stands_in} if self._stands_in else found
        self._until = until
        self._child: subprocess.Popen[str] | None = None

    def install(self, target: Path) -> tuple[Package, ...]:
        """Put the packages into the folder `target`, for the module path, and return what they are.

        Raises:
            PhaseError: `RequirementsUnsatisfiable`, `PackageIndexUnavailable`, `DigestMismatch`, `WorkspaceFull`, or what the store says.
        """
        begun = time.monotonic()
        shutil.rmtree(self._work, ignore_errors=True)
        wheels = self._work / "wheels"
        wheels.mkdir(parents=True)
        try:
            kept = self._kept()
            packages = self._resolved() if kept is None else kept
            missing = [each for each in packages if not self._from_store(each, wheels)]
            if missing:
                self._from_index(missing, wheels)
            if packages:
                self._place(packages, wheels, target)
            if kept is None:
                self._keep(packages)
            self._share(missing, wheels)
        finally:
            shutil.rmtree(self._work, ignore_errors=True)
        self._tell(packages, len(packages) - len(missing), time.monotonic() - begun)
        return packages

    def stop(self) -> None:
        """End what still runs."""
        if self._child is not None:
            self._child.kill()

    def _kept(self) -> tuple[Package, ...] | None:
        """Return what an earlier attempt has installed."""
        key = self._lock_key()
        data = self._store.read(key, LIMIT)
        if data is None:
            return None
        try:
            lock = msgspec.json.decode(data, type=Lock)
        except (msgspec.MsgspecError, UnicodeError):
            lock = None
        if lock is None or not all(map(_is_sound, lock.packages)):
            raise PhaseError(
                Reason.CODE_CHANGED,
                f"{self._store.uri(key)} is not the list of packages that an earlier attempt of this job has left",
                "create a new job; nothing but this product may write below .tftraining/",
            )
        return lock.packages if (lock.requirements, lock.machine) == (self._plan.requirements, machine()) else None

    def _keep(self, packages: tuple[Package, ...]) -> None:
        lock = Lock(version=1, requirements=self._plan.requirements, machine=machine(), packages=packages)
        self._store.write(self._lock_key(), msgspec.json.format(msgspec.json.encode(lock), indent=1))

    def _lock_key(self) -> str:
        return self._store.credentials.key(manifest.job_folder(self._plan) + LOCK_NAME)

    def _resolved(self) -> tuple[Package, ...]:
        """Ask the index what the requirements come to, beside what is installed."""
        report = self._work / "report.json"
        constraints = self._work / "constraints.txt"
        constraints.write_text("".join(f"{line}\n" for line in self._constraints()))
        self._pip(
            ["install", "--dry-run", "--report", str(report), "--constraint", str(constraints), *self._index(), "--"],
            self._plan.requirements,
        )
        found = []
        for item in msgspec.json.decode(report.read_bytes()).get("install", ()):
            source = item["download_info"]
            found.append(
                Package(
                    name=canonical(item["metadata"]["name"]),
                    version=item["metadata"]["version"],
                    file=unquote(urlsplit(source["url"]).path).rpartition("/")[2],
                    sha256=source.get("archive_info", {}).get("hashes", {}).get("sha256", ""),
                )
            )
        for each in found:
            if not _is_sound(each):
                raise PhaseError(
                    Reason.REQUIREMENTS_UNSATISFIABLE,
                    f"{FIELD}: the index names {each.name} {each.version} as {each.file!r} with the SHA-256 {each.sha256!r}, "
                    "expected a wheel and its digest",
                    "tell the admin of the package index",
                )
        return tuple(sorted(found, key=lambda each: each.name))

    def _constraints(self) -> list[str]:
        named = {canonical(match[0]) for each in self._plan.requirements if (match := _NAME.match(each)) is not None}
        return [
            f"{name}=={version}"
            for name, version in sorted(self._installed.items())
            if name not in named or name == "tensorflow" or _TENSORFLOW.fullmatch(name)
        ]

    def _from_store(self, package: Package, wheels: Path) -> bool:
        key = self._wheel_key(package)
        info = self._store.find(key)
        if info is None:
            return False
        self._store.download(info, wheels / package.file)
        if digest(wheels / package.file) == package.sha256:
            return True
        # Whoever put it there, it is not what was resolved; the index may still have that.
        (wheels / package.file).unlink()
        return False

    def _from_index(self, packages: list[Package], wheels: Path) -> None:
        wanted = self._work / "wanted.txt"
        wanted.write_text("".join(f"{each.name}=={each.version} --hash=sha256:{each.sha256}\n" for each in packages))
        self._pip(["download", "--no-deps", "--require-hashes", "--dest", str(wheels), *self._index(), "--requirement", str(wanted)])

    def _place(self, packages: tuple[Package, ...], wheels: Path, target: Path) -> None:
        files = [str(wheels / each.file) for each in packages]
        self._pip(["install", "--no-index", "--no-deps", "--no-compile", "--no-warn-script-location", "--target", str(target), "--"], files)

    def _share(self, packages: list[Package], wheels: Path) -> None:
        """Keep the wheels for later attempts and other jobs. Without it the job runs all the same."""
        for each in packages:
            path = wheels / each.file
            try:
                with path.open("rb") as source:
                    self._store.upload(self._wheel_key(each), source, path.stat().st_size)
            except PhaseError as failed:
                self._say(clip(f"packages: {each.file} is not kept in the bucket: {failed.failure.message}"))
                return

    def _wheel_key(self, package: Package) -> str:
        return self._store.credentials.key(f"{WHEELS}{package.sha256}/{package.file}")

    def _index(self) -> list[str]:
        url = self._plan.package_index
        address = urlsplit(url)
        # What an admin gives without TLS is meant so; pip would refuse it.
        trusted = ["--trusted-host", address.netloc] if address.scheme == "http" else []
        return ["--only-binary", ":all:", "--index-url", url, *trusted, "--timeout", "15", "--retries", "3"]

    def _pip(self, command: Sequence[str], arguments: Sequence[str] = ()) -> None:
        stands_in = self._work / "installed"
        self._stand_in(stands_in)
        temporary = self._work / "tmp"
        temporary.mkdir(exist_ok=True)
        inherited = {name: self._environment[key] for name in _INHERITED for key in (name, name.lower()) if key in self._environment}
        environment = {**inherited, "HOME": str(temporary), "TMPDIR": str(temporary), "PYTHONDONTWRITEBYTECODE": "1"}
        notes = self._work / "pip.log"
        notes.unlink(missing_ok=True)
        quiet = [
            "--isolated",
            "--log",
            str(notes),
            "--no-input",
            "--no-color",
            "--disable-pip-version-check",
            "--cache-dir",
            str(self._work / "cache"),
        ]
        self._child = subprocess.Popen(
            [sys.executable, "-I", "-c", _START, str(stands_in), *quiet, *command, *arguments],
            env=environment,
            cwd=temporary,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
        )
        seconds = max(1.0, min(SECONDS, self._until - time.monotonic()))
        try:
            out, told = self._child.communicate(timeout=seconds)
            code = self._child.returncode
        except subprocess.TimeoutExpired:
            self._child.kill()
            self._child.communicate()
            if time.monotonic() >= self._until:
                raise PhaseError(
                    Reason.PENDING_DEADLINE_EXCEEDED,
                    f"{FIELD}: {self._plan.package_index} had not delivered all when pendingDeadlineSeconds were over",
                    "raise spec.pendingDeadlineSeconds, or need fewer packages",
                ) from None
            raise PhaseError(
                Reason.PACKAGE_INDEX_UNAVAILABLE,
                f"{FIELD}: the package index {self._plan.package_index} did not deliver within {seconds:.0f} s",
                "ask an admin whether it can be reached from the job's pods",
            ) from None
        finally:
            self._child = None
        if code:
            raise refused(self._plan.package_index, out, told, notes.read_text("utf-8", "replace") if notes.exists() else "")

    def _stand_in(self, folder: Path) -> None:
        place = folder / f"tensorflow-{self._stands_in}.dist-info"
        if self._stands_in and not place.exists():
            place.mkdir(parents=True)
            (place / "METADATA").write_text(f"Metadata-Version: 2.1\nName: tensorflow\nVersion: {self._stands_in}\n")

    def _tell(self, packages: tuple[Package, ...], kept: int, seconds: float) -> None:
        if not packages:
            self._say(clip(f"packages: the image has what {FIELD} names"))
            return
        listed = ", ".join(f"{each.name} {each.version}" for each in packages)
        self._say(clip(f"packages: {listed}; {kept} of {len(packages)} wheels from the bucket, in {seconds:.1f} s"))
        for each in packages:
            if each.name in self._installed and self._installed[each.name] != each.version:
                self._say(f"packages: warning: {each.name} {each.version} takes the place of the image's {self._installed[each.name]}")


def this_environment() -> list[tuple[str, str]]:
    """Return the distributions that this Python finds, canonical names and versions."""
    found: dict[str, str] = {}
    for each in importlib.metadata.distributions():
        name, version = each.metadata["Name"], each.version
        if name and version:
            found.setdefault(canonical(name), version)
    return sorted(found.items())


def canonical(name: str) -> str:
    """Return the one spelling of a package's name (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def machine() -> str:
    """Return what decides beside the requirements which wheels fit."""
    return f"{platform.python_implementation().lower()}-{platform.python_version()} {sysconfig.get_platform()}"


def refused(index: str, out: str, told: str, notes: str) -> PhaseError:
    """Return the failure for what pip printed on its two streams, and noted in its log."""
    errors = [line.removeprefix("ERROR: ").strip() for line in told.splitlines() if line.startswith("ERROR: ")]
    errors.sort(key=lambda line: not line.startswith(_MATTERS))
    said = errors[0] if errors else next((line.strip() for line in reversed(told.splitlines()) if line.strip()), "no reason given")
    if "No space left on device" in told or "Disk quota exceeded" in told:
        return PhaseError(Reason.WORKSPACE_FULL, f"{FIELD}: the workspace is full", "raise spec.resources.workspace, or name less")
    if "DO NOT MATCH THE HASHES" in told:
        return PhaseError(
            Reason.DIGEST_MISMATCH,
            f"{FIELD}: the package index {index} has other files than those which were resolved: {said}",
            "create a new job to run with what the index has now",
        )
    if (found := _UNREACHABLE.search(notes)) is not None:
        why = found["page"] or found["file"]
        cause = re.search(r"Caused by (.*?)\)*$", why)
        return PhaseError(
            Reason.PACKAGE_INDEX_UNAVAILABLE,
            f"{FIELD}: the package index {index} does not answer: {(cause[1] if cause else why).strip()[:300]}",
            "ask an admin whether packageIndex.url is right and can be reached from the job's pods",
        )
    said = _VERSIONS.sub(lambda found: _newest(found[1].split(", ")), said)
    conflict = re.search(r"The conflict is caused by:\n(?P<lines>(?:    .*\n?)+)", out)
    causes = "; ".join(line.strip() for line in conflict["lines"].splitlines()[:8]) if conflict else ""
    causes = causes.replace("The user requested (constraint)", "the image has").replace("The user requested", "the job asks for")
    hint = "the image's packages keep their versions unless a requirement names them; tensorflow always does" if conflict else ""
    return PhaseError(
        Reason.REQUIREMENTS_UNSATISFIABLE,
        f"{FIELD}: {said}{': ' if causes else ''}{causes}",
        hint or f"correct the name or the version; only wheels for {machine()} count",
    )


def _newest(versions: list[str]) -> str:
    """Return the end of a list that the index orders by age of the version; some have hundreds."""
    return f"(from versions: {'…, ' if len(versions) > _LISTED else ''}{', '.join(versions[-_LISTED:])})"


def _is_sound(package: Package) -> bool:
    return bool(
        _NAME.fullmatch(package.name)
        and _VERSION.fullmatch(package.version)
        and _WHEEL.fullmatch(package.file)
        and re.fullmatch("[0-9a-f]{64}", package.sha256)
    )
