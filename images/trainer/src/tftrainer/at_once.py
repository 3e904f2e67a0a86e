"""The same work for any number of things, by a few threads."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Final, TypeVar

T = TypeVar("T")
_END: Final = object()


def for_each(items: Iterable[T], work: Callable[[T], None], threads: int) -> None:
    """Do the work for every item, several at a time. Items are taken one by one, when a thread is free: a million take no memory.

    What the work or the taking of an item raises first is raised here, when no thread works any more; nothing more is begun then.
    """
    iterator = iter(items)
    taking = threading.Lock()
    failures: list[BaseException] = []

    def drain() -> None:
        while not failures:
            try:
                with taking:
                    item = next(iterator, _END)
                if item is _END:
                    return
                work(item)  # type: ignore[arg-type]  # it is no _END
            except BaseException as error:
                failures.append(error)

    with ThreadPoolExecutor(threads) as pool:
        for _ in range(threads):
            pool.submit(drain)
    if failures:
        raise failures[0]
