"""A keeper of unfinished work in memory, which can break a run off at a state and writes down what it was told."""

import math
from collections.abc import Mapping

from torch import Tensor


class Store:
    """A keeper in memory that wants the state at each step, unless not ``due``, and may be interrupted at one."""

    def __init__(self, stop_after: float = math.inf, *, due: bool = True) -> None:
        self.tensors: dict[str, Mapping[str, Tensor]] = {}
        self.left, self.due = stop_after, due
        self.told: list[str] = []

    def kept(self, key: str) -> dict[str, Tensor] | None:
        found = self.tensors.get(key)
        return None if found is None else {name: tensor.clone() for name, tensor in found.items()}

    def keep(self, key: str, tensors: Mapping[str, Tensor]) -> None:
        self.told.append(f"keep {key}")
        self.tensors[key] = {name: tensor.clone() for name, tensor in tensors.items()}
        self.left -= key.endswith("/state")
        if self.left < 0:
            raise KeyboardInterrupt

    def forget(self, key: str) -> None:
        self.told.append(f"forget {key}")
        self.tensors.pop(key, None)

    def is_due(self) -> bool:
        return self.due
