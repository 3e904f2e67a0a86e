"""Variables by which scripts written for hosted platforms find their folders."""

from __future__ import annotations

import contextlib
import re

from tftrainer import saved
from tftrainer.contract import Plan
from tftrainer.layout import Layout


def aliases(plan: Plan, layout: Layout) -> dict[str, str]:
    """Return the variables; the job's own `env` goes before them."""
    model = str(layout.bucket / "model")
    output = str(layout.bucket / "output")
    found = {}
    for prefix in ("SM", "TM"):
        found[f"{prefix}_MODEL_DIR"] = model
        found[f"{prefix}_OUTPUT_DATA_DIR"] = output
        found[f"{prefix}_NUM_GPUS"] = str(plan.gpus)
        for each in plan.inputs:
            channel = re.sub(r"[^A-Z0-9]", "_", each.name.upper())
            found[f"{prefix}_CHANNEL_{channel}"] = str(layout.inputs / each.name)
    found["AIP_MODEL_DIR"] = model
    checkpoints = saved.folder_key(plan.checkpoints).removesuffix("/") if plan.checkpoints else "checkpoints"
    found["AIP_CHECKPOINT_DIR"] = str(layout.bucket / checkpoints)
    found["AIP_TENSORBOARD_LOG_DIR"] = str(layout.bucket / "tensorboard")
    return found


def make_folders(layout: Layout) -> None:
    """Create the folders that such scripts take for granted, where nothing of the job lies there; empty ones leave no trace."""
    for name in ("model", "output", "checkpoints", "tensorboard"):
        with contextlib.suppress(OSError):
            (layout.bucket / name).mkdir(exist_ok=True)
