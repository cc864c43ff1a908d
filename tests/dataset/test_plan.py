"""Plans. Oracles: what was asked for, the lists of files, the layers of nets that are known by heart."""

import json
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pytest
import torch
from PIL import Image

from convscope.dataset.image_sources import source_of
from convscope.dataset.plan import OFFSETS, PLAN, Plan, PlannedImage
from convscope.dataset.planning import make_plan
from convscope.errors import ConvscopeError
from convscope.network.loading import Network, load
from convscope.writing import UnwritableError
from tests import nets
from tests.dataset.small_survey import Photos, network, noise


def photos(folder: Path, *names: str) -> Path:
    for number, name in enumerate(names):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (9, 8), (number % 256, 0, 255)).save(path, "PNG")
    return folder


@pytest.fixture(scope="module")
def net() -> Network:
    return load()


def untrained() -> Network:
    with torch.random.fork_rng(devices=[]):
        return load(weights="random")


def names(count: int) -> list[str]:
    return [f"{'goldfish' if number % 3 else 'king_penguin'}/{number:02d}.png" for number in range(count)]


def test_a_plan_is_written_and_loaded_again(net: Network, tmp_path: Path) -> None:
    source = source_of(photos(tmp_path / "data", *names(10)))
    plan, notes = make_plan(net, source, tmp_path / "a.atlas", top=5, shard=4, batch=3, labels="groups")
    assert notes == ()
    assert (plan.images, plan.shards, plan.top, plan.batch, plan.per_image, plan.features) == (10, 3, 5, 3, 1, 4096)
    assert plan.classes == ("goldfish", "king_penguin")
    assert plan.right[0] == (net.classes.index("goldfish"),)
    assert (plan.model, plan.model_name, plan.data) == (net.fingerprint, "bundled:tiny50", "data")
    again = Plan.load(tmp_path / "a.atlas")
    assert again == plan
    assert again.fingerprint == plan.fingerprint
    assert sorted(p.name for p in (tmp_path / "a.atlas").iterdir()) == ["images.jsonl", "images.offsets", "plan.json"]


@pytest.mark.parametrize(("count", "size"), [(10, 4), (8, 4), (3, 4), (1, 1), (10, 1)])
def test_shards_are_runs_of_the_images_in_their_order(count: int, size: int, net: Network, tmp_path: Path) -> None:
    source = source_of(photos(tmp_path / "data", *names(count)))
    plan, _ = make_plan(net, source, tmp_path / "a.atlas", shard=size, labels="groups")
    label = {"goldfish": 0, "king_penguin": 1 if count > 1 else 0}
    every = [PlannedImage(i, name, label[name.split("/")[0]]) for i, name in enumerate(source.names())]
    shards = [plan.shard(number) for number in range(plan.shards)]
    assert [shard.number for shard in shards] == list(range(-(-count // size)))
    assert [len(shard.images) for shard in shards[:-1]] == [size] * (len(shards) - 1)
    assert [image for shard in shards for image in shard.images] == every
    with pytest.raises(ConvscopeError, match=r"is damaged"):
        plan.shard(plan.shards)


def test_sizes_and_times_are_noted(net: Network, tmp_path: Path) -> None:
    source = source_of(photos(tmp_path / "data", *names(3)))
    plan, _ = make_plan(net, source, tmp_path / "a.atlas", labels="none")
    for name, label, size, mtime_ns in plan.listed():
        found = (tmp_path / "data" / name).stat()
        assert (label, size, mtime_ns) == (-1, found.st_size, found.st_mtime_ns)
    assert len(list(plan.listed())) == 3


def test_names_with_line_breaks_and_stray_bytes_stay_one_line_each(net: Network, tmp_path: Path) -> None:
    source = source_of(photos(tmp_path / "data", "a\nb.png", "c\\xe9.png", 'd".png', "é.png"))
    plan, _ = make_plan(net, source, tmp_path / "a.atlas", shard=3)
    assert [image.name for number in (0, 1) for image in plan.shard(number).images] == sorted(source.names())


@pytest.mark.parametrize(
    ("images", "features", "stride"), [(10, 4096, 1), (10, 10, 1), (10, 9, 2), (10, 3, 4), (10, 1, 10)]
)
def test_features_are_kept_of_at_most_so_many(
    images: int, features: int, stride: int, net: Network, tmp_path: Path
) -> None:
    plan, _ = make_plan(net, source_of(photos(tmp_path / "d", *names(images))), tmp_path / "a", features=features)
    assert plan.stride == stride
    assert len(range(0, images, stride)) <= features


class TestFingerprint:
    def test_it_is_of_all_that_changes_numbers_and_of_nothing_else(self, net: Network, tmp_path: Path) -> None:
        data = photos(tmp_path / "data", *names(6))
        first, _ = make_plan(net, source_of(data), tmp_path / "a", labels="groups")
        moved = data.rename(tmp_path / "elsewhere")
        for path in moved.rglob("*.png"):
            path.touch()
        second, _ = make_plan(net, source_of(moved), tmp_path / "b", labels="groups")
        assert second.fingerprint == first.fingerprint
        changes = {
            "top": 5, "per_image": 2, "batch": 4, "shard": 3, "features": 7, "labels": "none", "patterns": (),
            "layers": "features.0",
        }  # fmt: skip
        prints = {first.fingerprint}
        for name, value in changes.items():
            plan, _ = make_plan(net, source_of(moved), tmp_path / "c", **{"labels": "groups", name: value})
            prints.add(plan.fingerprint)
        prints.add(make_plan(untrained(), source_of(moved), tmp_path / "c", labels="groups")[0].fingerprint)
        prints.add(make_plan(load(size=32), source_of(moved), tmp_path / "c", labels="groups")[0].fingerprint)
        photos(moved, "new.png")
        prints.add(make_plan(net, source_of(moved), tmp_path / "c", labels="groups")[0].fingerprint)
        assert len(prints) == len(changes) + 4


class TestLayers:
    def test_all_convolutions_by_default(self, net: Network, tmp_path: Path) -> None:
        plan, _ = make_plan(net, source_of(photos(tmp_path / "d", "a.png")), tmp_path / "a")
        convolutions = [name for name, module in net.module.named_modules() if type(module).__name__ == "Conv2d"]
        assert list(plan.layers) == convolutions

    def test_patterns_of_the_last_layer_with_a_map_where_there_are_labels(self, net: Network, tmp_path: Path) -> None:
        source = source_of(photos(tmp_path / "d", *names(4)))
        plan, _ = make_plan(net, source, tmp_path / "a", labels="groups")
        assert plan.pattern_layers == (plan.layers[-1],)
        assert make_plan(net, source, tmp_path / "a", labels="none")[0].pattern_layers == ()
        asked, _ = make_plan(net, source, tmp_path / "a", labels="groups", patterns=[plan.layers[2], plan.layers[1]])
        assert asked.pattern_layers == (plan.layers[1], plan.layers[2])
        with pytest.raises(ConvscopeError, match=r"no layer 'nowhere'"):
            make_plan(net, source, tmp_path / "a", patterns=["nowhere"])


class TestBroken:
    def test_an_interrupted_plan_is_none(self, net: Network, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        source, folder = source_of(photos(tmp_path / "data", *names(5))), tmp_path / "a"
        make_plan(net, source, folder)
        with monkeypatch.context() as patch:
            patch.setattr("convscope.dataset.plan.write_file", Mock(side_effect=KeyboardInterrupt))
            with pytest.raises(KeyboardInterrupt):
                make_plan(net, source, folder, top=3)
        with pytest.raises(ConvscopeError, match=r"there is no plan in"):
            Plan.load(folder)
        make_plan(net, source, folder, top=3)
        assert Plan.load(folder).top == 3

    def test_a_full_disk(self, net: Network, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def full(**_: object) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr("convscope.writing.tempfile.mkstemp", full)
        with pytest.raises(UnwritableError, match=r"cannot write .*images.jsonl: No space left"):
            make_plan(net, source_of(photos(tmp_path / "data", *names(5))), tmp_path / "a")

    def test_what_cannot_be_loaded(self, net: Network, tmp_path: Path) -> None:
        folder = tmp_path / "a"
        make_plan(net, source_of(photos(tmp_path / "data", *names(5))), folder, shard=2)
        said = json.loads((folder / PLAN).read_text())
        for content in ("{", "[]", "{}", json.dumps({**said, "more": 1})):
            (folder / PLAN).write_text(content)
            with pytest.raises(ConvscopeError, match=r"plan.json cannot be read"):
                Plan.load(folder)
        (folder / PLAN).write_text(json.dumps(said))
        np.zeros(2, "<u8").tofile(folder / OFFSETS)
        with pytest.raises(ConvscopeError, match=r"images.offsets is missing or of another length"):
            Plan.load(folder)


class TestRefused:
    @pytest.mark.parametrize("option", ["top", "per_image", "batch", "shard", "features"])
    def test_numbers_below_one(self, option: str, net: Network, tmp_path: Path) -> None:
        with pytest.raises(ConvscopeError, match=f"{option}=0: at least 1"):
            make_plan(net, source_of(photos(tmp_path / "d", "a.png")), tmp_path / "a", **{option: 0})
        assert not (tmp_path / "a").exists()

    def test_a_source_of_which_nothing_can_be_read(self, net: Network, tmp_path: Path) -> None:
        (tmp_path / "a.png").write_bytes(b"")
        (tmp_path / "b.png").write_bytes(b"x")
        with pytest.raises(ConvscopeError, match=r"none of the 2 images of .* can be used; the first: a.png is empty"):
            make_plan(net, source_of(tmp_path), tmp_path / "out")
        assert not (tmp_path / "out").exists()

    def test_labels_that_fit_in_part_leave_nothing(self, net: Network, tmp_path: Path) -> None:
        with pytest.raises(ConvscopeError, match=r"--labels groups"):
            make_plan(net, source_of(photos(tmp_path / "d", "goldfish/a.png", "b/b.png")), tmp_path / "out")
        assert not (tmp_path / "out").exists()


def test_photos_in_memory(tmp_path: Path) -> None:
    source = Photos(noise(7))
    plan, _ = make_plan(network(nets.plain(dtype=torch.float32)), source, tmp_path, shard=3)
    assert [image.name for image in plan.shard(2).images] == list(source.names())[6:]
