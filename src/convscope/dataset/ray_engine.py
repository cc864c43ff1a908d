"""The shards on Ray's workers (extra ``[ray]``): processes of this machine, or of a cluster.

    convscope survey photos --out photos.atlas --engine ray                        a Ray of our own, one worker a core
    convscope survey photos --out photos.atlas --engine ray --ray-address auto     the cluster that is there

The network and the source are put into Ray's store once. Each task takes a shard and returns its part's tensors, and
the driver alone writes them: workers need to see the photos under the same path, not the atlas. No more than two tasks
a worker are under way, so that the driver holds few parts. A worker that dies (killed, out of memory, its machine gone)
loses its shard, which is handed out again, up to ``ATTEMPTS`` times; an error that the work itself raises is raised
here as it is. A model from a file of the user's travels as code, since workers cannot import it.

Pitfall: another machine's other processor may round otherwise in the last bit; equal bits need equal processors.
"""

import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from convscope.dataset.engines import Keep, Tensors, Work
from convscope.dataset.plan import Shard
from convscope.errors import ConvscopeError

ATTEMPTS = 4  # of one shard: a photo that kills every worker must not be tried for ever
_USERS = "_convscope_user_"  # modules that ``network.factories`` made of files


@dataclass(frozen=True)
class RayEngine:
    """Ray's workers. ``address`` None starts a Ray of our own with ``workers`` (None: one a core)."""

    address: str | None = None
    workers: int | None = None
    on_note: Callable[[str], None] | None = None

    @property
    def name(self) -> str:
        """For the table ``runs``."""
        where = f" at {self.address}" if self.address else ""
        return f"Ray{where}" + (f", {self.workers} workers" if self.workers else "")

    def run(self, shards: Iterable[Shard], work: Work, keep: Keep) -> None:
        """Hand the shards out and keep what comes back.

        Raises:
            ConvscopeError: Ray is not installed or not there, or a shard cost every worker that took it its life.
        """
        ray = _imported()
        started = self._start(ray)
        try:
            self._run(ray, shards, work.portable(), keep)
        finally:
            if started:
                ray.shutdown()

    def _start(self, ray: Any) -> bool:
        """True where the Ray is our own, to be shut down again."""
        if ray.is_initialized():
            return False
        own: dict[str, Any] = {"num_cpus": self.workers, "include_dashboard": False} if self.address is None else {}
        try:
            ray.init(address=self.address or "local", log_to_driver=False, logging_level="ERROR", **own)
        except (ConnectionError, RuntimeError, ValueError, OSError) as error:
            raise ConvscopeError(f"no Ray at {self.address or 'this machine'}: {_line(error)}") from error
        return True

    def _run(self, ray: Any, shards: Iterable[Shard], work: Work, keep: Keep) -> None:
        task = ray.remote(num_cpus=1, max_retries=0)(_compute)
        _send_users_modules(ray)
        held = ray.put(work)
        waiting, attempts = iter(shards), Counter[int]()
        under_way: dict[Any, Shard] = {}
        most = 2 * max(1, int(ray.cluster_resources().get("CPU", 1)))

        def submit(shard: Shard) -> None:
            attempts[shard.number] += 1
            under_way[task.remote(held, shard)] = shard

        for shard in _first(waiting, most):
            submit(shard)
        while under_way:
            (ready, *_), _ = ray.wait(list(under_way), num_returns=1)
            shard = under_way.pop(ready)
            tensors = _result(ray, ready)
            if tensors is not None:
                keep(shard, tensors)
                shard = next(waiting, None)
            else:
                self._lost(shard, attempts[shard.number])
            if shard is not None:
                submit(shard)

    def _lost(self, shard: Shard, attempts: int) -> None:
        if attempts >= ATTEMPTS:
            first, last = shard.images[0].name, shard.images[-1].name
            raise ConvscopeError(
                f"shard {shard.number} ({first} to {last}) cost {attempts} workers their lives; "
                "one of its photos may need more memory than a worker has"
            )
        if self.on_note is not None:
            self.on_note(f"a worker was lost; shard {shard.number} is taken again")


def _compute(work: Work, shard: Shard) -> Tensors:
    return work(shard)


def _result(ray: Any, reference: Any) -> Tensors | None:
    """A task's tensors; None where its worker was lost."""
    try:
        return ray.get(reference)
    except ray.exceptions.RayTaskError as error:  # the work raised
        cause = error.cause
        raise (cause if isinstance(cause, Exception) else error) from None
    except ray.exceptions.RayError:
        return None


def _first(shards: Iterator[Shard], count: int) -> list[Shard]:
    return [shard for _, shard in zip(range(count), shards, strict=False)]


def _send_users_modules(ray: Any) -> None:
    for name, module in list(sys.modules.items()):
        if name.startswith(_USERS):
            ray.cloudpickle.register_pickle_by_value(module)


def _imported() -> Any:
    try:
        import ray
    except ImportError as error:
        raise ConvscopeError(f"--engine ray needs Ray: pip install 'convscope[ray]' ({error})") from error
    return ray


def _line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
