"""The one reader of the user's archive: a zip that is refused before anything is written, or unpacked as a whole.

The central directory is read by hand: the standard library parses all of it before any limit could be checked, renames
hostile names in silence, and takes entries that overlap.
"""

from __future__ import annotations

import keyword
import os
import re
import shutil
import stat
import struct
import unicodedata
import zlib
from collections.abc import Iterable, Iterator, Set
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

from tftrainer.phase_error import clip

COMPONENT_LIMIT: Final = 255
"""Bytes of a file name."""
PATH_LIMIT: Final = 3840
"""Bytes of an entry's name: `PATH_MAX` less the folder it is unpacked into."""
DEPTH_LIMIT: Final = 64
FOLDERS_LIMIT: Final = 50_000

_END: Final = struct.Struct("<4s4H2LH")
_ENTRY: Final = struct.Struct("<4s6H3L5H2L")
_LOCAL: Final = struct.Struct("<4s5H3L2H")
_END_MARK: Final = b"PK\x05\x06"
_ENTRY_MARK: Final = b"PK\x01\x02"
_LOCAL_MARK: Final = b"PK\x03\x04"
_ZIP64: Final = 0xFFFFFFFF
_NEWEST_FORMAT: Final = 63
_ENCRYPTED: Final = 0x0001 | 0x0040 | 0x2000
_PATCH: Final = 0x0020
_SIZES_FOLLOW: Final = 0x0008
_UTF8: Final = 0x0800
_STORED: Final = 0
_DEFLATED: Final = 8
_UNIX: Final = (3, 19)
_BLOCK: Final = 1024**2
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_DRIVE: Final = re.compile(r"[A-Za-z]:")
_RESOURCE_FORK: Final = "__MACOSX"
_FINDER: Final = ".DS_Store"
_BACKSLASH_HINT: Final = (
    "Compress-Archive of Windows PowerShell 5 and old .NET programs make such zips: make it with "
    "'python -m zipfile -c code.zip' and the names of its files and folders, with the Explorer, or with PowerShell 7"
)


class InvalidArchiveError(ValueError):
    """An archive that is not unpacked. Its text names the entry and what is wrong with it; `hint` is a remedy other than the common one."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


class NoRoomError(Exception):
    """An archive in order that takes more bytes, unpacked, than there is room for: `needed`, the most of them by the entry `largest`."""

    def __init__(self, needed: int, largest: str) -> None:
        super().__init__(f"it unpacks to {needed:,} bytes (largest entry: {clip(largest, 120)!r})")
        self.needed = needed
        self.largest = largest


@dataclass(frozen=True, slots=True)
class Limits:
    """What an archive of code may be at most: entries, bytes of the directory, bytes unpacked, and how many times the packed size."""

    entries: int = 50_000
    directory_bytes: int = 16 * 1024**2
    bytes: int = 4 * 1024**3
    ratio: int = 200
    ratio_from_bytes: int = 64 * 1024**2


DEFAULT_LIMITS: Final = Limits()


@dataclass(frozen=True, slots=True)
class Entry:
    """One file or folder of an archive, checked.

    `data` is where its packed bytes start; `is_plain` whether Python's own importer of zips reads it right.
    """

    name: str
    is_folder: bool
    mode: int
    method: int
    crc: int
    packed: int
    size: int
    header: int
    data: int
    is_plain: bool


@dataclass(frozen=True, slots=True)
class Prepared:
    """An archive ready for use: what to put on `sys.path`, and whether it was unpacked."""

    path: tuple[Path, ...]
    unpacked: bool


def prepare(archive: Path, folder: Path, limits: Limits = DEFAULT_LIMITS, room: int | None = None, *, packed: bool = True) -> Prepared:
    """Check the archive and make its modules importable.

    Pure Python packages at the top stay in the zip, where its importer finds them there. With one top folder, compiled modules or
    data files, or where it may not stay `packed`, it is unpacked into the new folder `folder`, all of it or nothing, if that takes at
    most `room` bytes.

    Raises:
        InvalidArchiveError: it breaks a rule or a limit.
        NoRoomError: it would have to be unpacked, and takes more than `room`; nothing is written.
        OSError: the file system fails.
    """
    with archive.open("rb", buffering=0) as file:
        entries = read_entries(file, limits)
        if packed and _stays_packed(entries):
            _check_contents(file, entries)
            return Prepared((archive,), unpacked=False)
        _check_room(entries, room)
        _unpack(file, entries, folder)
    return Prepared(_roots(entries, folder), unpacked=True)


def extract(archive: Path, folder: Path, limits: Limits = DEFAULT_LIMITS) -> None:
    """Unpack the archive into the new folder `folder`: all of it or nothing.

    Raises:
        InvalidArchiveError: it breaks a rule or a limit.
        OSError: the file system fails.
    """
    with archive.open("rb", buffering=0) as file:
        _unpack(file, read_entries(file, limits), folder)


def read_entries(file: IO[bytes], limits: Limits = DEFAULT_LIMITS) -> tuple[Entry, ...]:
    """Read and check the directory of an archive, its local headers too; its contents are not touched.

    Raises:
        InvalidArchiveError: it breaks a rule or a limit.
    """
    size = os.fstat(file.fileno()).st_size
    count, start, length = _read_end(file, size, limits)
    entries = tuple(_read_directory(file, count, start, length))
    _check_names(entries)
    _check_sizes(entries, size, limits)
    return _locate(file, entries, start)


def _pread(file: IO[bytes], length: int, offset: int) -> bytes:
    return os.pread(file.fileno(), length, offset)


def _read_end(file: IO[bytes], size: int, limits: Limits) -> tuple[int, int, int]:
    tail_start = max(0, size - _END.size - 0xFFFF)
    tail = _pread(file, size - tail_start, tail_start)
    at = tail.rfind(_END_MARK)
    if at < 0 or len(tail) - at < _END.size:
        raise InvalidArchiveError(f"it is not a zip archive{_looks_like(_pread(file, 512, 0))}, expected a zip made with zip -r")
    _, disk, first_disk, count_here, count, length, start, comment = _END.unpack_from(tail, at)
    if at + _END.size + comment != len(tail):
        raise InvalidArchiveError("it is cut off or something follows its end, expected a whole zip")
    if disk or first_disk or count_here != count:
        raise InvalidArchiveError("it is one of several volumes, expected a single zip")
    if count == 0xFFFF or length == _ZIP64 or start == _ZIP64 or tail[max(0, at - 20) : at][:4] == b"PK\x06\x07":
        raise InvalidArchiveError(f"it is a zip64 archive, expected at most {limits.entries:,} entries and less than 4 GiB")
    if count > limits.entries:
        raise InvalidArchiveError(f"it holds {count:,} entries, at most {limits.entries:,} are possible")
    if length > limits.directory_bytes:
        raise InvalidArchiveError(f"its directory takes {length:,} bytes, at most {limits.directory_bytes:,} are possible")
    if start + length != tail_start + at:
        raise InvalidArchiveError("its directory does not lie where its end says: it is cut off or something precedes it")
    return count, start, length


def _looks_like(head: bytes) -> str:
    kinds = (
        (b"\x1f\x8b", "gzip"),
        (b"BZh", "bzip2"),
        (b"\xfd7zXZ", "xz"),
        (b"7z\xbc\xaf", "7z"),
        (b"Rar!", "rar"),
        (b"PK\x03\x04", "a zip cut off"),
    )
    for mark, kind in kinds:
        if head.startswith(mark):
            return f" (it looks like {kind})"
    if head[257:262] == b"ustar":
        return " (it looks like tar)"
    return " (it is empty)" if not head else ""


def _read_directory(file: IO[bytes], count: int, start: int, length: int) -> Iterator[Entry]:
    directory = _pread(file, length, start)
    if len(directory) != length:
        raise InvalidArchiveError("its directory is cut off")
    at = 0
    for number in range(count):
        if at + _ENTRY.size > length or directory[at : at + 4] != _ENTRY_MARK:
            raise InvalidArchiveError(f"its directory is broken at entry {number + 1} of {count}")
        fields = _ENTRY.unpack_from(directory, at)
        name_length, extra_length, comment_length = fields[10:13]
        end = at + _ENTRY.size + name_length + extra_length + comment_length
        if end > length:
            raise InvalidArchiveError(f"its directory is broken at entry {number + 1} of {count}")
        name_start = at + _ENTRY.size
        raw_name = directory[name_start : name_start + name_length]
        extra = directory[name_start + name_length : name_start + name_length + extra_length]
        yield _entry(fields, raw_name, extra)
        at = end
    if at != length:
        raise InvalidArchiveError(f"its directory holds more than the {count} entries that its end tells")


def _entry(fields: tuple[int, ...], raw_name: bytes, extra: bytes) -> Entry:
    _, made_by, needed, flags, method, _, _, crc, packed, size, _, _, _, disk, _, attributes, header = fields
    name = _name(raw_name)
    if needed & 0xFF > _NEWEST_FORMAT:
        raise InvalidArchiveError(f"entry {clip(name, 120)!r} needs version {(needed & 0xFF) / 10} of the zip format, expected at most 6.3")
    if flags & _ENCRYPTED:
        raise InvalidArchiveError(f"entry {clip(name, 120)!r} is encrypted, expected an archive without password")
    if flags & _PATCH:
        raise InvalidArchiveError(f"entry {clip(name, 120)!r} is a patch of another file, expected whole files")
    if method not in (_STORED, _DEFLATED):
        raise InvalidArchiveError(f"entry {clip(name, 120)!r} is packed with method {method}, expected stored or deflated")
    if disk:
        raise InvalidArchiveError(f"entry {clip(name, 120)!r} lies on another volume")
    # The importer of zips knows no zip64, and reads names without the UTF-8 flag in another character set.
    is_plain = _ZIP64 not in (size, packed, header) and (bool(flags & _UTF8) or raw_name.isascii())
    size, packed, header = _wide(name, extra, size, packed, header)
    is_folder = name.endswith("/")
    mode = _mode(name, made_by >> 8, attributes, is_folder=is_folder)
    if is_folder and size:
        raise InvalidArchiveError(f"entry {clip(name, 120)!r} is a folder with contents")
    if method == _STORED and packed != size:
        raise InvalidArchiveError(f"entry {clip(name, 120)!r} is stored but has two sizes")
    return Entry(name.rstrip("/"), is_folder, mode, method, crc, packed, size, header, 0, is_plain)


def _name(raw: bytes) -> str:
    try:
        name = raw.decode()
    except UnicodeDecodeError:
        raise InvalidArchiveError(f"the name of entry {raw[:120]!r} is not UTF-8") from None
    shown = repr(clip(name, 120))
    if _CONTROL.search(name):
        raise InvalidArchiveError(f"the name of entry {shown} holds a control character")
    if "\\" in name:
        raise InvalidArchiveError(f"the name of entry {shown} holds a backslash, expected / between folders", _BACKSLASH_HINT)
    if name.startswith("/") or _DRIVE.match(name):
        raise InvalidArchiveError(f"the name of entry {shown} is absolute, expected a relative path")
    if len(raw) > PATH_LIMIT:
        raise InvalidArchiveError(f"the name of entry {shown} takes {len(raw)} bytes, at most {PATH_LIMIT} are possible")
    parts = name.removesuffix("/").split("/")
    if len(parts) > DEPTH_LIMIT:
        raise InvalidArchiveError(f"entry {shown} lies {len(parts)} folders deep, at most {DEPTH_LIMIT} are possible")
    for part in parts:
        if part in ("", ".", ".."):
            raise InvalidArchiveError(f"the name of entry {shown} holds {part!r}, expected names between single slashes")
        if len(part.encode()) > COMPONENT_LIMIT:
            raise InvalidArchiveError(f"the name of entry {shown} holds a name over {COMPONENT_LIMIT} bytes")
    return name


def _mode(name: str, system: int, attributes: int, *, is_folder: bool) -> int:
    mode = attributes >> 16
    kind = stat.S_IFMT(mode)
    if kind not in (0, stat.S_IFDIR if is_folder else stat.S_IFREG):
        what = {stat.S_IFLNK: "a link", stat.S_IFDIR: "a folder without / at its end", stat.S_IFREG: "a file with / at its end"}
        raise InvalidArchiveError(
            f"entry {clip(name, 120)!r} is {what.get(kind, 'a device, pipe or socket')}, expected files and folders only"
        )
    return 0o755 if is_folder or (system in _UNIX and mode & 0o111) else 0o644


def _wide(name: str, extra: bytes, size: int, packed: int, header: int) -> tuple[int, int, int]:
    """Return size, packed size and offset, from the zip64 field where they do not fit their own."""
    if _ZIP64 not in (size, packed, header):
        return size, packed, header
    at = 0
    while at + 4 <= len(extra):
        kind, length = struct.unpack_from("<HH", extra, at)
        body = extra[at + 4 : at + 4 + length]
        if kind == 1:
            values = iter(struct.unpack(f"<{len(body) // 8}Q", body[: len(body) // 8 * 8]))
            try:
                return tuple(next(values) if value == _ZIP64 else value for value in (size, packed, header))  # type: ignore[return-value]
            except (StopIteration, RuntimeError):
                break
        at += 4 + length
    raise InvalidArchiveError(f"entry {clip(name, 120)!r} does not tell its size")


class _Name:
    """A name in a folder of the archive; `below` are the names in it, if it is a folder, by their keys.

    A tree, because whole paths of deep folders would take a hundred times the bytes of the directory that they come from.
    """

    __slots__ = ("above", "below", "is_folder", "is_listed", "text")

    def __init__(self, text: str, above: _Name | None, *, is_folder: bool) -> None:
        self.text = text
        self.above = above
        self.is_folder = is_folder
        self.below: dict[str, _Name] = {}
        self.is_listed = False

    @property
    def path(self) -> str:
        """The whole path."""
        return f"{self.above.path}/{self.text}" if self.above is not None and self.above.text else self.text


def _key(name: str) -> str:
    """Return the same for all names that are one on some file system."""
    if name.isascii():
        lower = name.lower()
        return name if lower == name else lower
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def _check_names(entries: tuple[Entry, ...]) -> None:
    """Refuse names that are one file on some file system, or a file and a folder at once."""
    root = _Name("", None, is_folder=True)
    known, at = "", root
    folders = 0
    for entry in entries:
        path, _, last = entry.name.rpartition("/")
        if path != known:
            known, at = path, root
            for part in path.split("/") if path else ():
                at, is_new = _child(at, part, is_folder=True)
                folders += is_new
        name, is_new = _child(at, last, is_folder=entry.is_folder)
        folders += is_new and entry.is_folder
        if name.is_listed:
            raise InvalidArchiveError(f"entry {clip(entry.name, 120)!r} occurs twice")
        name.is_listed = True
        if folders > FOLDERS_LIMIT:
            raise InvalidArchiveError(f"it holds more than {FOLDERS_LIMIT:,} folders")


def _child(folder: _Name, text: str, *, is_folder: bool) -> tuple[_Name, bool]:
    """Return the name in the folder, and whether it is new there."""
    key = _key(text)
    known = folder.below.get(key)
    if known is None:
        new = folder.below[key] = _Name(text, folder, is_folder=is_folder)
        return new, True
    if known.text != text:
        raise _clash(known.path, _Name(text, folder, is_folder=is_folder).path)
    if known.is_folder != is_folder:
        raise InvalidArchiveError(f"entry {clip(known.path, 120)!r} is both a file and a folder")
    return known, False


def _clash(one: str, other: str) -> InvalidArchiveError:
    # Accents that are written in two ways look the same, unless it is shown how.
    alike = unicodedata.normalize("NFC", one) == unicodedata.normalize("NFC", other)
    first, second = (ascii(clip(each, 120)) if alike else repr(clip(each, 120)) for each in (one, other))
    return InvalidArchiveError(
        f"entries {first} and {second} differ in case or accents only: on some file systems they are one file",
        f"rename {first} or {second}, and what imports or reads it, and make the archive again",
    )


def _check_sizes(entries: tuple[Entry, ...], size: int, limits: Limits) -> None:
    total = 0
    for entry in entries:
        total += entry.size
        if total > limits.bytes:
            raise InvalidArchiveError(f"it unpacks to more than {limits.bytes:,} bytes (reached at entry {clip(entry.name, 120)!r})")
    if total > limits.ratio_from_bytes and total > limits.ratio * size:
        largest = max(entries, key=lambda entry: entry.size)
        raise InvalidArchiveError(
            f"it unpacks to {total:,} bytes, more than {limits.ratio} times its size: it looks like a bomb "
            f"(largest entry: {clip(largest.name, 120)!r})"
        )


def _locate(file: IO[bytes], entries: tuple[Entry, ...], directory: int) -> tuple[Entry, ...]:
    """Check each entry's local header against the directory, and that no two entries share bytes."""
    located: dict[int, Entry] = {}
    end, before = 0, ""
    for index in sorted(range(len(entries)), key=lambda number: entries[number].header):
        entry = entries[index]
        shown = repr(clip(entry.name, 120))
        if end == 0 and entry.header != 0:
            raise InvalidArchiveError(f"something precedes its first entry {shown}, expected a plain zip")
        if entry.header < end:
            raise InvalidArchiveError(f"entries {clip(before, 120)!r} and {shown} share bytes: it looks like a bomb")
        head = _pread(file, _LOCAL.size, entry.header)
        if len(head) != _LOCAL.size or head[:4] != _LOCAL_MARK:
            raise InvalidArchiveError(f"entry {shown} does not lie where the directory says")
        _, _, flags, method, _, _, _, packed, size, name_length, extra_length = _LOCAL.unpack(head)
        raw_name = _pread(file, name_length, entry.header + _LOCAL.size)
        if raw_name.rstrip(b"/") != entry.name.encode() or method != entry.method or flags & _ENCRYPTED:
            raise InvalidArchiveError(f"entry {shown} has another header than the directory says")
        if not flags & _SIZES_FOLLOW and ((packed, size) != (entry.packed, entry.size)) and _ZIP64 not in (packed, size):
            raise InvalidArchiveError(f"entry {shown} has other sizes than the directory says")
        data = entry.header + _LOCAL.size + name_length + extra_length
        end, before = data + entry.packed, entry.name
        if end > directory:
            raise InvalidArchiveError(f"entry {shown} is cut off")
        located[index] = _at(entry, data)
    return tuple(located[index] for index in range(len(entries)))


def _at(entry: Entry, data: int) -> Entry:
    return Entry(
        entry.name, entry.is_folder, entry.mode, entry.method, entry.crc, entry.packed, entry.size, entry.header, data, entry.is_plain
    )


def _is_junk(entry: Entry) -> bool:
    """Whether it is what a Mac adds to every zip."""
    parts = entry.name.split("/")
    return parts[0] == _RESOURCE_FORK or parts[-1] == _FINDER


def _stays_packed(entries: tuple[Entry, ...]) -> bool:
    used = [entry for entry in entries if not _is_junk(entry)]
    files = {entry.name for entry in used if not entry.is_folder}
    if not all(entry.name.endswith((".py", ".pyc")) and entry.is_plain for entry in used if not entry.is_folder):
        return False
    if _only_folder(entries) is not None:
        return False
    # A package without __init__ is one to the importer of zips only if the zip lists its folder, which many tools leave out.
    listed = {entry.name for entry in used if entry.is_folder}
    return all(folder in listed or _is_package(folder, files) for folder in _folders(files))


def _folders(files: Iterable[str]) -> set[str]:
    """Return every folder that the files lie in, and those above."""
    found: set[str] = set()
    for name in files:
        folder = name.rpartition("/")[0]
        while folder and folder not in found:
            found.add(folder)
            folder = folder.rpartition("/")[0]
    return found


def _is_package(folder: str, files: Set[str]) -> bool:
    return f"{folder}/__init__.py" in files or f"{folder}/__init__.pyc" in files


def _only_folder(entries: tuple[Entry, ...]) -> str | None:
    """Return the single top folder if it is not itself a package: what no `import` can name is none, whatever lies in it."""
    names = {entry.name for entry in entries if not _is_junk(entry) and not entry.is_folder}
    tops = {name.partition("/")[0] for name in names}
    if len(tops) != 1:
        return None
    top = tops.pop()
    if top in names or (top.isidentifier() and not keyword.iskeyword(top) and _is_package(top, names)):
        return None
    return top


def _roots(entries: tuple[Entry, ...], folder: Path) -> tuple[Path, ...]:
    top = _only_folder(entries)
    # Below the top folder first; the other too, for scripts that name the folder as a package.
    return (folder,) if top is None else (folder / top, folder)


def _check_room(entries: tuple[Entry, ...], room: int | None) -> None:
    written = [entry for entry in entries if not _is_junk(entry)]
    needed = sum(entry.size for entry in written)
    if room is not None and needed > room:
        raise NoRoomError(needed, max(written, key=lambda entry: entry.size).name)


def _unpack(file: IO[bytes], entries: tuple[Entry, ...], folder: Path) -> None:
    temporary = folder.with_name(f".{folder.name}.unpacking")
    temporary.mkdir(mode=0o755)
    try:
        made: set[str] = set()
        for entry in entries:
            if _is_junk(entry):
                for _ in _contents(file, entry):
                    pass
                continue
            _make_folders(temporary, entry.name if entry.is_folder else entry.name.rpartition("/")[0], made)
            if not entry.is_folder:
                _write(file, entry, temporary / entry.name)
        temporary.rename(folder)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise


def _make_folders(root: Path, name: str, made: set[str]) -> None:
    missing = []
    while name and name not in made:
        missing.append(name)
        made.add(name)
        name = name.rpartition("/")[0]
    for each in reversed(missing):
        (root / each).mkdir(mode=0o755)


def _write(file: IO[bytes], entry: Entry, target: Path) -> None:
    descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, entry.mode)
    try:
        for block in _contents(file, entry):
            view = memoryview(block)
            while view:
                view = view[os.write(descriptor, view) :]
    finally:
        os.close(descriptor)


def _check_contents(file: IO[bytes], entries: tuple[Entry, ...]) -> None:
    for entry in entries:
        for _ in _contents(file, entry):
            pass


def _contents(file: IO[bytes], entry: Entry) -> Iterator[bytes]:
    """Yield the unpacked bytes; they are as many as the directory says and of its checksum, or it raises."""
    shown = repr(clip(entry.name, 120))
    crc = size = 0
    try:
        for block in _inflated(file, entry) if entry.method == _DEFLATED else _stored(file, entry):
            crc = zlib.crc32(block, crc)
            size += len(block)
            if size > entry.size:
                raise InvalidArchiveError(f"entry {shown} unpacks to more than the {entry.size:,} bytes it announces")
            yield block
    except zlib.error:
        raise InvalidArchiveError(f"entry {shown} is damaged: it cannot be unpacked") from None
    if size != entry.size or crc != entry.crc:
        raise InvalidArchiveError(f"entry {shown} is damaged: its checksum or size is wrong")


def _stored(file: IO[bytes], entry: Entry) -> Iterator[bytes]:
    at, end = entry.data, entry.data + entry.packed
    while at < end and (block := _pread(file, min(_BLOCK, end - at), at)):
        at += len(block)
        yield block


def _inflated(file: IO[bytes], entry: Entry) -> Iterator[bytes]:
    machine = zlib.decompressobj(-zlib.MAX_WBITS)
    for packed in _stored(file, entry):
        data = packed
        while data and not machine.eof:
            block = machine.decompress(data, _BLOCK)
            data = machine.unconsumed_tail
            if block:
                yield block
    while not machine.eof:
        block = machine.decompress(b"", _BLOCK)
        if not block:
            raise zlib.error("the packed data ends too soon")
        yield block
    if machine.unused_data:
        raise zlib.error("something follows the packed data")
