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
    parser = _parser()
    options = parser.parse_args(arguments)
    if options.command is None:
        parser.print_help(sys.stderr)
        parser.exit(2)
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
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    run = commands.add_parser("run", help="run the operator until it is told to stop")
    run.add_argument("--config", type=Path, required=True, metavar="FILE", help="the configuration, YAML")
    run.add_argument("--kubeconfig", type=Path, metavar="FILE", help="instead of the pod's service account")
    commands.add_parser("crd", help="print the CustomResourceDefinition")
    return parser


async def _run(settings: Settings, kubeconfig: Path | None) -> int:
    # Imported here: `crd` and a wrong configuration need none of it.
    from tftraining_operator.runtime.memory import lean_imports, return_large_blocks

    with lean_imports():
        import kopf
        import structlog

    from tftraining_operator import handlers
    from tftraining_operator.kube.client import KubeClient
    from tftraining_operator.kube.clock import ServerClock
    from tftraining_operator.kube.credentials import find_credentials
    from tftraining_operator.runtime import definition, logs
    from tftraining_operator.runtime.guard import Guard
    from tftraining_operator.runtime.health import Health, ProcessState
    from tftraining_operator.runtime.informer import Informer
    from tftraining_operator.runtime.lease import Lease
    from tftraining_operator.runtime.metrics import Metrics
    from tftraining_operator.runtime.process import Process
    from tftraining_operator.runtime.queues import Queues
    from tftraining_operator.runtime.reconciler import Reconciler
    from tftraining_operator.runtime.recorder import Recorder
    from tftraining_operator.runtime.reports import Reports
    from tftraining_operator.runtime.rivals import Rivals, installation
    from tftraining_operator.runtime.store import Store
    from tftraining_operator.runtime.survey import NodeSurvey
    from tftraining_operator.runtime.sweep import Sweep
    from tftraining_operator.runtime.watches import Watches
    from tftraining_operator.runtime.workqueue import WorkQueue

    return_large_blocks()
    logs.set_up(settings.log_format, settings.log_level)
    identity = os.environ.get("POD_NAME") or f"{socket.gethostname()}-{os.getpid()}"
    clock = time.monotonic

    def jitter() -> float:
        return random.uniform(0.9, 1.1)  # noqa: S311  spreads load, guards nothing

    def may_write() -> bool:
        return lease.valid

    def may_act() -> bool:
        return may_write() and server_clock.steady

    metrics = Metrics(settings.metrics_namespaces)
    credentials = await find_credentials(kubeconfig)
    server_clock = ServerClock(clock, time.time)
    metrics.behind.set_function(lambda: server_clock.behind_seconds)
    own = installation(settings.lease_namespace, settings.lease_name)
    client = KubeClient(credentials, f"{own}/{_version()}", metrics.count_request, server_clock.hear)
    store, queue, watches = Store(logs.deleted), WorkQueue(clock, jitter, metrics.waited.observe), Watches()
    lease = Lease(client, settings.lease_namespace, settings.lease_name, identity, clock, server_clock)
    state = ProcessState(lease)
    rivals = Rivals(own, clock)
    metrics.follow(store, queue, rivals, lambda: lease.valid, lambda: state.lag_seconds)
    survey = NodeSurvey(client, queue, settings.node_labels, clock)
    guarded = Guard(client, may_write)
    queues = Queues(guarded, queue, settings.watch_namespaces, clock, server_clock, enabled=settings.kueue.enabled)
    recorder = Recorder(guarded, identity, server_clock, metrics)
    reconciler = Reconciler(guarded, store, queue, recorder, settings, server_clock, metrics, may_act, survey, rivals, queues)
    sweep = Sweep(client, store, queue, settings.watch_namespaces, jitter, metrics, watches, server_clock)
    reports = Reports(client, store, clock, queue.add)
    health = Health(settings.http_address, settings.http_port, queue, state, metrics, reports, watches)
    process = Process(lease, sweep, queue, reconciler, recorder, health, state, survey, queues)
    registry = kopf.OperatorRegistry()
    handlers.register(registry, process, credentials)
    chosen, namespaces, informer = handlers.settings(), settings.watch_namespaces, Informer(store, queue, watches)
    async with AsyncExitStack() as stack:
        stack.push_async_callback(client.close)
        stack.push_async_callback(health.stop)
        await health.start()
        await definition.wait_until_it_fits(client, state, f"-n {settings.lease_namespace} deploy/{settings.lease_name}")
        try:
            tasks = await kopf.spawn_tasks(
                registry=registry,
                settings=chosen,
                clusterwide=not namespaces,
                namespaces=list(namespaces),
                standalone=True,
                # In the place of its own way of each event to handlers: docs/design/0001-kopf-as-event-source.md.
                _command=handlers.watch(chosen, namespaces, informer, rivals, metrics),
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
