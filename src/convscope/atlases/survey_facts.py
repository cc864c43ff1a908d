"""What an atlas says of itself: network, data, versions, and the runs that worked on it.

Everything in ``about`` follows from the plan, the network and the data, so that two surveys of one plan say the same;
hosts, times and engines are in ``runs`` alone.
"""

import datetime
import platform
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from convscope.dataset.atlas_rows import QUANTILES
from convscope.dataset.histograms import EDGES
from convscope.dataset.image_sources import ImageSource
from convscope.dataset.plan import Plan
from convscope.network.loading import Network
from convscope.stamps import stamp, versions
from convscope.store.manifest import Manifest
from convscope.store.parts import present
from convscope.store.schema import SCHEMA, RunRow

_RUNS = "runs"


def about_atlas(net: Network, source: ImageSource, plan: Plan) -> dict[str, Any]:
    """The rows of ``about``, JSON values by name."""
    again = {"spec": None} if net.again is None else dict(net.again)
    # the command is no property of the results: it says --resume or not
    made_by = replace(stamp(net), command="", data_hash=plan.images_digest[:16])
    return {
        "schema": SCHEMA,
        "network": {**again, "name": net.name, "fingerprint": net.fingerprint},
        "network_classes": list(net.classes),
        "data": source.place,
        "data_line": source.line(),
        "images": plan.images,
        "labels": plan.labels,
        "top": plan.top,
        "per_image": plan.per_image,
        "batch": plan.batch,
        "pattern_layers": list(plan.pattern_layers),
        "histogram_edges": EDGES.tolist(),
        "quantiles": list(QUANTILES),
        "stamp": made_by.fields(),
    }


@dataclass(frozen=True)
class Runs:
    """The runs so far, this one last: when each began, where, by which engine, and how many parts it found."""

    entries: tuple[dict[str, Any], ...]
    began: float

    @classmethod
    def of(cls, there: Manifest | None, engine: str, folder: Path) -> "Runs":
        """Those that the manifest lists, and one that begins now."""
        before = list(there.about.get(_RUNS, ())) if there is not None else []
        found = len(present(folder, there.plan, thorough=False)) if there is not None else 0
        if before and "seconds" not in before[-1]:  # it was killed: its last part is the last that is known of it
            written = [path.stat().st_mtime for path in (folder / "parts").glob("*.safetensors")]
            before[-1] = {**before[-1], "seconds": max(0.0, max(written, default=0.0) - before[-1]["began"])}
        now = {"began": time.time(), "host": platform.node(), "engine": engine, "found": found}
        return cls((*before, now), time.monotonic())

    def kept(self) -> dict[str, Any]:
        """For the manifest."""
        return {_RUNS: list(self.entries)}

    def rows(self, shards: int) -> Iterator[RunRow]:
        """For the table: the parts of each are those that the next one found, less its own."""
        founds = [*(entry["found"] for entry in self.entries[1:]), shards]
        for number, (entry, after) in enumerate(zip(self.entries, founds, strict=True)):
            began = datetime.datetime.fromtimestamp(entry["began"], datetime.UTC).isoformat(timespec="seconds")
            seconds = entry.get("seconds", time.monotonic() - self.began)
            made = max(0, after - entry["found"])
            yield RunRow(number, began, seconds, entry["host"], entry["engine"], made, versions())
