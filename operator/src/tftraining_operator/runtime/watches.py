"""Whether the watches still tell of what happens: a sweep finds what they should have told of before."""

from __future__ import annotations


class Watches:
    """What sweeps have found newer than the store, by uid, until a watch tells of it as well."""

    def __init__(self) -> None:
        self._last: set[str] = set()
        self._before: set[str] = set()
        self._anew = False

    def missed(self, uid: str) -> None:
        """Note that a sweep has found an object newer than the store had it. A watch may only be a moment late."""
        self._last.add(uid)

    def heard(self, uid: str) -> None:
        """Note that a watch has told of an object."""
        self._last.discard(uid)
        self._before.discard(uid)

    def listed(self) -> None:
        """Note that a watch begins, with a list of what there is: of what was deleted while there was none, it will not tell."""
        self._anew = True

    def begin_sweep(self) -> None:
        """Note that the next sweep begins."""
        self._anew = False
        self._before |= self._last
        self._last = set()

    @property
    def doubtful(self) -> bool:
        """Whether the last sweep found something that no watch has told of since, or a watch has begun after it."""
        return self._anew or bool(self._last)

    @property
    def silent(self) -> bool:
        """Whether two sweeps found such a thing: a watch that is late tells of the first one's long before the second."""
        return bool(self._before and self._last)
