"""Imported by the script's interpreter before the script, because this folder leads its `PYTHONPATH`.

The script itself is then run by Python alone, as by hand: this module removes its own traces and leaves four things behind: a
record of the exception that ends the process, a word of the threads that it waits for at its end, a stack dump at SIGUSR1, and an ear
for a SIGTERM that TensorFlow keeps to itself.
Then it gives way to the module of its name that Python would have imported without it. It imports nothing that Python has not
loaded anyway until there is an exception to record: hence no `pathlib` and no `typing`.
"""

# ruff: noqa: PTH118, PTH120, PTH123
from __future__ import annotations

import _thread
import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    import typing
    from types import FrameType, TracebackType

HOOK_VARIABLE = "TFTRAINING_HOOK"
"""`RECORD:CODE:DEPENDENCIES:PACKAGES`: where to write the record, the two folders of the user's own files, that of installed packages."""
TAIL = 1024
TEXT = 8 * 1024
"""Characters at either end of an exception's text, in which the launcher looks for the cause."""
TEXT_OF_LINE = 400
LAST_LINE = "last-line"
"""Where, beside the record, is said what keeps the process alive when the main program has ended."""
_SIGUSR1 = 10
_SIGTERM = 15
_SIGURG = 23
"""Sent after SIGTERM by the launcher. Where nobody hears it, as when the interpreter is being ended, it does nothing."""
_SAVES = f"{os.sep}failure_handling{os.sep}"
"""In whose modules TensorFlow watches for a preemption, to save before it."""


def _install() -> str:
    """Leave behind what is left behind, and return the folder of packages."""
    own = os.path.dirname(__file__)
    sys.path[:] = [entry for entry in sys.path if entry != own]
    remaining = [entry for entry in os.environ.get("PYTHONPATH", "").split(os.pathsep) if entry and entry != own]
    if remaining:
        os.environ["PYTHONPATH"] = os.pathsep.join(remaining)
    else:
        os.environ.pop("PYTHONPATH", None)
    settings = os.environ.pop(HOOK_VARIABLE, "")
    if settings.count(os.pathsep) != 3:
        return ""
    record, code, dependencies, packages = settings.split(os.pathsep)
    process, thread = os.getpid(), _thread.get_ident()

    def excepthook(kind: type[BaseException], value: BaseException, trace: TracebackType | None) -> None:
        # Whatever goes wrong here, the user's own traceback must come out as if this were not there. Of a KeyboardInterrupt Python
        # dies by the signal, unless code is compiled before that, which the imports of a record do.
        try:
            ends = (os.getpid(), _thread.get_ident()) == (process, thread) and not _goes_on()
            if ends and kind is not KeyboardInterrupt:
                _write(record, _describe(kind, value, trace, code, dependencies))
        except BaseException:  # noqa: S110
            pass
        sys.__excepthook__(kind, value, trace)

    sys.excepthook = excepthook

    def at_the_end(threading: typing.Any) -> None:
        left = list(_who_is_left(threading, code, dependencies)) if os.getpid() == process else []
        if left:
            with open(os.path.join(os.path.dirname(record), LAST_LINE), "w", encoding="utf-8", errors="replace") as file:
                file.writelines(f"{kind}\t{_word(name)}\t{_word(path)}\t{line}\n" for kind, name, path, line in left)

    _see_the_end(at_the_end)
    _hear_again()
    import faulthandler

    faulthandler.register(_SIGUSR1, file=2, all_threads=True)
    return packages


def _give_way(packages: str) -> None:
    # Of an installed package nothing runs that the script does not import.
    at = sys.path.index(packages) if packages in sys.path else None
    if at is not None:
        del sys.path[at]
    own = sys.modules.pop(__name__)
    try:
        __import__(__name__)
    except ImportError as error:
        if error.name != __name__:
            raise
        sys.modules[__name__] = own
    finally:
        if at is not None:
            sys.path.insert(at, packages)


def _hear_again() -> None:
    """Let SIGTERM do what it would without TensorFlow's own handler.

    Where several workers train together, TensorFlow puts one in the place of what was there, the script's own or none, that only makes a
    note. What watches for a preemption is left to itself.
    """
    import _signal  # type: ignore[import-not-found]  # not `signal`, which the script may have of its own

    def heard_again(_: int, frame: FrameType | None) -> None:
        if not _kept_by_tensorflow():
            return
        meant = _signal.getsignal(_SIGTERM)
        if callable(meant):
            meant(_SIGTERM, frame)
        elif meant == _signal.SIG_DFL and not _saves_by_itself():
            _signal.signal(_SIGTERM, _signal.SIG_DFL)
            os.kill(os.getpid(), _SIGTERM)

    _signal.signal(_SIGURG, heard_again)


def _kept_by_tensorflow() -> bool:
    """Whether the kernel gives SIGTERM to a library of TensorFlow, whatever Python knows of it."""
    try:
        # Nothing is imported: TensorFlow has it loaded.
        ctypes = sys.modules["ctypes"]
        address = ctypes.PYFUNCTYPE(ctypes.c_void_p, ctypes.c_int)(("PyOS_getsig", ctypes.pythonapi))(_SIGTERM) or 0
        with open("/proc/self/maps", encoding="utf-8", errors="replace") as maps:
            for line in maps:
                first, _, end = line.split(None, 1)[0].partition("-")
                if int(first, 16) <= address < int(end, 16):
                    return "tensorflow" in line.rstrip().rpartition(os.sep)[2]
    except Exception:  # noqa: S110 - then SIGTERM stays what it is
        pass
    return False


def _saves_by_itself() -> bool:
    for frame in sys._current_frames().values():  # noqa: SLF001 - documented
        at: FrameType | None = frame
        while at is not None:
            if _SAVES in at.f_code.co_filename:
                return True
            at = at.f_back
    return False


def _see_the_end(tell: typing.Callable[[typing.Any], None]) -> None:
    """Have `tell` called with the module `threading` when the main program has ended, once there was a second thread.

    Python waits for the others in a function of that module. It is not imported here, because a script may have a module of its own of
    any name that it imports; but whoever starts a thread by it has it.
    """
    started = {name: getattr(_thread, name) for name in ("start_new_thread", "start_joinable_thread") if hasattr(_thread, name)}

    def instead_of(name: str) -> typing.Any:
        def start(*args: typing.Any, **options: typing.Any) -> typing.Any:
            threading = sys.modules.get("threading")
            if threading is not None and hasattr(threading, "_shutdown") and stand_ins:
                put_back(threading)
                _tell_at_shutdown(threading, tell)
            return started[name](*args, **options)

        return start

    def put_back(threading: typing.Any) -> None:
        for name, stand_in in stand_ins.items():
            for module, attribute in ((_thread, name), (threading, f"_{name}")):
                if getattr(module, attribute, None) is stand_in:
                    setattr(module, attribute, started[name])
        stand_ins.clear()

    stand_ins = {name: instead_of(name) for name in started}
    for name, stand_in in stand_ins.items():
        setattr(_thread, name, stand_in)


def _tell_at_shutdown(threading: typing.Any, tell: typing.Callable[[typing.Any], None]) -> None:
    wait = threading._shutdown  # noqa: SLF001 - what Python itself calls

    def shutdown() -> None:
        try:  # noqa: SIM105 - nothing is imported
            tell(threading)
        except Exception:  # noqa: S110 - as with an exception
            pass
        wait()

    threading._shutdown = shutdown  # noqa: SLF001


def _who_is_left(threading: typing.Any, code: str, dependencies: str) -> typing.Iterator[tuple[str, str, str, int]]:
    """Give kind and name of each thread and process that Python waits for, and the file and line where a thread is."""
    stacks = sys._current_frames()  # noqa: SLF001 - documented
    for thread in threading.enumerate():
        if thread.daemon or thread is threading.main_thread():
            continue
        frame, places = stacks.get(thread.ident), []
        while frame is not None:
            places.append((frame.f_code.co_filename, frame.f_lineno))
            frame = frame.f_back
        own = [(shown, line) for path, line in places if (shown := _shown(path, code, dependencies))]
        yield "thread", thread.name, *(own or places or [("", 0)])[0]
    for child in getattr(sys.modules.get("multiprocessing.process"), "_children", ()):
        if not child.daemon:
            yield "process", child.name, "", 0


def _word(text: object) -> str:
    return " ".join(str(text).split())


def _goes_on() -> bool:
    """Whether the script has not ended by the exception but handed it over itself: its own frame is then still on the stack."""
    frame = sys._getframe()  # noqa: SLF001 - documented, and there is no other way without an import
    while frame.f_back is not None:
        frame = frame.f_back
    return frame.f_code.co_name in ("<module>", "_run_module_as_main")


def _describe(
    kind: type[BaseException], value: BaseException, trace: TracebackType | None, code: str, dependencies: str
) -> dict[str, object]:
    import traceback

    # An exception is the user's object: any attribute of it can be of any type, or raise.
    frames = [(frame.f_code.co_filename, line) for frame, line in traceback.walk_tb(trace)]
    source, at = _of(value, "filename", str), _of(value, "lineno", int)
    syntax = isinstance(value, SyntaxError) and bool(_shown(source, code, dependencies))
    places = [*frames, (source, at)] if syntax else frames
    own = [(path, shown, line) for path, line in places if (shown := _shown(path, code, dependencies))]
    path, file, line = own[-1] if own else ("", *(places[-1] if places else ("", 0)))
    module, name = _of(kind, "__module__", str), _of(kind, "__qualname__", str)
    message = _text(value)
    return {
        "type": _clean((name if module in ("", "builtins", "__main__") else f"{module}.{name}")[:TAIL]),
        "message": _clean(message if len(message) <= 2 * TEXT else f"{message[:TEXT]}\n{message[-TEXT:]}"),
        "missing": _clean(_of(value, "name", str)[:TAIL]) if isinstance(value, ModuleNotFoundError) else "",
        "errno": _of(value, "errno", int) if isinstance(value, OSError) else None,
        "file": _clean(file),
        "line": line,
        "syntax": syntax,
        "traceback": _clean(_shortened(_printed(kind, value, trace), path or file, line)),
    }


def _of(value: object, name: str, kind: type[typing.Any]) -> typing.Any:
    """Return an attribute if it is of that type and not very large, and an empty value otherwise."""
    try:
        found = getattr(value, name)
        if isinstance(found, kind) and (kind is str or abs(found) < 2**31):
            return kind(found)
    except Exception:  # noqa: S110
        pass
    return kind()


def _text(value: BaseException) -> str:
    try:
        return "".join(str(value))
    except Exception:
        return "(the exception has no printable text)"


def _printed(kind: type[BaseException], value: BaseException, trace: TracebackType | None) -> list[str]:
    """Return the lines that Python prints of an exception; of one that it cannot print whole, those of its own frames."""
    import traceback

    try:
        return "".join(traceback.format_exception(kind, value, trace)).splitlines()
    except Exception:
        frames = "".join(traceback.format_tb(trace)).splitlines()
        return ["Traceback (most recent call last):", *frames, f"{_of(kind, '__qualname__', str)}: {_text(value)}"]


def _shortened(lines: list[str], file: str, line: int) -> str:
    """Return lines about the user's deepest frame, about the one that names the exception, and at both ends."""
    place = f'File "{file}", line {line}'
    frames = [number for number, each in enumerate(lines) if each.lstrip(" |+").startswith('File "')]
    own = [number for number in frames if lines[number].lstrip(" |+").startswith(place)]
    about = ((0, 20), *((each - 20, each + 20) for each in (*own[-1:], *frames[-1:])), (len(lines) - 20, len(lines)))
    kept = sorted({number for first, last in about for number in range(max(first, 0), min(last, len(lines)))})
    return "\n".join(lines[number][:TEXT_OF_LINE] for number in kept) + "\n"


def _shown(path: str, code: str, dependencies: str) -> str:
    if path.startswith(code + os.sep):
        return path[len(code) + 1 :]
    if path.startswith(dependencies + os.sep):
        return path[len(os.path.dirname(dependencies)) + 1 :]
    return ""


def _clean(text: str) -> str:
    """Return a text as Python prints it where it cannot be encoded: bytes of a file's name that are no text, say."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def _write(record: str, description: dict[str, object]) -> None:
    import json

    with open(record, "w", encoding="utf-8") as file:
        json.dump(description, file, ensure_ascii=False)


_give_way(_install())
