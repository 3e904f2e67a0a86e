"""The cluster's programs: built from the Go modules beside this package and kept outside the source tree."""

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path

from localcluster.failure import ClusterError

RECIPE = "1"
_MODULES = Path(__file__).parent.parent / "go"
_PROGRESS_SECONDS = 15
_TAIL_LINES = 25


@dataclass(frozen=True)
class Module:
    """A Go module, the packages of it that are built, and the versions that are written into the programs.

    `manifests` are folders of YAML, each with the module that it is taken from: what a program cannot be used without.
    """

    name: str
    packages: tuple[str, ...]
    stamps: tuple[tuple[str, str], ...] = ()
    manifests: tuple[tuple[str, str], ...] = ()

    @property
    def sources(self) -> Path:
        """Where the module lies."""
        return _MODULES / self.name

    @property
    def link_flags(self) -> str:
        """What the linker is told: no debugging tables, and the stamps."""
        return " ".join(["-s", "-w", *(f"-X {variable}={value}" for variable, value in self.stamps)])


def _kubernetes_stamps(version: str) -> tuple[tuple[str, str], ...]:
    major, minor, _ = version.removeprefix("v").split(".")
    facts = (("gitVersion", version), ("gitMajor", major), ("gitMinor", minor), ("gitTreeState", "clean"))
    places = ("k8s.io/component-base/version", "k8s.io/client-go/pkg/version")
    return tuple((f"{place}.{fact}", value) for place in places for fact, value in facts)


MODULES = (
    Module("etcd", (".",)),
    Module("containerd", ("tool",), (("github.com/containerd/containerd/v2/version.Version", "v2.4.2"),)),
    Module("kubernetes", ("./coredns", "./pause", "tool"), _kubernetes_stamps("v1.36.3")),
)


STORE = Module("versitygw", ("tool",))
"""Not of the cluster: the S3 server of the demo store, and the second one of the trainer's tests."""
_KUEUE = "sigs.k8s.io/kueue"
QUEUE = Module(
    "kueue",
    ("tool",),
    (("sigs.k8s.io/kueue/pkg/version.GitVersion", "v0.17.0"),),
    ((_KUEUE, "config/components/crd/bases"), (_KUEUE, "config/components/webhook")),
)
"""Not of the cluster: the controller of queues that the operator's tests run beside it, with its definitions and webhooks."""


@dataclass(frozen=True)
class Binaries:
    """The finished programs."""

    folders: tuple[Path, ...]

    def path(self, program: str) -> str:
        """Give the full path of a program, or raise ClusterError if no module builds it."""
        for folder in self.folders:
            if (folder / program).exists():
                return str(folder / program)
        raise ClusterError(f"The program `{program}` is in none of the built modules; run the command `build` again.")

    def manifests(self, folder: str) -> list[Path]:
        """Give the YAML files of a folder that a module carries, in the order of their names."""
        return sorted(file for built in self.folders for file in (built / "manifests" / folder).glob("*.yaml"))


def key(module: Module) -> str:
    """Name the programs that exactly these sources and this recipe give."""
    recipe = (RECIPE, module.packages, module.stamps, *([module.manifests] if module.manifests else []))
    digest = hashlib.sha256(repr(recipe).encode())
    for source in sorted(module.sources.rglob("*")):
        if source.name in {"go.mod", "go.sum"} or source.suffix == ".go":
            digest.update(f"\0{source.relative_to(module.sources)}\0".encode())
            digest.update(source.read_bytes())
    return digest.hexdigest()[:16]


def cache() -> Path:
    """Name the folder in which built programs are kept."""
    home = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(home) / "tftraining" / "bin"


def built(modules: Sequence[Module] = MODULES) -> Binaries:
    """Find the programs in the cache, or raise ClusterError if one module has not been built."""
    folders = tuple(_folder(module) for module in modules)
    for module, folder in zip(modules, folders, strict=True):
        if not folder.is_dir():
            raise ClusterError(f"The module `{module.name}` has not been built into {folder}; run the command `build`.")
    return Binaries(folders)


def build(modules: Sequence[Module] = MODULES) -> Binaries:
    """Build what the cache lacks, side by side, telling how far it is.

    Raises ClusterError with the end of the compiler's log if a module does not build.
    """
    wanted = [module for module in modules if not _folder(module).is_dir()]
    if wanted and shutil.which("go") is None:
        names = ", ".join(module.name for module in wanted)
        raise ClusterError(f"The program `go` was not found on PATH; install Go 1.26.6 or newer to build {names}.")
    started = time.monotonic()
    with ThreadPoolExecutor(max_workers=len(modules)) as pool:
        builds = [pool.submit(_build, module, started) for module in wanted]
        for finished in as_completed(builds):
            finished.result()
    return built(modules)


def _folder(module: Module) -> Path:
    return cache() / f"{module.name}-{key(module)}"


def _build(module: Module, started: float) -> None:
    target = _folder(module)
    target.parent.mkdir(parents=True, exist_ok=True)
    unfinished = Path(tempfile.mkdtemp(prefix=f".{module.name}-", dir=target.parent))
    log = target.parent / f"{module.name}.log"
    try:
        _compile(module, unfinished, log, started)
        for source, folder in module.manifests:
            _carry(module, source, folder, unfinished / "manifests" / Path(folder).name)
        unfinished.chmod(0o755)
        # The rename is what makes a build count: one that was interrupted never bears the final name.
        if not target.is_dir():
            unfinished.rename(target)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def _compile(module: Module, target: Path, log: Path, started: float) -> None:
    argv = ["go", "build", "-trimpath", "-ldflags", module.link_flags, "-o", f"{target}/", *module.packages]
    environment = {**os.environ, "CGO_ENABLED": "0"}
    _tell(started, f"building {module.name}")
    with log.open("wb") as out:
        compiler = subprocess.Popen(argv, cwd=module.sources, env=environment, stdin=subprocess.DEVNULL, stdout=out, stderr=out)
        while True:
            try:
                status = compiler.wait(_PROGRESS_SECONDS)
                break
            except subprocess.TimeoutExpired:
                _tell(started, f"still building {module.name}")
    if status != 0:
        tail = "\n".join(log.read_text(errors="replace").splitlines()[-_TAIL_LINES:])
        raise ClusterError(f"The module `{module.name}` did not build (whole log: {log}); its log ends so:\n{tail}")
    _tell(started, f"built {module.name}")


def _carry(module: Module, source: str, folder: str, target: Path) -> None:
    found = subprocess.run(
        ["go", "list", "-m", "-f", "{{.Dir}}", source],
        cwd=module.sources,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=True,
    )
    target.mkdir(parents=True)
    for file in Path(found.stdout.strip(), folder).glob("*.yaml"):
        shutil.copyfile(file, target / file.name)


def _tell(started: float, what: str) -> None:
    # One write a line: several threads tell at once.
    sys.stdout.write(f"[{time.monotonic() - started:5.0f} s] {what}\n")
    sys.stdout.flush()
