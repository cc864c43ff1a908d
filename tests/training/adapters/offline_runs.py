"""What Weights & Biases wrote of an offline run, read from its files.

``run-ID.wandb``: 7 bytes, then blocks of 32 KiB of records as LevelDB's log has them: crc32, length and kind (whole,
first, middle or last part), then the bytes of a protobuf ``Record``, which the package itself parses.
"""

import json
import struct
from pathlib import Path

from wandb.proto import wandb_internal_pb2

_BLOCK, _HEAD, _WHOLE, _LAST = 32768, 7, 1, 4


def records(folder: Path) -> list[wandb_internal_pb2.Record]:
    (file,) = folder.rglob("run-*.wandb")
    data, place, parts, found = file.read_bytes(), 7, b"", []
    while place + _HEAD <= len(data):
        if _BLOCK - place % _BLOCK < _HEAD:  # the rest of a block is filled up
            place += _BLOCK - place % _BLOCK
            continue
        _, length, kind = struct.unpack_from("<IHB", data, place)
        parts += data[place + _HEAD : place + _HEAD + length]
        place += _HEAD + length
        if kind in (_WHOLE, _LAST):
            found.append(wandb_internal_pb2.Record.FromString(parts))
            parts = b""
    return found


def rows(folder: Path) -> list[dict]:
    """The history: what was logged, row by row."""
    return [
        {item.key or "/".join(item.nested_key): json.loads(item.value_json) for item in record.history.item}
        for record in records(folder)
        if record.WhichOneof("record_type") == "history"
    ]


def axes(folder: Path) -> dict[str, str]:
    """name -> that of its own step."""
    found = [record.metric for record in records(folder) if record.WhichOneof("record_type") == "metric"]
    return {metric.name or metric.glob_name: metric.step_metric for metric in found}
