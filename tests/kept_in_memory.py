"""A keeper of unfinished work in memory, which can break a run off at a state."""

import math
from collections.abc import Mapping

from torch import Tensor


class Store:
    """A keeper in memory that wants the state at each step, and may be interrupted at one."""

    def __init__(self, stop_after: float = math.inf) -> None:
        self.tensors: dict[str, Mapping[str, Tensor]] = {}
        self.left = stop_after

    def kept(self, key: str) -> dict[str, Tensor] | None:
        found = self.tensors.get(key)
        return None if found is None else {name: tensor.clone() for name, tensor in found.items()}

    def keep(self, key: str, tensors: Mapping[str, Tensor]) -> None:
        self.tensors[key] = {name: tensor.clone() for name, tensor in tensors.items()}
        self.left -= key.endswith("/state")
        if self.left < 0:
            raise KeyboardInterrupt

    def forget(self, key: str) -> None:
        self.tensors.pop(key, None)

    def is_due(self) -> bool:
        return True
