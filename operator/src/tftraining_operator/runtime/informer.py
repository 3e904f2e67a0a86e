"""What watches tell: kept in the store, and where it is news, queued for a look at its job."""

from __future__ import annotations

from tftraining_operator.core import claims
from tftraining_operator.core.records import JobRecord, PodRecord
from tftraining_operator.runtime.store import Store
from tftraining_operator.runtime.watches import Watches
from tftraining_operator.runtime.workqueue import Priority, WorkQueue

_WOKEN = 3
"""So many refused jobs are tried when a pod ends: what is free again is seldom enough for more, and each success wakes the next."""


class Informer:
    """Takes the events of jobs and pods. `listed` marks those of a watch's first list, `deleted` those of objects that are gone."""

    def __init__(self, store: Store, queue: WorkQueue, watches: Watches) -> None:
        self._store = store
        self._queue = queue
        self._watches = watches

    def job(self, job: JobRecord, *, deleted: bool, listed: bool) -> None:
        """Take an event of a job."""
        self._heard(job.uid, listed=listed)
        if deleted:
            self._store.drop_job(job.key, job.uid)
            self._queue.add(job.key)
        elif self._store.put_job(job):
            self._queue.add(job.key, Priority.BACKGROUND if listed else Priority.LIVE)

    def pod(self, pod: PodRecord, *, deleted: bool, listed: bool) -> None:
        """Take an event of a pod. Its end is looked at before all else: somebody waits for it, and it may be room for another job."""
        self._heard(pod.uid, listed=listed)
        over = deleted or claims.ended(pod)
        ends = over and self._store.is_going_on(pod.uid)
        for key in self._store.drop_pod(pod) if deleted else self._store.put_pod(pod):
            if ends or listed:
                self._queue.add(key, Priority.URGENT if ends else Priority.BACKGROUND)
            else:
                self._queue.add_soon(key)
        if ends:
            self.wake(pod.key.namespace)

    def wake(self, namespace: str) -> None:
        """Try again at once the jobs of a namespace whose pods have been refused for the longest time, and check those whose turn it is."""
        for key in self._store.refused(namespace, _WOKEN):
            self._queue.forget(key)
            self._queue.add(key)
        for key in self._store.checks.next(namespace):
            self._queue.add(key)

    def _heard(self, uid: str, *, listed: bool) -> None:
        self._watches.heard(uid)
        if listed:
            self._watches.listed()
