"""The API `TFTrainingJob`: models of spec and status, and the custom resource definition made from them."""

from __future__ import annotations

from typing import Final

GROUP: Final = "tftraining.dev"
VERSION: Final = "v1alpha1"
KIND: Final = "TFTrainingJob"
PLURAL: Final = "tftrainingjobs"
API_VERSION: Final = f"{GROUP}/{VERSION}"
MANAGER: Final = f"{GROUP}/operator"
"""What `spec.managedBy` is where this operator runs the job."""
