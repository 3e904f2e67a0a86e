"""What running pods tell of themselves: who may, how much, how often. Words for the status, and nothing that a decision depends on.

The publisher of a pod sends them with a token that the kubelet made for that one pod and for nobody but this operator; the API server
says whose it is (docs/design/0013-live-reports.md).
"""

from __future__ import annotations

import base64
import hashlib
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec
from tftrainer.messages.contract import REPORTS_AUDIENCE, LiveReport

from tftraining_operator.core.observe import mapping, sequence, text
from tftraining_operator.core.records import Key
from tftraining_operator.kube import paths
from tftraining_operator.kube.client import KubeApi
from tftraining_operator.runtime.store import Store

LIMIT: Final = 16 * 1024
"""Bytes of a report: eight notes in letters of four bytes, escaped."""
PAUSE_SECONDS: Final = 8.0
"""Between two reports of one pod."""
REVIEWS_PER_SECOND: Final = 20.0
_REVIEWED_SECONDS: Final = 300.0
"""For how long the API server's word on a token is good: a token says nothing but which pod it is of, and that does not change."""
_REMEMBERED: Final = 4096
_TOKEN_LIMIT: Final = 8192
_POD_UID: Final = "authentication.kubernetes.io/pod-uid"


class ReportRefusedError(Exception):
    """A report that is not taken: the HTTP status, and why. `retry_after` are the seconds after which it may be sent again."""

    def __init__(self, status: int, why: str, retry_after: float | None = None) -> None:
        super().__init__(why)
        self.status = status
        self.retry_after = retry_after


class Reports:
    """Takes the reports of running pods. `clock` gives monotonic seconds; `enqueue` is called with the job that a report is about."""

    def __init__(self, api: KubeApi, store: Store, clock: Callable[[], float], enqueue: Callable[[Key], None]) -> None:
        self._api = api
        self._store = store
        self._clock = clock
        self._enqueue = enqueue
        self._pods: OrderedDict[bytes, tuple[str, float]] = OrderedDict()
        self._heard: OrderedDict[str, float] = OrderedDict()
        self._reviews = _Allowance(REVIEWS_PER_SECOND, clock)

    async def take(self, authorization: str, body: bytes) -> None:
        """Take one report.

        Raises:
            ReportRefusedError: it is no report, its sender is nobody's pod, or it comes too soon.
            ApiError: the API server does not say whose token it is.

        """
        scheme, _, token = authorization.partition(" ")
        if scheme.lower() != "bearer" or not 0 < len(token) <= _TOKEN_LIMIT:
            raise ReportRefusedError(401, "expected the header Authorization: Bearer and the pod's token")
        try:
            report = msgspec.json.decode(body, type=LiveReport)
        except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
            raise ReportRefusedError(400, f"not a report: {error}") from error
        pod = await self._pod(token)
        now = self._clock()
        wait = self._heard.get(pod, -PAUSE_SECONDS) + PAUSE_SECONDS - now
        if wait > 0:
            raise ReportRefusedError(429, "the last report of this pod is too fresh", wait)
        key = self._store.put_report(pod, report)
        if key is None:
            raise ReportRefusedError(403, "the token is not of a pod of a job")
        _remember(self._heard, pod, now)
        self._enqueue(key)

    async def _pod(self, token: str) -> str:
        """Return the uid of the pod that a token was made for."""
        digest = hashlib.sha256(token.encode("utf-8", "replace")).digest()
        pod, until = self._pods.get(digest, ("", 0.0))
        if self._clock() < until:
            return self._known(pod)
        if not self._store.has_pod(_claimed(token)):
            # Whoever has no such token at all does not get as far as to keep the others from being reviewed.
            return self._known("")
        wait = self._reviews.wait()
        if wait > 0:
            raise ReportRefusedError(429, "too many unknown tokens", wait)
        spec = {"token": token, "audiences": [REPORTS_AUDIENCE]}
        body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": spec}
        pod = _reviewed(await self._api.create(paths.collection(paths.TOKEN_REVIEWS), body))
        _remember(self._pods, digest, (pod, self._clock() + _REVIEWED_SECONDS))
        return self._known(pod)

    @staticmethod
    def _known(pod: str) -> str:
        if not pod:
            raise ReportRefusedError(401, f"the token is not one of a job's pod for {REPORTS_AUDIENCE}")
        return pod


class _Allowance:
    """So many a second, and at first as many at once."""

    def __init__(self, rate: float, clock: Callable[[], float]) -> None:
        self._rate = rate
        self._clock = clock
        self._left = rate
        self._at = clock()

    def wait(self) -> float:
        """Take one and return 0, or return the seconds until there is one to take."""
        now = self._clock()
        self._left = min(self._rate, self._left + (now - self._at) * self._rate)
        self._at = now
        if self._left < 1:
            return (1 - self._left) / self._rate
        self._left -= 1
        return 0.0


def _claimed(token: str) -> str:
    """Return the uid of the pod that a token claims to be of, unverified; empty where it is none that can be read (RFC 7519)."""
    try:
        payload = token.split(".")[1]
        claims = msgspec.json.decode(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    except (IndexError, ValueError, RecursionError):
        return ""
    return text(mapping(mapping(mapping(claims).get("kubernetes.io")).get("pod")).get("uid"))


def _reviewed(review: Mapping[str, Any]) -> str:
    """Return the uid of the pod that a reviewed token is bound to, empty where it is no good."""
    status = mapping(review.get("status"))
    if status.get("authenticated") is not True or REPORTS_AUDIENCE not in sequence(status.get("audiences")):
        return ""
    uids = sequence(mapping(mapping(status.get("user")).get("extra")).get(_POD_UID))
    return text(uids[0]) if uids else ""


def _remember(known: OrderedDict[Any, Any], key: Any, value: Any) -> None:
    known[key] = value
    known.move_to_end(key)
    if len(known) > _REMEMBERED:
        known.popitem(last=False)
