"""`make fuzz`: coverage-guided fuzzing of what reads hostile bytes: zip archives, URIs, TensorFlow's state files, reports.

`python tests/fuzz TARGET CORPUS -max_total_time=SECONDS` hands its options to libFuzzer, which keeps what it has learnt in CORPUS
and ends with another code than 0 at the first input that breaks a promise; the input lies in `.build/fuzz/` then, and becomes a case
of the unit tests once it is mended.
"""

from __future__ import annotations

import io
import shutil
import sys
import tempfile
import zipfile
import zipimport
from collections.abc import Callable
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["tftrainer"]):
    from tftrainer import archive, uri
    from tftrainer.checkpoints import tf_checkpoint
    from tftrainer.messages import contract

LIMITS = archive.Limits(bytes=4 * 1024**2, entries=500)


def read_archive(data: bytes) -> None:
    """Check that an archive is unpacked or refused in words, and what is refused leaves nothing behind."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "a.zip").write_bytes(data)
        try:
            archive.extract(folder / "a.zip", folder / "out", LIMITS)
        except archive.InvalidArchiveError as error:
            refusal = str(error)
        else:
            refusal = ""
        if refusal:
            assert refusal.isprintable(), refusal
            assert [each.name for each in folder.iterdir()] == ["a.zip"]
            return
        assert {each.name for each in folder.iterdir()} == {"a.zip", "out"}
        # What is accepted, others can read, and read the same in it.
        with zipfile.ZipFile(folder / "a.zip") as other:
            for each in other.infolist():
                # A name that is not ASCII is UTF-8 here, also where the zip does not say so.
                if not each.is_dir() and (each.flag_bits & 0x800 or each.orig_filename.isascii()):
                    assert (folder / "out" / each.filename).read_bytes() == other.read(each), each.filename
        if archive.prepare(folder / "a.zip", folder / "path", LIMITS).unpacked:
            return
        # What stays packed, Python's own importer reads, and reads the same in it.
        importer = zipimport.zipimporter(str(folder / "a.zip"))
        zipimport._zip_directory_cache.clear()
        for path in (folder / "out").rglob("*"):
            if path.is_file():
                assert importer.get_data(str(path.relative_to(folder / "out"))) == path.read_bytes(), path.name


def read_uri(data: bytes) -> None:
    """Check that a URI is refused in words, or comes back from its parts, and that its path stays below its root."""
    text = data.decode("utf-8", "surrogateescape")
    try:
        found = uri.parse(text)
    except uri.UriError:
        return
    assert uri.parse(uri.format_uri(found)) == found
    root = Path("/folder/of/all")
    path = uri.local_path(root, found.key)
    assert path.is_relative_to(root)
    assert ".." not in path.parts


def read_state(data: bytes) -> None:
    """Check that a state file names a checkpoint of its own folder, or none."""
    named = tf_checkpoint.named_by(data, "folder")
    assert named is None or named.count("/") == 1


def read_report(data: bytes) -> None:
    """Check that what is taken for a report fits into a termination message again."""
    text = data.decode("utf-8", "replace")
    for kind in (contract.FetchReport, contract.RunReport, contract.PublishReport):
        try:
            found = contract.decode_report(text, kind)
        except contract.ContractError:
            continue
        assert len(contract.encode_report(found)) <= contract.MESSAGE_LIMIT


def _zips() -> list[bytes]:
    seeds = []
    for method in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w", method) as file:
            file.writestr("package/module.py", b"x = 1\n" * 20)
            file.writestr("package/data.csv", b"1,2\n")
            file.mkdir("empty")
        seeds.append(buffer.getvalue())
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w", method) as file:
            file.writestr("package/__init__.py", b"x = 1\n" * 20)
            file.writestr("module.py", b"")
            file.comment = b"only modules"
        seeds.append(buffer.getvalue())
    return seeds


TARGETS: dict[str, tuple[Callable[[bytes], None], list[bytes]]] = {
    "archive": (read_archive, _zips()),
    "uri": (read_uri, [b"s3://bucket/a/b.py", b"${bucket}/a/", "${datasets}/ä b".encode()]),
    "state": (read_state, [b'model_checkpoint_path: "model.ckpt-1"\n', rb'model_checkpoint_path: "/a\303\274\"-1"']),
    "report": (
        read_report,
        [b'{"kind":"run","exitCode":1,"failure":{"reason":"ScriptRaised","message":"m"}}', b'{"kind":"fetch","bytes":1}'],
    ),
}


def main() -> None:
    """Fuzz one target with the corpus of that folder."""
    name, corpus = sys.argv[1], Path(sys.argv[2])
    target, seeds = TARGETS[name]
    corpus.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(seeds):
        (corpus / f"seed-{number}").write_bytes(seed)
    findings = corpus.parent / "findings"
    findings.mkdir(exist_ok=True)
    options = ["-timeout=2", "-rss_limit_mb=1024", f"-artifact_prefix={findings}/{name}-", "-print_final_stats=0", "-verbosity=0"]
    atheris.Setup([sys.argv[0], str(corpus), *options, *sys.argv[3:]], target)
    atheris.Fuzz()


if __name__ == "__main__":
    if len(sys.argv) < 3 or sys.argv[1] not in TARGETS:
        sys.exit(f"usage: python tests/fuzz {{{'|'.join(TARGETS)}}} CORPUS [libFuzzer options]")
    shutil.rmtree(Path(sys.argv[2]).parent / "findings", ignore_errors=True)
    main()
