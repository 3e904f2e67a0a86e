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
from tftraining_operator.runtime.breaker import Breaker, BusyError
from tftraining_operator.runtime.compact import compact_workload
from tftraining_operator.runtime.guard import NotLeadingError
from tftraining_operator.runtime.store import newer
from tftraining_operator.runtime.sweep import POD_SELECTOR
from tftraining_operator.runtime.workqueue import Priority, WorkQueue

_log = structlog.get_logger()
_PAUSE_SECONDS: Final = 2.0
"""Between one watch, or a try of one, and the next."""
BARRED_SECONDS: Final = 5.0
"""How long a Workload that was refused is not asked for again."""
PATIENCE_SECONDS: Final = 2.0
"""How long a look at a job waits for flavors and priorities; the next one has them."""
_TRIES_PER_SECOND: Final = 25.0
"""How many Workloads are asked for in a second that were refused before, of all jobs together."""
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
        self._reading: asyncio.Task[None] | None = None
        self._reading_since = 0.0
        self._breaker = Breaker(clock)

    def known(self, job: JobRecord) -> Queueing | None:
        """Return what is known of a job's place in a queue; None where it has nothing to do with queues, or nothing is known yet."""
        found = tuple(self._workloads.get(job.key, {}).values())
        namespace = next((each for each in self._namespaces if each in (None, job.key.namespace)), "")
        away = self._away.get(namespace)
        if away is None or not (found or _names_queue(job)):
            return None
        until, refusal = self._refused.get(job.key, (0.0, ""))
        barred = self._clock() < until or self._breaker.is_open
        return Queueing(away, found, refusal or self._unread or self._breaker.why, barred, self._flavors, self._priorities)

    async def read(self, job: JobRecord) -> None:
        """See to it that what a job's place refers to is known."""
        if not self._namespaces or not _names_queue(job):
            return
        self._waiting.add(job.key)
        known = self.known(job)
        if known is None or known.away or claims.end(job) is not None:
            return
        if self._reading is None and self._is_due(known):
            self._reading, self._reading_since = asyncio.create_task(self._read()), self._clock()
        if self._reading is not None:
            # Whoever comes meanwhile waits for the one answer, but for a moment only: workers have other jobs, too.
            left = max(0.0, self._reading_since + PATIENCE_SECONDS - self._clock())
            done, _ = await asyncio.wait({self._reading}, timeout=left)
            for each in done:
                each.result()

    def _is_due(self, known: Queueing) -> bool:
        wanted = {name for each in known.workloads for names in each.flavors.values() for name in names}
        known_all = self._priorities is not None and not self._unread and wanted <= self._flavors.keys()
        return self._clock() >= self._read_at + (_KEPT_SECONDS if known_all else BARRED_SECONDS)

    async def _read(self) -> None:
        try:
            self._flavors = dict(map(flavor, await self._all(paths.FLAVORS)))
            self._priorities = {name: value for raw in await self._all(paths.PRIORITIES) for name, value in priority(raw).items()}
            self._unread = ""
        except ApiError as error:
            self._unread = error.message or str(error)
            _log.warning("flavors and priorities cannot be read", error=str(error))
        finally:
            self._read_at, self._reading = self._clock(), None

    async def _all(self, kind: tuple[str, str]) -> list[Raw]:
        return [raw async for _, items in self._api.pages(paths.collection(kind)) for raw in items]

    async def create(self, key: Key, body: Raw) -> bool:
        """Ask for a place in a queue, and tell whether it was asked for; where it cannot be, that is known to the job's next look."""
        path, failed = paths.collection(paths.WORKLOADS, key.namespace), self._breaker.why
        try:
            async with self._breaker.request():
                created = workload_record(await self._api.create(path, body))
        except NotLeadingError:
            raise
        except BusyError:
            self._bar(key, "")
            return False
        except AlreadyExistsError:
            await self._adopt(key, str(body["metadata"]["name"]))
            # One that is another's, or on its way out, stays in the way for a while.
            self._bar(key, "")
            return False
        except ApiError as error:
            self._bar(key, error.message or str(error))
            _log.info("no place in the queue could be asked for", namespace=key.namespace, job=key.name, error=str(error))
            return False
        self._refused.pop(key, None)
        if failed:
            # It answers again, and those that have waited for that need not wait for their time.
            self._refused.clear()
            for each in self._waiting:
                self._queue.add(each, Priority.BACKGROUND)
        if created is not None:
            self._put(created)
        return True

    def _bar(self, key: Key, why: str) -> None:
        """Keep a job from asking for a while: the longer, the more of them have been refused."""
        self._refused.pop(key, None)
        seconds = max(BARRED_SECONDS, len(self._refused) / _TRIES_PER_SECOND)
        self._refused[key] = (self._clock() + seconds, why)
        self._queue.add_after(key, seconds)

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
            async with self._breaker.request():
                written = await self._written(path, update)
        except NotFoundError:
            self._drop(key, update.name, update.uid)
        except ConflictError:
            if not update.delete:
                raise
            self._drop(key, update.name, update.uid)
        else:
            if written is None:
                self._drop(key, update.name, update.uid)
            elif (record := workload_record(written)) is not None:
                self._put(record)

    async def _written(self, path: str, update: WorkloadUpdate) -> Raw | None:
        """Return the Workload as it was written, None where that very one is gone."""
        if update.delete:
            await self._api.delete(path, uid=update.uid)
            return None
        found = await self._api.get(path)
        metadata = mapping(found.get("metadata"))
        if metadata.get("uid") != update.uid:
            return None
        status = updated(mapping(found.get("status")), update, int(metadata.get("generation") or 0), self._server_time())
        return await self._api.set_status(path, status, resource_version=text(metadata.get("resourceVersion")))

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
        self._workloads.setdefault(record.key, {})[record.name] = compact_workload(record)
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
