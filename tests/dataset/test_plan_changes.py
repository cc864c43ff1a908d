"""What may change between a survey's beginning and its end. Oracle: changes made one at a time."""

import os
import shutil
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from convscope.dataset.image_sources import ImageSource, source_of
from convscope.dataset.plan import Plan
from convscope.dataset.plan_changes import refuse_changed
from convscope.dataset.planning import make_plan
from convscope.errors import ConvscopeError
from convscope.network.loading import load
from tests.dataset.test_plan import names, photos, untrained

NET = load()
Digests = Callable[[int], Mapping[int, bytes]]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return photos(tmp_path / "data", *names(10))


@pytest.fixture
def plan(data: Path, tmp_path: Path) -> Plan:
    return make_plan(NET, source_of(data), tmp_path / "a.atlas", shard=4, labels="groups")[0]


def recorded(plan: Plan, source: ImageSource, *finished: int) -> Digests:
    """Digests as parts hold them, taken now, of the finished shards."""
    found = {shard: {i.number: source.digest(i.name) for i in plan.shard(shard).images} for shard in finished}
    return lambda shard: found.get(shard, {})


def test_the_same_may_go_on(plan: Plan, data: Path) -> None:
    source = source_of(data)
    refuse_changed(plan, source, NET, recorded(plan, source, 0, 1, 2), {"shard": 4, "labels": "groups"})
    refuse_changed(Plan.load(plan.folder), source, load(), recorded(plan, source))


def test_a_copy_with_other_times_may_go_on(plan: Plan, data: Path) -> None:
    digests = recorded(plan, source_of(data), 0, 1, 2)
    other = data.with_name("copy")
    shutil.copytree(data, other, copy_function=shutil.copy)
    refuse_changed(plan, source_of(other), NET, digests)


def test_other_content_of_a_finished_shard_is_refused_and_of_an_unfinished_one_is_not(plan: Plan, data: Path) -> None:
    source = source_of(data)
    digests = recorded(plan, source, 0, 1)
    in_shard_2, in_shard_1 = list(source.names())[9], list(source.names())[5]
    (data / in_shard_2).write_bytes((data / names(10)[0]).read_bytes() + b"x")
    refuse_changed(plan, source, NET, digests)
    (data / in_shard_1).write_bytes(b"x")
    with pytest.raises(ConvscopeError, match=rf"the image {in_shard_1} has changed .*begin anew with --overwrite"):
        refuse_changed(plan, source, NET, digests)


def test_content_of_the_same_size_and_time_is_not_read(plan: Plan, data: Path) -> None:
    """The promise is made for files whose size or time differs: reading all would cost what the survey costs."""
    source = source_of(data)
    digests = recorded(plan, source, 0, 1, 2)
    path = data / names(10)[1]
    stat, content = path.stat(), bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    refuse_changed(plan, source, NET, digests)


@pytest.mark.parametrize("change", [
    ("add", "aaa/first.png", "aaa/first.png is new"), ("add", "king_penguin/01.png", "king_penguin/01.png is new"),
    ("add", "z.png", "z.png is new"), ("remove", "goldfish/01.png", "goldfish/01.png is gone"),
    ("remove", "king_penguin/09.png", "king_penguin/09.png is gone"),
])  # fmt: skip
def test_images_that_came_or_went_are_named(change: tuple[str, str, str], plan: Plan, data: Path) -> None:
    what, name, why = change
    digests = recorded(plan, source_of(data), 0)
    if what == "add":
        photos(data, name)
    else:
        (data / name).unlink()
    with pytest.raises(ConvscopeError, match=f"the images of data are no longer those of the plan: {why}"):
        refuse_changed(plan, source_of(data), NET, digests)


def test_another_network_or_preprocessing_is_refused(plan: Plan, data: Path) -> None:
    source = source_of(data)
    with pytest.raises(ConvscopeError, match=r"begun with another network \(bundled:tiny50\)"):
        refuse_changed(plan, source, untrained(), recorded(plan, source))
    with pytest.raises(ConvscopeError, match=r"begun with another preprocessing \(Preprocess"):
        refuse_changed(plan, source, load(size=32), recorded(plan, source))


def test_another_version_is_refused(plan: Plan, data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("convscope.dataset.plan_changes.versions", lambda: "convscope 9, torch 9")
    with pytest.raises(ConvscopeError, match=r"another version \(convscope .* now convscope 9, torch 9\)"):
        refuse_changed(plan, source_of(data), NET, recorded(plan, source_of(data)))


@pytest.mark.parametrize(
    ("asked", "why"),
    [
        ({"top": 5}, "begun with top 9, not with 5"),
        ({"batch": 5}, "begun with batches of 64, not with 5"),
        ({"shard": 5}, "begun with shards of 4, not with 5"),
        ({"layers": ["features.0"]}, r"begun with the layers features.0, .* and \d+ more, not with features.0"),
        ({"labels": "none"}, "patterns of features.17, not with none|labels from groups, not with none"),
        ({"layers": ["nowhere"]}, "no layer 'nowhere'"),
    ],
)
def test_what_is_asked_for_now_must_be_the_same(asked: dict[str, Any], why: str, plan: Plan, data: Path) -> None:
    source = source_of(data)
    with pytest.raises(ConvscopeError, match=why):
        refuse_changed(plan, source, NET, recorded(plan, source), {"shard": 4, "labels": "groups", **asked})


def test_photos_in_memory_are_looked_at_here_and_there(tmp_path: Path) -> None:
    """First, middle and last of each finished shard: [0 1 2 3] [4 5 6 7] [8 9]."""
    pixels = [np.full((8, 9, 3), number, np.uint8) for number in range(10)]
    plan, _ = make_plan(NET, source_of(pixels), tmp_path, shard=4)
    digests = recorded(plan, source_of(pixels), 0, 2)
    caught: list[int] = []
    for number in range(10):
        changed = [*pixels[:number], pixels[number] + 100, *pixels[number + 1 :]]
        with suppress(ConvscopeError):
            refuse_changed(plan, source_of(changed), NET, digests)
            continue
        caught.append(number)
    assert caught == [0, 1, 3, 8, 9]
    with pytest.raises(ConvscopeError, match="the image 000003 has changed"):
        refuse_changed(plan, source_of([*pixels[:3], *pixels[4:], pixels[3]]), NET, digests)
