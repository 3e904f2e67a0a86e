import fcntl
import io
import json
import os
import shutil
import subprocess
import tarfile
import time
from pathlib import Path

import pytest
from localcluster import binaries, images, kubeconfigs, machine, packages, processes
from localcluster.__main__ import main
from localcluster.certificates import Subject
from localcluster.components import Component
from localcluster.failure import ClusterError
from localcluster.layout import API_SERVER, CONTEXT

DUMP = """\
*nat
:PREROUTING ACCEPT [0:0]
:KUBE-SERVICES - [0:0]
:CNI-HOSTPORT-DNAT - [0:0]
:MINE - [0:0]
-A PREROUTING -m comment --comment "kubernetes service portals" -j KUBE-SERVICES
-A PREROUTING -p tcp -j MINE
-A POSTROUTING -s 10.88.0.0/16 ! -d 10.88.0.0/16 -m comment --comment tftraining-local -j MASQUERADE
-A POSTROUTING -m comment --comment tftraining-local-of-someone-else -j MASQUERADE
-A KUBE-SERVICES -j RETURN
COMMIT
"""

MOUNTS = """\
20 1 8:1 / / rw - ext4 /dev/vda rw
30 20 0:5 / /state/run rw - tmpfs tmpfs rw
31 30 0:6 / /state/run/with\\040space rw - tmpfs tmpfs rw
32 20 0:7 / /state-of-another rw - tmpfs tmpfs rw
"""


def kubeconfig(folder: Path, *, context: str = CONTEXT, server: str = API_SERVER) -> Path:
    target = folder / "kubeconfig"
    document = {"current-context": context, "clusters": [{"name": context, "cluster": {"server": server}}]}
    target.write_text(json.dumps(document))
    return target


def test_removing_the_rules_of_the_cluster_keeps_every_rule_of_somebody_else() -> None:
    kept = machine.without_cluster_rules(DUMP)

    assert kept.splitlines() == [
        "*nat",
        ":PREROUTING ACCEPT [0:0]",
        ":MINE - [0:0]",
        "-A PREROUTING -p tcp -j MINE",
        "-A POSTROUTING -m comment --comment tftraining-local-of-someone-else -j MASQUERADE",
        "COMMIT",
    ]


def test_mounts_are_undone_from_the_inside_and_only_below_the_state_directory() -> None:
    assert machine.mounts_below(Path("/state"), MOUNTS) == ["/state/run/with space", "/state/run"]


def test_a_program_name_with_spaces_and_brackets_does_not_hide_the_start_time() -> None:
    numbers = " ".join(str(number) for number in range(4, 23))

    assert processes.start_time(f"7 (a) S (b) S {numbers}") == 22


def test_a_zombie_does_not_count_as_alive() -> None:
    assert processes.start_time("7 (etcd) Z 1 1 1") is None


def test_a_record_of_an_earlier_process_with_the_same_number_names_nobody(tmp_path: Path) -> None:
    started = processes.alive(os.getpid())
    assert started is not None
    record = tmp_path / "etcd.json"

    record.write_text(json.dumps({"pid": os.getpid(), "started": started, "fingerprint": "x"}))
    assert processes.running(record) == processes.Record(os.getpid(), started, "x")

    record.write_text(json.dumps({"pid": os.getpid(), "started": started - 1, "fingerprint": "x"}))
    assert processes.running(record) is None


def test_a_process_that_ignores_the_request_to_end_is_killed_and_its_neighbours_live() -> None:
    stubborn = subprocess.Popen(["sh", "-c", "trap '' TERM; echo ready; while :; do sleep 0.1; done"], stdout=subprocess.PIPE)
    neighbour = subprocess.Popen(["sleep", "60"])
    try:
        assert stubborn.stdout is not None
        assert stubborn.stdout.readline() == b"ready\n"
        started = processes.alive(stubborn.pid)
        assert started is not None

        processes.end({stubborn.pid: started, neighbour.pid: 1}, grace=0.3)

        assert stubborn.wait(timeout=5) == -9
        assert neighbour.poll() is None
    finally:
        neighbour.kill()
        neighbour.wait()


def test_what_a_started_process_starts_is_known_by_the_mark_it_inherits(tmp_path: Path) -> None:
    record = tmp_path / "parent.json"
    processes.start(
        ["sh", "-c", "sleep 60 & wait"],
        record_file=record,
        log=tmp_path / "parent.log",
        fingerprint="x",
        owner=tmp_path,
        folders=[],
    )
    parent = processes.running(record)
    assert parent is not None
    deadline = time.monotonic() + 30
    # A process in the middle of its exec shows no environment yet.
    while len(both := processes.marked(tmp_path)) < 2:
        assert time.monotonic() < deadline, both
    processes.stop(record, grace=0)

    orphans = processes.marked(tmp_path)

    processes.end_marked(tmp_path)
    assert both == {parent.pid: parent.started, **orphans}
    assert processes.marked(tmp_path) == {}


@pytest.mark.parametrize("name", ["localhost/trainer:dev", "localhost:5000/a/b:1", "registry.example/a@sha256:00"])
def test_a_complete_image_reference_is_taken(name: str) -> None:
    images.check_reference(name)


@pytest.mark.parametrize("name", ["trainer", "trainer:dev", "localhost/trainer", "team/trainer:dev"])
def test_an_incomplete_image_reference_is_refused_with_the_way_to_write_it(name: str) -> None:
    with pytest.raises(ClusterError, match=rf"`{name}` .* write localhost/NAME:TAG"):
        images.check_reference(name)


def test_the_names_in_an_archive_are_found(tmp_path: Path) -> None:
    index = {"manifests": [{"annotations": {"org.opencontainers.image.ref.name": "localhost/a:1"}}, {}]}
    content = json.dumps(index).encode()
    archive = tmp_path / "image.tar"
    with tarfile.open(archive, "w") as out:
        entry = tarfile.TarInfo("index.json")
        entry.size = len(content)
        out.addfile(entry, io.BytesIO(content))

    assert images.names_in(archive) == ["localhost/a:1"]


def test_a_file_that_is_no_archive_is_named_in_the_refusal(tmp_path: Path) -> None:
    wrong = tmp_path / "notes.txt"
    wrong.write_text("no archive")

    with pytest.raises(ClusterError, match=r"notes\.txt is no OCI archive"):
        images.names_in(wrong)


def test_an_image_of_one_program_is_the_same_bytes_every_time() -> None:
    assert images.single_program_archive("pause", b"x") == images.single_program_archive("pause", b"x")


def test_a_kubeconfig_of_this_cluster_is_accepted(tmp_path: Path) -> None:
    kubeconfigs.check(kubeconfig(tmp_path))


@pytest.mark.parametrize(("context", "server"), [("production", API_SERVER), (CONTEXT, "https://192.0.2.7:6443")])
def test_a_kubeconfig_that_leads_to_another_cluster_is_refused(tmp_path: Path, context: str, server: str) -> None:
    with pytest.raises(ClusterError, match="was expected to know only the context `tftraining-local`"):
        kubeconfigs.check(kubeconfig(tmp_path, context=context, server=server))


def test_groups_and_user_stand_in_the_subject_as_kubernetes_reads_them() -> None:
    subject = Subject("kubelet", "system:node:a", ("system:nodes",))

    assert subject.distinguished_name == "/O=system:nodes/CN=system:node:a"
    assert "extendedKeyUsage=clientAuth" in subject.extensions


def test_a_component_is_another_one_when_a_file_that_it_reads_changes(tmp_path: Path) -> None:
    certificate = tmp_path / "server.crt"
    component = Component("a", ("a",), lambda: True, {tmp_path / "config": "x"}, (certificate,))
    certificate.write_text("old")
    before = component.fingerprint()

    certificate.write_text("new")

    assert component.fingerprint() != before


def test_built_programs_are_kept_per_module_under_a_key_that_names_their_sources() -> None:
    keys = {module.name: binaries.key(module) for module in binaries.MODULES}

    assert set(keys) == {"etcd", "containerd", "kubernetes"}
    assert len(set(keys.values())) == 3


def test_a_command_that_needs_the_built_programs_says_how_to_get_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("TFTRAINING_CLUSTER_DIR", str(tmp_path / "state"))

    assert main(["status"]) == 1
    assert "run the command `build`" in capsys.readouterr().err


def test_going_down_where_nothing_is_up_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TFTRAINING_CLUSTER_DIR", str(tmp_path / "state"))

    assert main(["down"]) == 0
    assert not (tmp_path / "state").exists()


def test_the_path_of_the_kubeconfig_is_printed_whether_or_not_the_cluster_is_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TFTRAINING_CLUSTER_DIR", str(tmp_path))

    assert main(["kubeconfig"]) == 0
    assert capsys.readouterr().out == f"{tmp_path}/kubeconfig\n"


DEBIAN = pytest.mark.skipif(shutil.which("apt-get") is None, reason="not a Debian machine")


@DEBIAN
def test_another_installation_on_the_machine_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = tmp_path / "apt.conf"
    settings.write_text(
        f'Dir::State::Lists "{tmp_path}"; Dir::Cache "{tmp_path}"; Dir::Etc::SourceList "/dev/null"; Dir::Etc::SourceParts "/dev/null";'
    )
    monkeypatch.setenv("APT_CONFIG", str(settings))
    with (tmp_path / "lock").open("w") as lock:
        fcntl.lockf(lock, fcntl.LOCK_EX)
        waited: list[float] = []

        def wait(seconds: float) -> None:
            waited.append(seconds)
            fcntl.lockf(lock, fcntl.LOCK_UN)

        monkeypatch.setattr(packages.time, "sleep", wait)
        packages._apt_get("update", "--quiet=2")
    assert len(waited) == 1


@DEBIAN
def test_what_apt_refuses_for_another_reason_is_told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packages.time, "sleep", lambda _: pytest.fail("there is nothing to wait for"))
    with pytest.raises(ClusterError, match="invalid-operation"):
        packages._apt_get("invalid-operation")
