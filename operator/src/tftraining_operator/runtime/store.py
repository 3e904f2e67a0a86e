"""What was last seen of jobs and their pods.

Own code, because kopf's index starts in quadratic time and keeps what was deleted while its watch was broken.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Iterator
from dataclasses import replace

from tftraining_operator.core.records import JobRecord, Key, Observed, PodRecord

_REMEMBERED = 4096
"""Deleted jobs, and deleted pods, that are remembered, so that a late event or list does not bring one back to life."""


class Store:
    """Records by job. Takes events in any order, doubled or late: the newest version of each object stays."""

    def __init__(self) -> None:
        self._jobs: dict[Key, JobRecord] = {}
        self._pods: dict[Key, dict[str, PodRecord]] = {}
        self._gone: OrderedDict[str, PodRecord] = OrderedDict()
        self._gone_of: dict[Key, dict[str, PodRecord]] = {}
        self._refusals: dict[Key, str] = {}
        self._gone_jobs: OrderedDict[str, None] = OrderedDict()

    def __len__(self) -> int:
        return len(self._jobs)

    def observe(self, key: Key) -> Observed | None:
        """Return all that is known of a job, None if there is no such job."""
        job = self._jobs.get(key)
        if job is None:
            return None
        pods = tuple(self._pods.get(key, {}).values())
        return Observed(job, pods, tuple(self._gone_of.get(key, {}).values()), self._refusals.get(key, ""))

    def jobs(self) -> Iterator[JobRecord]:
        """Iterate over all jobs as they are now."""
        return iter(list(self._jobs.values()))

    def put_job(self, job: JobRecord) -> None:
        """Keep what was seen of a job, unless something newer is known, also a successor of its name, or it was deleted already."""
        known = self._jobs.get(job.key)
        if job.uid in self._gone_jobs or (known is not None and _older(job.resource_version, known.resource_version)):
            return
        if known is not None and known.uid != job.uid:
            self._bury(known.uid)
            self._forget(job.key)
        self._jobs[job.key] = job

    def lighten(self, job: JobRecord) -> None:
        """Drop the inline script of a job that has ended: thousands of them are kept, of up to 256 KiB each, and none runs again."""
        script = job.spec.get("script")
        if self._jobs.get(job.key) is job and isinstance(script, dict) and script.get("inline"):
            self._jobs[job.key] = replace(job, spec={**job.spec, "script": {**script, "inline": ""}})

    def drop_job(self, key: Key, uid: str) -> None:
        """Forget a job that was deleted; one of the same name that came after it stays."""
        self._bury(uid)
        known = self._jobs.get(key)
        if known is not None and known.uid == uid:
            del self._jobs[key]
            self._forget(key)

    def put_pod(self, pod: PodRecord) -> None:
        """Keep what was seen of a pod, unless something newer is known or it was deleted already."""
        if pod.uid in self._gone:
            return
        pods = self._pods.setdefault(pod.key, {})
        known = pods.get(pod.name)
        if known is not None and _older(pod.resource_version, known.resource_version):
            return
        pods[pod.name] = pod

    def drop_pod(self, pod: PodRecord) -> None:
        """Remember a pod as gone, as it was at its end."""
        pods = self._pods.get(pod.key, {})
        known = pods.get(pod.name)
        if known is not None and known.uid == pod.uid:
            del pods[pod.name]
            if not pods:
                self._pods.pop(pod.key, None)
        self._gone[pod.uid] = pod
        if pod.key in self._jobs:
            self._gone_of.setdefault(pod.key, {})[pod.uid] = pod
        while len(self._gone) > _REMEMBERED:
            uid, oldest = self._gone.popitem(last=False)
            self._gone_of.get(oldest.key, {}).pop(uid, None)

    def forget_pod(self, key: Key, name: str, uid: str) -> None:
        """Remember as gone a pod that the server has just said is not there, unless another has taken its name meanwhile."""
        known = self._pods.get(key, {}).get(name)
        if known is not None and known.uid == uid:
            self.drop_pod(known)

    @property
    def pod_count(self) -> int:
        """How many pods are known."""
        return sum(map(len, self._pods.values()))

    def refuse(self, key: Key, message: str) -> None:
        """Remember what the API server said when it refused the job's pod; empty when it took it."""
        if message:
            self._refusals[key] = message
        else:
            self._refusals.pop(key, None)

    def prune_jobs(self, present: Iterable[str], listed_at: str, namespace: str | None) -> list[Key]:
        """Drop the jobs that a list of that version did not have, and return their keys."""
        uids = set(present)
        ghosts = [
            job
            for job in self.jobs()
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
            self.drop_pod(pod)
        return [pod.key for pod in ghosts]

    def adopt(self, key: Key, pod: PodRecord) -> None:
        """Keep a pod that the server has just shown under the job whose pod's name it has, whatever it says about itself.

        One that was taken for gone lives: the watch tells of a pod that has lost its label as of a deleted one.
        """
        gone = self._gone.get(pod.uid)
        if gone is not None and not _older(pod.resource_version, gone.resource_version):
            del self._gone[pod.uid]
            self._gone_of.get(gone.key, {}).pop(pod.uid, None)
        self.put_pod(replace(pod, key=key))

    def _bury(self, uid: str) -> None:
        self._gone_jobs[uid] = None
        if len(self._gone_jobs) > _REMEMBERED:
            self._gone_jobs.popitem(last=False)

    def _forget(self, key: Key) -> None:
        self._gone_of.pop(key, None)
        self._refusals.pop(key, None)


def _older(version: str, than: str) -> bool:
    """Tell whether a resource version is older than another; those of one API server can be compared (KEP-5504)."""
    return version.isdigit() and than.isdigit() and int(version) < int(than)
