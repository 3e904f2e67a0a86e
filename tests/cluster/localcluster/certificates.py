"""The cluster's keys and certificates, issued once per state directory with the openssl program."""

from dataclasses import dataclass
from pathlib import Path

from localcluster import commands
from localcluster.layout import API_SERVICE_ADDRESS, HOST_ADDRESS, NODE

_DAYS = "3650"


@dataclass(frozen=True)
class Subject:
    """To whom a certificate is issued; a server is one that has alternative names."""

    file: str
    name: str
    groups: tuple[str, ...] = ()
    alternatives: tuple[str, ...] = ()

    @property
    def distinguished_name(self) -> str:
        """The subject as openssl writes it; Kubernetes reads groups from O and the user from CN."""
        return "".join(f"/O={group}" for group in self.groups) + f"/CN={self.name}"

    @property
    def extensions(self) -> str:
        """What the certificate may be used for."""
        use = "serverAuth" if self.alternatives else "clientAuth"
        lines = ["keyUsage=critical,digitalSignature", f"extendedKeyUsage={use}"]
        if self.alternatives:
            lines.append(f"subjectAltName={','.join(self.alternatives)}")
        return "\n".join(lines) + "\n"


SUBJECTS = (
    Subject("admin", "tftraining-local-admin", ("system:masters",)),
    Subject("controller-manager", "system:kube-controller-manager"),
    Subject("scheduler", "system:kube-scheduler"),
    Subject("proxy", "system:kube-proxy"),
    Subject("dns", "tftraining-local:dns"),
    Subject("kubelet", f"system:node:{NODE}", ("system:nodes",)),
    Subject("apiserver-to-kubelet", "tftraining-local:apiserver"),
    Subject(
        "apiserver",
        "kube-apiserver",
        alternatives=(
            "DNS:localhost",
            "DNS:kubernetes",
            "DNS:kubernetes.default",
            "DNS:kubernetes.default.svc",
            "DNS:kubernetes.default.svc.cluster.local",
            "IP:127.0.0.1",
            f"IP:{HOST_ADDRESS}",
            f"IP:{API_SERVICE_ADDRESS}",
        ),
    ),
    Subject("kubelet-server", NODE, alternatives=(f"DNS:{NODE}", f"IP:{HOST_ADDRESS}")),
)


def ensure(folder: Path) -> None:
    """Issue every certificate that is not there yet.

    Raises ClusterError if openssl refuses.
    """
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    if not (folder / "ca.crt").exists():
        _issue_authority(folder)
    if not (folder / "service-accounts.key").exists():
        _new_key(folder / "service-accounts.key")
    for subject in SUBJECTS:
        if not (folder / f"{subject.file}.crt").exists():
            _issue(folder, subject)


def _new_key(target: Path) -> None:
    unfinished = target.with_suffix(".new")
    commands.run(["openssl", "ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", str(unfinished)])
    unfinished.rename(target)


def _issue_authority(folder: Path) -> None:
    _new_key(folder / "ca.key")
    unfinished = folder / "ca.new"
    commands.run([
        *("openssl", "req", "-x509", "-new", "-sha256", "-days", _DAYS, "-subj", "/CN=tftraining-local"),
        *("-key", str(folder / "ca.key"), "-out", str(unfinished)),
        *("-addext", "keyUsage=critical,digitalSignature,keyCertSign,cRLSign"),
    ])  # fmt: skip
    unfinished.rename(folder / "ca.crt")


def _issue(folder: Path, subject: Subject) -> None:
    stem = folder / subject.file
    _new_key(stem.with_suffix(".key"))
    request = commands.run([
        *("openssl", "req", "-new", "-sha256", "-subj", subject.distinguished_name),
        *("-key", str(stem.with_suffix(".key"))),
    ])  # fmt: skip
    extensions = stem.with_suffix(".ext")
    extensions.write_text(subject.extensions)
    unfinished = stem.with_suffix(".crt.new")
    commands.run(
        [
            *("openssl", "x509", "-req", "-sha256", "-days", _DAYS, "-extfile", str(extensions)),
            *("-CA", str(folder / "ca.crt"), "-CAkey", str(folder / "ca.key"), "-out", str(unfinished)),
        ],
        text=request,
    )
    extensions.unlink()
    unfinished.rename(stem.with_suffix(".crt"))
