"""What there is of Kueue: the Workloads of jobs, as a watch of our own tells of them, and what they refer to.

Not kopf's watch: that looks for a definition only once, at its start, and Kueue may be installed, and removed, while this process runs.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from http import HTTPStatus
from typing import Final

import structlog

from tftraining_operator.core import claims
from tftraining_operator.core.observe import flavor, mapping, priority, text, workload_record
from tftraining_operator.core.records import JobRecord, Key, Place, Queueing, Raw, WorkloadRecord, WorkloadUpdate
from tftraining_operator.core.workloads import updated
from tftraining_operator.kube import paths
from tftraining_operator.kube.client import KubeApi
from tftraining_operator.kube.errors import AlreadyExistsError, ApiError, ConflictError, NotFoundError
from tftraining_operator.runtime.guard import NotLeadingError
from tftraining_operator.runtime.store import newer
from tftraining_operator.runtime.sweep import POD_SELECTOR
from tftraining_operator.runtime.workqueue import Priority, WorkQueue

_log = structlog.get_logger()
_PAUSE_SECONDS: Final = 2.0
"""Between one watch, or a try of one, and the next."""
BARRED_SECONDS: Final = 5.0
"""How long a Workload that was refused is not asked for again."""
_KEPT_SECONDS: Final = 30.0
"""How long what flavors and priorities are is good enough: it hardly ever changes."""
_REMEMBERED: Final = 4096
_ABSENT: Final = "Kueue is not installed in this cluster (it serves no workloads of kueue.x-k8s.io/v1beta2)"
_FORBIDDEN: Final = "the operator may not read Kueue's Workloads: an admin has to look at the roles of its chart"


class Queues:
    """The places of jobs in queues. `namespaces` empty means all; `clock` gives monotonic seconds, `server_time` the server's Unix seconds.

    Where it is not `enabled`, nothing is known of queues, and nobody asks the API server about them.
    """

    def __init__(
        self,
        api: KubeApi,
        queue: WorkQueue,
        namespaces: Sequence[str],
        clock: Callable[[], float],
        server_time: Callable[[], float],
        *,
        enabled: bool,
    ) -> None:
        self._api = api
        self._queue = queue
        self._clock = clock
        self._server_time = server_time
        self._namespaces: Sequence[str | None] = (list(namespaces) or [None]) if enabled else []
        self._away: dict[str | None, str] = {}
        self._workloads: dict[Key, dict[str, WorkloadRecord]] = {}
        self._gone: OrderedDict[str, None] = OrderedDict()
        self._waiting: set[Key] = set()
        self._refused: dict[Key, tuple[float, str]] = {}
        self._flavors: Mapping[str, Place] = {}
        self._priorities: Mapping[str, int] | None = None
        self._read_at = float("-inf")
        self._unread = ""
        self._reading = asyncio.Lock()

    def known(self, job: JobRecord) -> Queueing | None:
        """Return what is known of a job's place in a queue; None where it has nothing to do with queues, or nothing is known yet."""
        found = tuple(self._workloads.get(job.key, {}).values())
        namespace = next((each for each in self._namespaces if each in (None, job.key.namespace)), "")
        away = self._away.get(namespace)
        if away is None or not (found or _names_queue(job)):
            return None
        until, refusal = self._refused.get(job.key, (0.0, ""))
        return Queueing(away, found, refusal or self._unread, self._clock() < until, self._flavors, self._priorities)

    async def read(self, job: JobRecord) -> None:
        """See to it that what a job's place refers to is known."""
        if not self._namespaces or not _names_queue(job):
            return
        self._waiting.add(job.key)
        known = self.known(job)
        if known is None or known.away or claims.end(job) is not None:
            return
        # Whoever comes meanwhile waits for the one answer.
        async with self._reading:
            await self._read(known)

    async def _read(self, known: Queueing) -> None:
        wanted = {name for each in known.workloads for names in each.flavors.values() for name in names}
        known_all = self._priorities is not None and not self._unread and wanted <= self._flavors.keys()
        if self._clock() < self._read_at + (_KEPT_SECONDS if known_all else BARRED_SECONDS):
            return
        self._read_at = self._clock()
        try:
            self._flavors = dict(map(flavor, await self._all(paths.FLAVORS)))
            self._priorities = {name: value for raw in await self._all(paths.PRIORITIES) for name, value in priority(raw).items()}
            self._unread = ""
        except ApiError as error:
            self._unread = error.message
            _log.warning("flavors and priorities cannot be read", error=str(error))

    async def _all(self, kind: tuple[str, str]) -> list[Raw]:
        return [raw async for _, items in self._api.pages(paths.collection(kind)) for raw in items]

    async def create(self, key: Key, body: Raw) -> bool:
        """Ask for a place in a queue, and tell whether it was asked for; where it cannot be, that is known to the job's next look."""
        path = paths.collection(paths.WORKLOADS, key.namespace)
        try:
            created = workload_record(await self._api.create(path, body))
        except NotLeadingError:
            raise
        except AlreadyExistsError:
            await self._adopt(key, str(body["metadata"]["name"]))
            # One that is another's, or on its way out, stays in the way for a while.
            self._refused[key] = (self._clock() + BARRED_SECONDS, "")
            self._queue.add_after(key, BARRED_SECONDS)
            return False
        except ApiError as error:
            self._refused[key] = (self._clock() + BARRED_SECONDS, error.message or str(error))
            self._queue.add_after(key, BARRED_SECONDS)
            _log.info("no place in the queue could be asked for", namespace=key.namespace, job=key.name, error=str(error))
            return False
        self._refused.pop(key, None)
        if created is not None:
            self._put(created)
        return True

    async def _adopt(self, key: Key, name: str) -> None:
        """Keep what has the name of a job's Workload, whoever owns it: a watch does not tell of one without our label."""
        found = await self._api.get(paths.item(paths.WORKLOADS, key.namespace, name))
        owned = workload_record(found)
        metadata = mapping(found.get("metadata"))
        record = owned or WorkloadRecord(key, name, text(metadata.get("uid")), "", 0.0, text(metadata.get("resourceVersion")))
        self._gone.pop(record.uid, None)
        self._workloads.setdefault(key, {})[name] = record

    async def update(self, key: Key, update: WorkloadUpdate) -> None:
        """Do what is to be done with a Workload, if it still is that one.

        Raises:
            ApiError: the API server did not do it.

        """
        path = paths.item(paths.WORKLOADS, key.namespace, update.name)
        try:
            if update.delete:
                await self._api.delete(path, uid=update.uid)
                self._drop(key, update.name, update.uid)
                return
            found = await self._api.get(path)
            metadata = mapping(found.get("metadata"))
            if metadata.get("uid") != update.uid:
                self._drop(key, update.name, update.uid)
                return
            status = updated(mapping(found.get("status")), update, int(metadata.get("generation") or 0), self._server_time())
            written = await self._api.set_status(path, status, resource_version=text(metadata.get("resourceVersion")))
        except NotFoundError:
            self._drop(key, update.name, update.uid)
        except ConflictError:
            if not update.delete:
                raise
            self._drop(key, update.name, update.uid)
        else:
            if (record := workload_record(written)) is not None:
                self._put(record)

    async def run(self) -> None:
        """Follow the Workloads of all namespaces until cancelled."""
        await asyncio.gather(*(self._follow(namespace) for namespace in self._namespaces))

    async def _follow(self, namespace: str | None) -> None:
        while True:
            try:
                version = await self._list(namespace)
                self._set_away(namespace, "")
                async for kind, raw in self._api.watch(paths.collection(paths.WORKLOADS, namespace), POD_SELECTOR, version):
                    self._hear(kind, raw)
            except NotFoundError:
                self._set_away(namespace, _ABSENT)
            except ApiError as error:
                if error.status == HTTPStatus.FORBIDDEN:
                    self._set_away(namespace, _FORBIDDEN)
                elif error.status != HTTPStatus.GONE:
                    _log.warning("workloads cannot be followed", namespace=namespace or "", error=str(error))
            await asyncio.sleep(_PAUSE_SECONDS)

    async def _list(self, namespace: str | None) -> str:
        version, present = "", set()
        known = [each for of_job in self._workloads.values() for each in of_job.values() if namespace in (None, each.key.namespace)]
        async for page_version, items in self._api.pages(paths.collection(paths.WORKLOADS, namespace), POD_SELECTOR):
            version = page_version
            for raw in items:
                if (record := workload_record(raw)) is not None:
                    present.add(record.uid)
                    self._tell(record.key, news=self._put(record), priority=Priority.BACKGROUND)
        for each in known:
            if each.uid not in present:
                self._tell(each.key, news=self._drop(each.key, each.name, each.uid))
        return version

    def _hear(self, kind: str, raw: Raw) -> None:
        record = workload_record(raw)
        if record is not None:
            news = self._drop(record.key, record.name, record.uid) if kind == "DELETED" else self._put(record)
            self._tell(record.key, news=news)

    def _tell(self, key: Key, *, news: bool, priority: Priority = Priority.LIVE) -> None:
        if news:
            self._queue.add(key, priority)

    def _put(self, record: WorkloadRecord) -> bool:
        known = self._workloads.get(record.key, {}).get(record.name)
        same = known is not None and known.uid == record.uid
        if record.uid in self._gone or (known is not None and same and not newer(record.resource_version, known.resource_version)):
            return False
        self._workloads.setdefault(record.key, {})[record.name] = record
        return True

    def _drop(self, key: Key, name: str, uid: str) -> bool:
        self._gone[uid] = None
        if len(self._gone) > _REMEMBERED:
            self._gone.popitem(last=False)
        known = self._workloads.get(key, {})
        if name not in known or known[name].uid != uid:
            return False
        del known[name]
        if not known:
            del self._workloads[key]
        return True

    def forget(self, key: Key) -> None:
        """Forget what a job that is gone has asked for; its Workloads go by themselves."""
        self._waiting.discard(key)
        self._refused.pop(key, None)

    def _set_away(self, namespace: str | None, why: str) -> None:
        if self._away.get(namespace) == why:
            return
        if why or self._away.get(namespace):
            _log.warning("queues", namespace=namespace or "", state=why or "Kueue's Workloads are there again")
        self._away[namespace] = why
        for key in self._waiting:
            if namespace in (None, key.namespace):
                self._queue.add(key, Priority.BACKGROUND)


def _names_queue(job: JobRecord) -> bool:
    return mapping(job.spec.get("scheduling")).get("queue") is not None
