"""What was last seen of jobs and their pods.

Own code, because kopf's index starts in quadratic time and keeps what was deleted while its watch was broken.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from itertools import islice

from tftrainer.messages.contract import LiveReport

from tftraining_operator.core.records import JobRecord, Key, Observed, PodRecord
from tftraining_operator.runtime.checks import Checks
from tftraining_operator.runtime.compact import Compact, compact_job, compact_pod, whole_job, whole_pod

_REMEMBERED = 4096
"""Deleted jobs, and deleted pods, that are remembered, so that a late event or list does not bring one back to life."""


class Store:
    """Records by job. Takes events in any order, doubled or late: the newest version of each object stays.

    `deleted` is told, once, of each job that was known and is there no more.
    """

    def __init__(self, deleted: Callable[[JobRecord], object] = lambda _: None) -> None:
        self._deleted = deleted
        self._jobs: dict[Key, JobRecord | Compact] = {}
        self._pods: dict[Key, dict[str, PodRecord | Compact]] = {}
        self._key_of: dict[str, Key] = {}
        self._gone: OrderedDict[str, PodRecord | Compact] = OrderedDict()
        self._gone_of: dict[Key, dict[str, PodRecord | Compact]] = {}
        self._refusals: dict[Key, str] = {}
        self._refused_in: dict[str, dict[Key, None]] = {}
        self._beside: dict[Key, set[str]] = {}
        self.checks = Checks()
        """Whose turn it is to be checked while it waits."""
        self._live: dict[Key, dict[str, LiveReport]] = {}
        self._gone_jobs: OrderedDict[str, None] = OrderedDict()

    def __len__(self) -> int:
        return len(self._jobs)

    def observe(self, key: Key) -> Observed | None:
        """Return all that is known of a job, None if there is no such job."""
        job = self._jobs.get(key)
        if job is None:
            return None
        pods = tuple(map(whole_pod, self._pods.get(key, {}).values()))
        gone = tuple(map(whole_pod, self._gone_of.get(key, {}).values()))
        refusal, live = self._refusals.get(key, ""), self._live.get(key, {})
        return Observed(whole_job(job), pods, gone, refusal, live, unchecked=self.checks.bars(key))

    def __iter__(self) -> Iterator[Key]:
        """Iterate over the keys of all jobs that there are now."""
        return iter(list(self._jobs))

    def jobs(self) -> Iterator[JobRecord | Compact]:
        """Iterate over all jobs that there are now, those that have ended in the form they are kept in."""
        return iter(list(self._jobs.values()))

    def put_job(self, job: JobRecord) -> bool:
        """Keep what was seen of a job and tell whether it is news.

        It is none where as much or more is known, also of a successor of its name, or where it was deleted already. A job that another
        controller runs is not kept, so that nobody here looks at it, counts it or writes to it: news it is only in the place of one known.
        """
        known = self._jobs.get(job.key)
        if job.uid in self._gone_jobs or (known is not None and not newer(job.resource_version, known.resource_version)):
            return False
        if known is not None and known.uid != job.uid:
            self._mark_deleted(known.uid)
            self._forget(job.key)
            self._deleted(whole_job(known))
        if not job.ours:
            return self._jobs.pop(job.key, None) is not None
        self._jobs[job.key] = compact_job(job)
        return True

    def drop_report(self, key: Key) -> None:
        """Forget what the pod of a job has told of itself."""
        self._live.pop(key, None)

    def drop_job(self, key: Key, uid: str) -> None:
        """Forget a job that was deleted; one of the same name that came after it stays."""
        self._mark_deleted(uid)
        known = self._jobs.get(key)
        if known is not None and known.uid == uid:
            del self._jobs[key]
            self._forget(key)
            self._deleted(whole_job(known))

    def put_pod(self, pod: PodRecord) -> tuple[Key, ...]:
        """Keep what was seen of a pod and return the keys of the jobs that it is news for.

        It is none where as much or more is known, or where it was deleted already. A pod whose owner was changed is news for both.
        """
        before = self._key_of.get(pod.uid, pod.key)
        known = self._pods.get(before, {}).get(pod.name)
        if pod.uid in self._gone or (known is not None and not newer(pod.resource_version, known.resource_version)):
            return ()
        self._file(pod)
        return (pod.key,) if before == pod.key else (pod.key, before)

    def drop_pod(self, pod: PodRecord) -> tuple[Key, ...]:
        """Remember a pod as gone, as it was at its end, and return the keys of the jobs that it is news for."""
        known = self._gone.get(pod.uid)
        if known is not None and not newer(pod.resource_version, known.resource_version):
            return ()
        key = self._key_of.get(pod.uid)
        if key is not None:
            self._take_out(key, pod.name)
            # Where it was known is where it is missed, whatever was written on it at the end.
            pod = replace(pod, key=key)
        self._gone[pod.uid] = record = compact_pod(pod)
        if pod.uid in self._live.get(pod.key, {}):
            del self._live[pod.key]
        if pod.key in self._jobs:
            self._gone_of.setdefault(pod.key, {})[pod.uid] = record
        while len(self._gone) > _REMEMBERED:
            uid, oldest = self._gone.popitem(last=False)
            self._gone_of.get(oldest.key, {}).pop(uid, None)
        return (pod.key,)

    def forget_pod(self, key: Key, name: str, uid: str) -> None:
        """Remember as gone a pod that the server has just said is not there, unless another has taken its name meanwhile."""
        known = self._pods.get(key, {}).get(name)
        if known is not None and known.uid == uid:
            self.drop_pod(whole_pod(known))
        if (gone := self._gone.get(uid)) is not None:
            self._gone[uid] = record = compact_pod(replace(whole_pod(gone), absent=True))
            if uid in self._gone_of.get(key, {}):
                self._gone_of[key][uid] = record

    def has_pod(self, uid: str) -> bool:
        """Whether a pod with that uid is known."""
        return uid in self._key_of

    def is_going_on(self, uid: str) -> bool:
        """Whether the pod with that uid is known and had not ended when it was last seen."""
        pods = self._pods.get(self._key_of[uid], {}) if uid in self._key_of else {}
        return any(pod.uid == uid and not isinstance(pod, Compact) for pod in pods.values())

    def put_report(self, pod: str, report: LiveReport) -> Key | None:
        """Keep what the pod with that uid tells of itself, and return the key of its job; None where no such pod is known."""
        key = self._key_of.get(pod)
        if key is None or key not in self._jobs:
            return None
        self._live.setdefault(key, {})[pod] = report
        return key

    @property
    def pod_count(self) -> int:
        """How many pods are known."""
        return len(self._key_of)

    @property
    def refused_count(self) -> int:
        """How many jobs wait whose pod the API server has refused."""
        return len(self._refusals)

    def refuse(self, key: Key, message: str) -> None:
        """Remember what the API server said when it refused the job's pod; empty when it took it."""
        if message:
            self._refusals[key] = message
            self._refused_in.setdefault(key.namespace, {})[key] = None
        else:
            self._forget_refusal(key)

    def refused(self, namespace: str, count: int) -> list[Key]:
        """Return the jobs of a namespace whose pods have been refused for the longest time, `count` at most."""
        return list(islice(self._refused_in.get(namespace, ()), count))

    def put_beside(self, key: Key, name: str) -> None:
        """Remember that the API server has an object of that name which pods of a job that are still to be created need."""
        self._beside.setdefault(key, set()).add(name)

    def has_beside(self, key: Key, name: str) -> bool:
        """Whether the API server has the object of that name, as far as it is known."""
        return name in self._beside.get(key, ())

    def prune_jobs(self, present: Iterable[str], listed_at: str, namespace: str | None) -> list[Key]:
        """Drop the jobs that a list of that version did not have, and return their keys."""
        uids = set(present)
        ghosts = [
            job
            for job in list(self._jobs.values())
            if job.uid not in uids and (namespace is None or job.key.namespace == namespace) and not _older(listed_at, job.resource_version)
        ]
        for job in ghosts:
            self.drop_job(job.key, job.uid)
        return [job.key for job in ghosts]

    def prune_pods(self, present: Iterable[str], listed_at: str, namespace: str | None) -> list[Key]:
        """Drop the pods that a list of that version did not have, and return the keys of their jobs."""
        uids = set(present)
        ghosts = [
            pod
            for pods in list(self._pods.values())
            for pod in list(pods.values())
            if pod.uid not in uids and (namespace is None or pod.key.namespace == namespace) and not _older(listed_at, pod.resource_version)
        ]
        for pod in ghosts:
            self.drop_pod(whole_pod(pod))
        return [pod.key for pod in ghosts]

    def adopt(self, key: Key, pod: PodRecord) -> None:
        """Keep a pod that the server has just shown under the job whose pod's name it has, whatever it says about itself.

        One that was taken for gone lives: the watch tells of a pod that has lost its label as of a deleted one.
        """
        gone = self._gone.get(pod.uid)
        if gone is not None and not _older(pod.resource_version, gone.resource_version):
            del self._gone[pod.uid]
            self._gone_of.get(gone.key, {}).pop(pod.uid, None)
        known = self._pods.get(self._key_of.get(pod.uid, key), {}).get(pod.name)
        if pod.uid not in self._gone and (known is None or not _older(pod.resource_version, known.resource_version)):
            self._file(replace(pod, key=key))

    def _file(self, pod: PodRecord) -> None:
        for key in {self._key_of.get(pod.uid, pod.key), pod.key}:
            self._take_out(key, pod.name)
        self._pods.setdefault(pod.key, {})[pod.name] = compact_pod(pod)
        self._key_of[pod.uid] = pod.key
        self.checks.see(pod)

    def _take_out(self, key: Key, name: str) -> None:
        pods = self._pods.get(key, {})
        taken = pods.pop(name, None)
        if taken is not None:
            self._key_of.pop(taken.uid, None)
            self.checks.lose(key.namespace, taken.uid)
            if not pods:
                del self._pods[key]

    def _mark_deleted(self, uid: str) -> None:
        self._gone_jobs[uid] = None
        if len(self._gone_jobs) > _REMEMBERED:
            self._gone_jobs.popitem(last=False)

    def _forget(self, key: Key) -> None:
        self._gone_of.pop(key, None)
        self._forget_refusal(key)
        self.checks.forget(key)
        self._live.pop(key, None)

    def _forget_refusal(self, key: Key) -> None:
        self._beside.pop(key, None)
        if self._refusals.pop(key, None) is not None:
            keys = self._refused_in[key.namespace]
            del keys[key]
            if not keys:
                del self._refused_in[key.namespace]


def _older(version: str, than: str) -> bool:
    """Tell whether a resource version is older than another; those of one API server can be compared (KEP-5504)."""
    return version.isdigit() and than.isdigit() and int(version) < int(than)


def newer(version: str, than: str) -> bool:
    """Tell whether a resource version is another than the known one and not older: of what cannot be compared, the last word counts."""
    return version != than and not _older(version, than)
