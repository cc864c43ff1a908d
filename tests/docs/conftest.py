"""The documentation's own modules, and what its tests read."""

import importlib
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

DOCS = Path(__file__).resolve().parents[2] / "docs"


@pytest.fixture(scope="session")
def extension() -> Callable[[str], ModuleType]:
    """A module of ``docs/extensions`` by its name; skips where Sphinx is not installed (the extra ``docs``)."""
    pytest.importorskip("sphinx", reason="Sphinx is not installed (the extra 'docs')")

    def load(name: str) -> ModuleType:
        if str(DOCS / "extensions") not in sys.path:
            sys.path.insert(0, str(DOCS / "extensions"))
        return importlib.import_module(name)

    return load
