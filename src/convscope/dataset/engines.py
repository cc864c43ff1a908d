"""Who computes the shards: the one small interface behind which one process, many ranks and a cluster look alike.

    plan -> shards -> work(shard) = the part's tensors -> keep(shard, tensors) = a part file

Claim: a shard's tensors depend on the plan, the network and the photos alone, never on who computes them, when, or
beside what: each batch is computed by one thread, and a shard's batches are merged in their order. So an engine is
free to give any shard to anybody, twice if it must, and has no part in the result. There are no collectives: what a
worker has to say is its part.

    InProcess   this process, whose threads share the batches of a shard (the default)
    Ranks       the processes of ``torchrun``: rank r takes the shards r, r + world, ... (``ranks.py``)
    RayEngine   the workers of Ray, here or on a cluster (``ray_engine.py``)

Pitfall: ``work`` travels to other processes and machines, so it holds no open file and no callback there
(``portable``), and a folder of photos must lie under the same path everywhere.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Protocol, runtime_checkable

import numpy as np

from convscope.dataset.image_sources import ImageSource
from convscope.dataset.plan import Plan, Shard
from convscope.dataset.sweep import sweep
from convscope.network.loading import Network

Tensors = Mapping[str, np.ndarray]
Keep = Callable[[Shard, Tensors], None]


@runtime_checkable
class Work(Protocol):
    """A shard's tensors, the same wherever it is called."""

    def __call__(self, shard: Shard) -> Tensors:
        """What the shard's part holds."""
        ...

    def portable(self) -> "Work":
        """The same work for another process: one thread, nobody to tell of its steps."""
        ...


@runtime_checkable
class Engine(Protocol):
    """Computes shards somewhere and hands each one's tensors over, in any order."""

    @property
    def name(self) -> str:
        """What ran, for the table ``runs``: ``in process``, ``2 ranks``, ``Ray, 2 workers``."""
        ...

    def run(self, shards: Iterable[Shard], work: Work, keep: Keep) -> None:
        """Call ``keep(shard, work(shard))`` for each of this engine's shards; ``keep`` in this process."""
        ...


@dataclass(frozen=True)
class ShardWork:
    """The shard function with all that it needs but the shard (``sweep.sweep``)."""

    net: Network
    source: ImageSource
    plan: Plan
    threads: int | None = None
    on_step: Callable[[int, int], None] | None = field(default=None, compare=False)

    def __call__(self, shard: Shard) -> Tensors:
        """The tensors of one shard's part."""
        return sweep(self.net, self.source, self.plan, shard, threads=self.threads, on_step=self.on_step)

    def portable(self) -> "ShardWork":
        """For another process: one thread, no callback."""
        return replace(self, threads=1, on_step=None)


@dataclass(frozen=True)
class InProcess:
    """Shard after shard in this process; ``sweep`` shares each one's batches among its threads."""

    name: str = "in process"

    def run(self, shards: Iterable[Shard], work: Work, keep: Keep) -> None:
        """Compute and keep every shard."""
        for shard in shards:
            keep(shard, work(shard))
