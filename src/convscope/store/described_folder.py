"""A folder that says what it is in one JSON file: ``manifest.json`` of an atlas, ``training.json`` of a run.

    {"format": "convscope atlas", "schema": 1, "state": "unfinished", ...}

What is the same of both is here: reading it, refusing what is something else or made by a newer convscope, naming the
nearest where there is none, and refusing to write where something is.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from convscope.errors import ConvscopeError, nearest
from convscope.writing import write_file


@dataclass(frozen=True)
class Kind:
    """A kind of folder. ``layout`` is the key of its layout's number, ``newest`` the newest that is known."""

    noun: str  # "atlas"
    some: str  # "an atlas"
    file: str  # "manifest.json"
    format: str  # "convscope atlas"
    layout: str
    newest: int

    def read(self, folder: Path) -> dict[str, Any] | None:
        """What a folder says that it is; None where it does not have the file, and so is none of these.

        Raises:
            ConvscopeError: it cannot be read, is of something else, or of a newer convscope.
        """
        path = folder / self.file
        try:
            said: Any = json.loads(path.read_text(encoding="utf-8"))
        except (FileNotFoundError, NotADirectoryError):
            return None
        except (OSError, ValueError) as error:
            raise ConvscopeError(f"{path} cannot be read: {error}") from error
        if not isinstance(said, dict) or said.get("format") != self.format:
            raise ConvscopeError(f"{folder} is no {self.noun}: its {self.file} is of something else")
        layout = said.get(self.layout)
        if not isinstance(layout, int) or layout > self.newest:
            raise ConvscopeError(
                f"{folder} was made by a newer convscope (layout {layout}; this one reads up to {self.newest}): "
                "update convscope"
            )
        return said

    def write(self, folder: Path, said: Mapping[str, Any], layout: int | None = None) -> Path:
        """Write it into the folder, at once. Raises UnwritableError."""
        whole = {"format": self.format, self.layout: self.newest if layout is None else layout, **said}
        return write_file(folder / self.file, json.dumps(whole, indent=1).encode(), synced=True)

    def refuse_missing(self, folder: Path) -> None:
        """Raises ConvscopeError, with the nearest names, where the folder is none of these."""
        if not folder.exists():
            raise ConvscopeError(f"there is no {self.noun} {folder}{self._beside(folder)}")
        if not folder.is_dir():
            raise ConvscopeError(f"{folder} is no {self.noun}: it is a file, and {self.some} is a folder")
        if not (folder / self.file).exists():
            raise ConvscopeError(f"{folder} is no {self.noun}: it has no {self.file}{self._beside(folder)}")

    def refuse_other(self, folder: Path) -> None:
        """Raises ConvscopeError where something else than one of these lies at ``folder``; an empty one may."""
        if folder.exists() and not folder.is_dir():
            raise ConvscopeError(f"{folder} is a file; {self.some} is a folder")
        # dots: a lock, or a file that was being written when its process was killed
        if folder.is_dir() and any(not path.name.startswith(".") for path in folder.iterdir()):
            raise ConvscopeError(f"{folder} is no {self.noun}, and not empty; choose another folder with --out")

    def refuse_taken(self, folder: Path, *, is_finished: bool) -> None:
        """Raises ConvscopeError: one is there, and it was not said what is to become of it."""
        state = "is there already" if is_finished else "is not finished"
        raise ConvscopeError(f"{folder} {state}: --resume goes on with it, --overwrite begins anew")

    def _beside(self, folder: Path) -> str:
        """Those that lie where this one was looked for."""
        if not folder.parent.is_dir():
            return f": there is no folder {folder.parent}"
        there = sorted(path.parent.name for path in folder.parent.glob(f"*/{self.file}"))
        plural = f"{self.noun}es" if self.noun.endswith("s") else f"{self.noun}s"
        listed = f"; {plural} there: {', '.join(there[:8])}" if there else ""
        return nearest(folder.name, there) or listed
