"""Jobs without end: created at a pace, with users that change their minds and pods that come to all kinds of ends."""

from __future__ import annotations

import asyncio
import itertools
import random
import time
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final

from aiohttp import ClientResponseError
from api import Api, Object
from played_kubelet import STAMP, ended, fetching, running

NAMESPACE: Final = "soak"
JOBS: Final = f"/apis/tftraining.dev/v1alpha1/namespaces/{NAMESPACE}/tftrainingjobs"
PODS: Final = f"/api/v1/namespaces/{NAMESPACE}/pods"
CONFIGMAPS: Final = f"/api/v1/namespaces/{NAMESPACE}/configmaps"
_ENDS: Final = {"succeeds": 70, "fails": 10, "is evicted": 8, "is deleted": 6, "is preempted": 6}
_DISRUPTED: Final = {"is evicted": "EvictionByEvictionAPI", "is preempted": "PreemptionByScheduler"}


@dataclass
class Lives:
    """What becomes of the jobs: `open` are those that have not ended, by the monotonic second of their creation."""

    api: Api
    chance: random.Random
    open: dict[str, float] = field(default_factory=dict)
    created: int = 0
    finished: int = 0
    _numbers: itertools.count[int] = field(default_factory=itertools.count)

    async def create(self, rate: float, seconds: float) -> None:
        """Create so many jobs a second for so long."""
        begin = time.monotonic()
        async with asyncio.TaskGroup() as users:
            for number in itertools.count():
                due = begin + number / rate
                await asyncio.sleep(max(0.0, due - time.monotonic()))
                if time.monotonic() - begin >= seconds:
                    return
                users.create_task(self._user())

    async def follow(self) -> None:
        """Note which jobs have ended or are gone, until cancelled."""
        while True:  # A server that is busy ends the watch of whoever reads too slowly.
            begun, present = time.monotonic(), set[str]()
            async for event, job in self.api.watch(JOBS):
                if event == "BOOKMARK":
                    for name in [name for name, at in self.open.items() if at < begun and name not in present]:
                        self._over(name)
                    continue
                present.add(job["metadata"]["name"])
                conditions = job.get("status", {}).get("conditions", [])
                if event == "DELETED" or any(each["type"] == "Finished" and each["status"] == "True" for each in conditions):
                    self._over(job["metadata"]["name"])

    async def kubelet(self) -> None:
        """Play the life of each pod, until cancelled."""
        played = set[str]()
        async with asyncio.TaskGroup() as pods:
            while True:
                async for event, pod in self.api.watch(PODS):
                    uid = pod["metadata"].get("uid", "")
                    if event == "ADDED" and uid not in played:
                        played.add(uid)
                        pods.create_task(self._pod(pod))

    def _over(self, name: str) -> None:
        self.finished += self.open.pop(name, None) is not None

    async def _user(self) -> None:
        name = f"soak-{next(self._numbers)}"
        script: Object = {"uri": "${bucket}/train.py"} if self.chance.random() < 0.5 else {"name": "train.py", "inline": f"print('{name}')"}
        # What has ended goes soon, so that what grows all the same is a leak; and pauses between attempts are short.
        goes = {"podRetentionSeconds": 10, "ttlSecondsAfterFinished": 30, "retry": {"infrastructure": 2, "preemption": 1}}
        spec: Object = {"runtime": "tf1", "script": script, **goes}
        job = {"apiVersion": "tftraining.dev/v1alpha1", "kind": "TFTrainingJob", "metadata": {"name": name}, "spec": spec}
        self.open[name] = time.monotonic()
        self.created += 1
        await self.api.create(JOBS, job)
        with suppress(ClientResponseError):  # It may have gone by then.
            if self.chance.random() < 0.06:
                await asyncio.sleep(self.chance.uniform(0, 3))
                await self.api.merge(f"{JOBS}/{name}", {"spec": {"suspend": True}})
                await asyncio.sleep(self.chance.uniform(0, 5))
                await self.api.merge(f"{JOBS}/{name}", {"spec": {"suspend": False}})
            elif self.chance.random() < 0.03:
                await asyncio.sleep(self.chance.uniform(0, 5))
                await self._delete(f"{JOBS}/{name}")

    async def _pod(self, pod: Object) -> None:
        path = f"{PODS}/{pod['metadata']['name']}"
        end = self.chance.choices(list(_ENDS), list(_ENDS.values()))[0]
        with suppress(ClientResponseError):  # It may have been deleted by then.
            for status, longest in ((fetching(pod), 0.5), (running(pod), 0.5)):
                await asyncio.sleep(self.chance.uniform(0, longest))
                await self.api.merge(f"{path}/status", {"status": status})
            await asyncio.sleep(self.chance.uniform(0, 4))
            if end == "is deleted":
                await self._delete(path)
                return
            await self.api.merge(f"{path}/status", {"status": _ended(pod, end)})

    async def _delete(self, path: str) -> None:
        body = {"propagationPolicy": "Background"}
        async with self.api.session.delete(self.api.url + path, json=body, raise_for_status=True) as answer:
            await answer.read()


async def orphans(api: Api) -> list[str]:
    """Return pods and ConfigMaps whose job is gone."""
    jobs = await _uids(api)
    found = []
    for path in (PODS, CONFIGMAPS):
        for item in await _items(api, path):
            owners = item["metadata"].get("ownerReferences", [])
            if owners and owners[0]["kind"] == "TFTrainingJob" and owners[0]["uid"] not in jobs:
                found.append(str(item["metadata"]["name"]))
    return found


async def _uids(api: Api) -> set[str]:
    return {job["metadata"]["uid"] for job in await _items(api, JOBS)}


async def _items(api: Api, path: str) -> list[Any]:
    async with api.session.get(api.url + path, raise_for_status=True) as answer:
        return list((await answer.json())["items"])


def _ended(pod: Object, end: str) -> Object:
    if end in _DISRUPTED:
        condition = {"type": "DisruptionTarget", "status": "True", "reason": _DISRUPTED[end], "lastTransitionTime": STAMP}
        return {**ended(pod, 143), "phase": "Failed", "conditions": [condition]}
    return ended(pod, 0 if end == "succeeds" else 3)
