"""What of a leader's checkpoints comes into the folder of its evaluator, on a folder as the bucket."""

from __future__ import annotations

import contextlib
import shutil
from pathlib import Path

import pytest
from tftrainer.checkpoints import saved
from tftrainer.checkpoints.following import Following
from tftrainer.checkpoints.saved import SavedFile, SavedState
from tftrainer.messages.contract import WantedCheckpoints
from tftrainer.phase_error import PhaseError
from tftrainer.storage.folder import FolderStore
from tftrainer.storage.store import ObjectInfo


class Bucket:
    """A bucket with a folder `m` of checkpoints, and the evaluator that follows it."""

    def __init__(self, root: Path) -> None:
        (root / "store").mkdir()
        self.store = FolderStore(root / "store", "b")
        self.folder = root / "workspace/bucket/m"
        self.folder.mkdir(parents=True)
        self.said: list[str] = []
        self.now = 0.0
        self.following = Following(
            WantedCheckpoints("${bucket}/m"), root / "workspace/bucket", lambda: self.store, self.said.append, clock=lambda: self.now
        )

    def save(self, **files: str) -> SavedState:
        """Have the bucket hold a state of files whose names end with what stands for a dot in the names given."""
        listed = []
        for name, text in files.items():
            path = name.replace("__", ".")
            written = self.store.write(f"m/{path}", text.encode())
            listed.append(SavedFile(path=path, name=path, size=written.size, etag=written.etag, sha256=written.sha256))
        return self.list(*listed)

    def list(self, *files: SavedFile) -> SavedState:
        state = SavedState(version=saved.VERSION, namespace="n", job="j", uid="u", attempt=0, saved_at=1.0, files=files)
        self.store.write(f"m/{saved.INDEX_NAME}", saved.encode(state))
        return state

    def look(self) -> dict[str, str]:
        self.following._look()
        return {each.name: each.read_text() for each in self.folder.iterdir() if each.is_file()}


@pytest.fixture
def bucket(tmp_path: Path) -> Bucket:
    return Bucket(tmp_path)


STATE = 'model_checkpoint_path: "/workspace/bucket/m/a"\n'


def test_nothing_comes_before_something_is_saved(bucket: Bucket) -> None:
    assert bucket.look() == {}
    bucket.store.write("m/a.index", b"half of a state")
    assert bucket.look() == {}
    assert bucket.said == []


def test_a_state_comes_whole_and_names_its_checkpoint_by_its_name_alone(bucket: Bucket) -> None:
    bucket.save(checkpoint=STATE, a__index="i", b__keras="k")
    assert bucket.look() == {"checkpoint": 'model_checkpoint_path: "a"\n', "a.index": "i", "b.keras": "k"}
    assert bucket.following.followed == {"m/checkpoint", "m/a.index", "m/b.keras"}
    assert len(bucket.said) == 1
    bucket.look()
    assert len(bucket.said) == 1, "the same state again is no news"


def test_the_state_file_comes_after_all_that_it_may_name(bucket: Bucket) -> None:
    (bucket.folder / "a.index/in the way").mkdir(parents=True)
    bucket.save(checkpoint=STATE, a__index="i")
    with pytest.raises(OSError, match="directory"):
        bucket.look()
    assert not (bucket.folder / "checkpoint").exists()
    assert not (bucket.folder.parent.parent / ".follow").exists()


def test_what_the_leader_has_removed_stays_for_one_state_more(bucket: Bucket) -> None:
    bucket.save(a__index="1")
    bucket.look()
    bucket.save(b__index="2")
    assert bucket.look().keys() == {"a.index", "b.index"}
    bucket.save(c__index="3")
    assert bucket.look().keys() == {"b.index", "c.index"}
    assert "m/a.index" in bucket.following.followed, "it was the leader's"


def test_a_leader_that_has_emptied_its_folder_takes_nothing_away(bucket: Bucket) -> None:
    bucket.save(a__index="1")
    bucket.look()
    bucket.list()
    assert bucket.look() == {"a.index": "1"}


def test_a_copy_put_aside_is_the_file_that_it_was(bucket: Bucket) -> None:
    [first] = bucket.save(a__keras="1").files
    bucket.look()
    copy = bucket.store.copy("m/a.keras", f"m/{saved.ASIDE}u-0-0")
    bucket.list(SavedFile(path="a.keras", name=f"{saved.ASIDE}u-0-0", size=first.size, etag=copy.etag, sha256=first.sha256))
    inode = (bucket.folder / "a.keras").stat().st_ino
    bucket.look()
    assert (bucket.folder / "a.keras").stat().st_ino == inode, "nothing was fetched again"


def test_a_state_that_is_replaced_while_it_is_fetched_is_left_for_the_next_look(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    bucket.save(a__index="1")
    download = bucket.store.download

    def replaced(*given: object, **named: object) -> None:
        monkeypatch.setattr(bucket.store, "download", download)
        bucket.save(a__index="22")
        download(*given, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(bucket.store, "download", replaced)
    assert bucket.look() == {}
    assert bucket.look() == {"a.index": "22"}


def test_a_state_of_which_an_object_is_missing_is_a_failure_that_is_told(bucket: Bucket) -> None:
    bucket.save(a__index="1")
    bucket.store.delete("m/a.index")
    with pytest.raises(PhaseError):
        bucket.look()


def counted(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return a list that grows by each key that is fetched."""
    download, fetched = bucket.store.download, list[str]()

    def noted(info: ObjectInfo, *given: object, **named: object) -> None:
        fetched.append(info.key)
        download(info, *given, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(bucket.store, "download", noted)
    return fetched


def test_a_savedmodel_has_its_graph_when_it_has_all_else_and_all_of_it_before_the_state_file_names_anything(
    bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    order: list[str] = []
    rename = Path.rename

    def noted(source: Path, target: Path) -> Path:
        order.append(target.name)
        return rename(source, target)

    monkeypatch.setattr(Path, "rename", noted)
    bucket.save(checkpoint=STATE, saved_model__pb="graph", **{"variables/variables__index": "i", "a__index": "i"})
    bucket.look()
    assert set(order[:2]) == {"variables.index", "a.index"}
    assert order[2:] == ["saved_model.pb", "checkpoint"]


def test_what_the_script_has_removed_comes_back_after_pauses_that_grow(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    bucket.save(a__index="1", b__index="2")
    bucket.look()
    fetched = counted(bucket, monkeypatch)
    times = []
    for second in range(200):
        bucket.now = float(second)
        (bucket.folder / "a.index").unlink(missing_ok=True)
        if bucket.look().keys() == {"a.index", "b.index"}:
            times.append(second)
    assert times == [5, 15, 35, 75, 155]
    assert set(fetched) == {"m/a.index"}, "only what is missing"
    bucket.save(b__index="3")
    assert bucket.look() == {"b.index": "3"}, "a new state comes at once"


def test_a_folder_that_the_script_has_removed_comes_back(bucket: Bucket) -> None:
    bucket.save(a__index="1")
    bucket.look()
    shutil.rmtree(bucket.folder)
    bucket.now = 5.0
    assert bucket.look() == {"a.index": "1"}


def test_what_was_removed_and_comes_back_takes_the_state_before_it_not_away(bucket: Bucket) -> None:
    bucket.save(a__index="1")
    bucket.look()
    bucket.save(b__index="2")
    bucket.look()
    (bucket.folder / "b.index").unlink()
    bucket.now = 5.0
    assert bucket.look().keys() == {"a.index", "b.index"}


def test_a_state_that_cannot_take_its_place_is_not_fetched_over_and_over(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    (bucket.folder / "a.index/in the way").mkdir(parents=True)
    bucket.save(a__index="1")
    fetched = counted(bucket, monkeypatch)
    for second in range(40):
        bucket.now = float(second)
        with contextlib.suppress(OSError):
            bucket.look()
    assert len(fetched) == 4
    (bucket.folder / "a.index/in the way").rmdir()
    (bucket.folder / "a.index").rmdir()
    bucket.save(a__index="2")
    assert bucket.look() == {"a.index": "2"}


def test_a_state_for_which_the_disk_has_no_room_is_not_fetched_and_told(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    bucket.save(a__index="1", b__index="12345")
    fetched = counted(bucket, monkeypatch)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10, 5, 5))  # type: ignore[attr-defined]
    with pytest.raises(PhaseError, match="the newest checkpoint takes 6 B, and the disk has 5 B left"):
        bucket.look()
    assert fetched == []


def test_an_index_that_names_copies_put_aside_is_no_news(bucket: Bucket) -> None:
    [first] = bucket.save(a__keras="1").files
    bucket.look()
    copy = bucket.store.copy("m/a.keras", f"m/{saved.ASIDE}u-0-0")
    bucket.list(SavedFile(path="a.keras", name=f"{saved.ASIDE}u-0-0", size=first.size, etag=copy.etag, sha256=first.sha256))
    bucket.look()
    assert len(bucket.said) == 1
