"""Leader election by a Lease: one process writes, others stand by.

Own code: the official client's elector uses wall-clock time and does not release what it holds; kopf's peering pauses everybody
where priorities are equal. Rules and times are client-go's: an expiry is judged by how long the record was seen unchanged,
never by comparing clocks of different machines.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import structlog

from tftraining_operator.kube import paths
from tftraining_operator.kube.client import KubeApi
from tftraining_operator.kube.errors import AlreadyExistsError, ApiError, ConflictError, NotFoundError

_log = structlog.get_logger()
DURATION_SECONDS = 15
RENEW_DEADLINE_SECONDS = 10
RETRY_SECONDS = 2
STANDBY_SECONDS = 1
"""Between two looks at a Lease that another holds: of the three seconds that a hand-over may take, its last ones are an orderly end's."""
_RELEASE_SECONDS = 1.0


class LeaseLostError(RuntimeError):
    """The Lease could not be renewed in time, or somebody else holds it: this process must not write any more."""


@dataclass(slots=True)
class ObservedRecord:
    """The Lease's record as last seen, and since when (monotonic seconds) it has looked like that."""

    record: tuple[str, str] = ("", "")
    since: float = 0.0

    def observe(self, spec: Mapping[str, Any], now: float) -> None:
        """Note what the record is now."""
        record = (str(spec.get("holderIdentity") or ""), str(spec.get("renewTime") or ""))
        if record != self.record:
            self.record, self.since = record, now

    def free_for(self, identity: str, now: float) -> bool:
        """Tell whether the Lease may be taken: nobody's, one's own, or not renewed for its whole duration."""
        holder = self.record[0]
        return holder in {"", identity} or now - self.since > DURATION_SECONDS


class Lease:
    """One Lease object. `clock` gives monotonic seconds, `wall` Unix seconds (for people who read the object)."""

    def __init__(
        self, api: KubeApi, namespace: str, name: str, identity: str, clock: Callable[[], float], wall: Callable[[], float]
    ) -> None:
        self._api = api
        self._namespace = namespace
        self._name = name
        self._identity = identity
        self._clock = clock
        self._wall = wall
        self._observed = ObservedRecord()
        self._stored: Mapping[str, Any] | None = None
        self._lost = False
        self._renewed_at: float | None = None

    @property
    def age_seconds(self) -> float | None:
        """For how long the Lease has not been renewed; None while it is not held."""
        return None if self._renewed_at is None else self._clock() - self._renewed_at

    @property
    def valid(self) -> bool:
        """Whether this process may write: no other can have taken the Lease yet, even if this one was asleep meanwhile."""
        age = self.age_seconds
        return age is not None and age < RENEW_DEADLINE_SECONDS

    async def acquire(self) -> None:
        """Wait until the Lease is held."""
        while not await self._attempt(RENEW_DEADLINE_SECONDS):  # noqa: ASYNC110  another process's release cannot be waited for by an event
            await asyncio.sleep(STANDBY_SECONDS)
        _log.info("lease held", lease=self._name, namespace=self._namespace, identity=self._identity)

    async def keep(self) -> None:
        """Renew the Lease for as long as that works.

        Raises:
            LeaseLostError: it was not renewed in time, or is somebody else's.

        """
        lease = f"lease {self._namespace}/{self._name}"
        while True:
            await asyncio.sleep(RETRY_SECONDS)
            left = RENEW_DEADLINE_SECONDS - (self.age_seconds or 0.0)
            # Half of the time at most: a connection that died silently leaves room for another.
            if await self._attempt(max(min(left, RENEW_DEADLINE_SECONDS / 2), RETRY_SECONDS)):
                continue
            if self._lost:
                raise LeaseLostError(f"{lease} is held by {self._observed.record[0]}")
            if not self.valid:
                raise LeaseLostError(f"{lease} was not renewed for {RENEW_DEADLINE_SECONDS} s")

    async def release(self) -> None:
        """Give the Lease back, so that the next process need not wait for its expiry."""
        if self._renewed_at is None:
            return
        self._renewed_at = None
        try:
            async with asyncio.timeout(_RELEASE_SECONDS):
                # Read again: a renewal that was cut off a moment ago may have been stored all the same.
                found = await self._api.get(self._path)
                spec = found.get("spec") or {}
                if spec.get("holderIdentity") == self._identity:
                    await self._api.replace(self._path, {**found, "spec": {**spec, "holderIdentity": "", "leaseDurationSeconds": 1}})
        except (ApiError, TimeoutError) as error:
            _log.warning("lease not released", error=str(error) or type(error).__name__)

    @property
    def _path(self) -> str:
        return paths.item(paths.LEASES, self._namespace, self._name)

    async def _attempt(self, seconds: float) -> bool:
        """Try once to get or to renew the Lease, within some seconds: a server that never answers must not keep it valid."""
        begin, self._lost = self._clock(), False
        try:
            async with asyncio.timeout(seconds):
                self._stored = await self._write()
        except ConflictError:
            return False
        except (ApiError, TimeoutError) as error:
            _log.warning("lease not renewed", error=str(error) or f"no answer within {seconds:.1f} s")
            return False
        if self._stored is None:
            return False
        self._renewed_at = begin
        return True

    async def _write(self) -> Mapping[str, Any] | None:
        if self._stored is not None:
            stored, self._stored = self._stored, None
            with suppress(ConflictError):
                return await self._api.replace(self._path, self._body(stored))
        try:
            found = await self._api.get(self._path)
        except NotFoundError:
            return await self._create()
        spec = found.get("spec") or {}
        self._observed.observe(spec, self._clock())
        if not self._observed.free_for(self._identity, self._clock()):
            self._lost = True
            return None
        return await self._api.replace(self._path, self._body(found))

    async def _create(self) -> Mapping[str, Any] | None:
        body = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": self._name, "namespace": self._namespace}}
        try:
            return await self._api.create(paths.collection(paths.LEASES, self._namespace), self._body(body))
        except AlreadyExistsError:
            return None

    def _body(self, stored: Mapping[str, Any]) -> dict[str, Any]:
        now = datetime.fromtimestamp(self._wall(), UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
        before = stored.get("spec") or {}
        mine = before.get("holderIdentity") == self._identity
        spec = {
            "holderIdentity": self._identity,
            "leaseDurationSeconds": DURATION_SECONDS,
            "renewTime": now,
            "acquireTime": before.get("acquireTime", now) if mine else now,
            "leaseTransitions": int(before.get("leaseTransitions") or 0) + (0 if mine else 1),
        }
        return {**stored, "spec": spec}
