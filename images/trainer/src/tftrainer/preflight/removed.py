"""Names that the image's TensorFlow has no more, told once for each file of the user's."""

from __future__ import annotations

import ast
from typing import Final, Protocol

from tftrainer.messages.contract import Reason
from tftrainer.preflight.finding import Finding, Findings
from tftrainer.preflight.image import Image
from tftrainer.preflight.names import Names

_TELLS_VERSIONS_APART: Final = (b"compat", b"hasattr", b"AttributeError", b"__version__", b"VERSION", b"setattr")
"""What a program mentions that runs with either version."""


class _File(Protocol):
    @property
    def file(self) -> str: ...
    @property
    def source(self) -> bytes: ...


class Removed:
    """Tells of attributes of `tensorflow` in one file; where a module of that name is the user's own, of none."""

    def __init__(self, image: Image, module: _File, findings: Findings, *, is_own: bool) -> None:
        self._image = image
        self._module = module
        self._findings = findings
        self._is_concerned = not is_own and b"tensorflow" in module.source
        self._known: dict[str, bool] = {}

    def is_gone(self, dotted: str) -> bool:
        """Whether a name, from the imported module on, is one that the image has no more."""
        if not self._is_concerned or not dotted.startswith("tensorflow."):
            return False
        if dotted not in self._known:
            self._known[dotted] = bool(self._image.removed(dotted, ""))
        return self._known[dotted]

    def tell(self, node: ast.Attribute | None, names: Names, *, certain: bool) -> None:
        """Tell of an attribute that is gone; there is no second finding."""
        if node is None:
            return
        self._is_concerned = False
        lines = self._module.source.splitlines()
        line = lines[node.lineno - 1].decode("utf-8", "replace").strip() if node.lineno <= len(lines) else ""
        dotted = names.dotted(node)
        message = f"{self._module.file}, line {node.lineno}: {self._image.removed(dotted, line)}"
        finding = Finding(Reason.IMPORT_MISSING, message, self._image.remedy(dotted), self._module.file, node.lineno)
        if any((each.file, each.hint) == (finding.file, finding.hint) for each in self._findings.errors):
            return
        if certain:
            self._findings.add(finding, certain=True)
        else:
            self._findings.warnings.append(f"{message}; {finding.hint}")

    def warn(self, tree: ast.Module, names: Names) -> None:
        """Tell of the first attribute that is gone, wherever it stands, if the program does not tell versions apart."""
        if self._is_concerned and not any(word in self._module.source for word in _TELLS_VERSIONS_APART):
            used = (node for node in ast.walk(tree) if isinstance(node, ast.Attribute) and self.is_gone(names.dotted(node)))
            found = min(used, key=lambda node: node.lineno, default=None)
            if found is not None and isinstance(found.ctx, ast.Load):
                self.tell(found, names, certain=False)
