"""`python -m tftraining_operator run --config FILE | crd`: the only place that wires things together."""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import signal
import socket
import sys
import time
from contextlib import AsyncExitStack
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from tftraining_operator.api import crd
from tftraining_operator.settings import Settings, SettingsError, load_settings


def main(arguments: list[str] | None = None) -> int:
    """Run one command and return its exit code: 0 after an orderly end, 78 for a configuration that cannot be used."""
    options = _parser().parse_args(arguments)
    if options.command == "crd":
        sys.stdout.write(crd.render())
        return 0
    # Process 1 of a container has no default for it: told to stop while it still starts, it would not hear of it.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    try:
        return asyncio.run(_run(load_settings(options.config), options.kubeconfig))
    except (SettingsError, RuntimeError, OSError) as error:
        print(f"tftraining-operator: {error}", file=sys.stderr)
        return os.EX_CONFIG


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="tftraining-operator", description="Runs TFTrainingJobs.")
    parser.add_argument("--version", action="version", version=_version())
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    run = commands.add_parser("run", help="run the operator until it is told to stop")
    run.add_argument("--config", type=Path, required=True, metavar="FILE", help="the configuration, YAML")
    run.add_argument("--kubeconfig", type=Path, metavar="FILE", help="instead of the pod's service account")
    commands.add_parser("crd", help="print the CustomResourceDefinition")
    return parser


async def _run(settings: Settings, kubeconfig: Path | None) -> int:
    # Imported here: `crd` and a wrong configuration need none of it.
    import kopf
    import structlog

    from tftraining_operator import handlers
    from tftraining_operator.kube.client import KubeClient
    from tftraining_operator.kube.credentials import find_credentials
    from tftraining_operator.runtime import narration
    from tftraining_operator.runtime.health import Health, Vitals
    from tftraining_operator.runtime.lease import Lease
    from tftraining_operator.runtime.metrics import Metrics
    from tftraining_operator.runtime.reconciler import Reconciler
    from tftraining_operator.runtime.recorder import Recorder
    from tftraining_operator.runtime.shell import Shell
    from tftraining_operator.runtime.store import Store
    from tftraining_operator.runtime.sweep import Sweep
    from tftraining_operator.runtime.workqueue import WorkQueue

    narration.set_up(settings.log_format, settings.log_level)
    identity = os.environ.get("POD_NAME") or f"{socket.gethostname()}-{os.getpid()}"
    clock, wall = time.monotonic, time.time

    def jitter() -> float:
        return random.uniform(0.9, 1.1)  # noqa: S311  spreads load, guards nothing

    metrics = Metrics()
    credentials = await find_credentials(kubeconfig)
    client = KubeClient(credentials, f"tftraining-operator/{_version()}", metrics.count_request)
    store, queue = Store(), WorkQueue(clock, jitter, metrics.waited.observe)
    lease = Lease(client, settings.lease_namespace, settings.lease_name, identity, clock, wall)
    vitals = Vitals(lease)
    recorder = Recorder(client, identity, wall, metrics)
    reconciler = Reconciler(client, store, queue, recorder, settings, wall, metrics, lambda: lease.valid)
    sweep = Sweep(client, store, queue, settings.watch_namespaces, jitter, metrics)
    health = Health(settings.http_address, settings.http_port, store, queue, vitals, metrics)
    shell = Shell(lease, sweep, reconciler, recorder, health, vitals)
    registry = kopf.OperatorRegistry()
    handlers.register(registry, shell, store, queue, credentials, metrics)
    namespaces = settings.watch_namespaces
    async with AsyncExitStack() as stack:
        stack.push_async_callback(client.close)
        stack.push_async_callback(health.stop)
        await health.start()
        try:
            tasks = await kopf.spawn_tasks(
                registry=registry, settings=handlers.settings(), clusterwide=not namespaces, namespaces=list(namespaces), standalone=True
            )
            _cancel_when_told_to_stop()
            await kopf.run_tasks(tasks)
        except asyncio.CancelledError:
            # Closed in the middle of a list, kopf's generators complain, and nobody can do anything about it.
            asyncio.get_running_loop().set_exception_handler(lambda *_: None)
            return 0
        except Exception as error:
            # Crash-only: what kopf does not recover from is left to the next process, which begins with whole lists.
            structlog.get_logger().error("the process ends", error=f"{type(error).__name__}: {error}")
    # Of itself, kopf comes back only when one of its tasks has ended.
    return os.EX_SOFTWARE


def _cancel_when_told_to_stop() -> None:
    """Replace kopf's signal handlers: after them, it waits five seconds for a task of its own that it forgot to end."""
    task = asyncio.current_task()
    if task is not None:
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, task.cancel)


def _version() -> str:
    try:
        return version("tftraining-operator")
    except PackageNotFoundError:
        return "0.1.0"


if __name__ == "__main__":
    sys.exit(main())
