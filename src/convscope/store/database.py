"""An atlas's tables, opened for reading when first asked: one connection, shared by threads under a lock."""

import sqlite3
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from convscope.errors import ConvscopeError

Row = sqlite3.Row


class Database:
    """``atlas.sqlite``, read only: it is never changed, and nothing is made beside it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()
        self._connection: sqlite3.Connection | None = None

    def rows(self, statement: str, values: Sequence[Any] = ()) -> list[Row]:
        """All rows of a query.

        Raises:
            ConvscopeError: the file is not there, damaged, or no atlas's.
        """
        with self._lock:
            try:
                return self._opened().execute(statement, values).fetchall()
            except sqlite3.Error as error:
                raise ConvscopeError(f"cannot read {self.path}: {error}") from error

    def close(self) -> None:
        """Let go of the file; the next query opens it again."""
        with self._lock:
            if self._connection is not None:
                self._connection.close()
                self._connection = None

    def _opened(self) -> sqlite3.Connection:
        if self._connection is None:
            address = f"{self.path.absolute().as_uri()}?mode=ro"
            self._connection = sqlite3.connect(address, uri=True, check_same_thread=False, timeout=60)
            self._connection.row_factory = sqlite3.Row
        return self._connection
