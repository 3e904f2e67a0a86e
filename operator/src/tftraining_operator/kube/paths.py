"""Where objects lie on the API server."""

from __future__ import annotations

from urllib.parse import quote

JOBS = ("/apis/tftraining.dev/v1alpha1", "tftrainingjobs")
PODS = ("/api/v1", "pods")
NODES = ("/api/v1", "nodes")
CONFIGMAPS = ("/api/v1", "configmaps")
SERVICES = ("/api/v1", "services")
EVENTS = ("/apis/events.k8s.io/v1", "events")
TOKEN_REVIEWS = ("/apis/authentication.k8s.io/v1", "tokenreviews")
WORKLOADS = ("/apis/kueue.x-k8s.io/v1beta2", "workloads")
FLAVORS = ("/apis/kueue.x-k8s.io/v1beta2", "resourceflavors")
PRIORITIES = ("/apis/scheduling.k8s.io/v1", "priorityclasses")
LEASES = ("/apis/coordination.k8s.io/v1", "leases")


def collection(kind: tuple[str, str], namespace: str | None = None) -> str:
    """Return the path of a kind's objects in a namespace, or in all of them."""
    root, plural = kind
    return f"{root}/namespaces/{quote(namespace)}/{plural}" if namespace else f"{root}/{plural}"


def item(kind: tuple[str, str], namespace: str, name: str) -> str:
    """Return the path of one object."""
    return f"{collection(kind, namespace)}/{quote(name)}"
