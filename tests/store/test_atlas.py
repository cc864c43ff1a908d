"""Reading an atlas. Oracle: the rows that were written by hand (small_atlas)."""

import json
import shutil
import threading
from pathlib import Path

import numpy as np
import pytest

from convscope.errors import ConvscopeError
from convscope.store.atlas import Atlas, open_atlas
from convscope.store.schema import DATABASE, SCHEMA
from tests.store.small_atlas import EDGES, small_atlas


@pytest.fixture
def atlas(tmp_path: Path) -> Atlas:
    return open_atlas(small_atlas(tmp_path / "birds.atlas"))


def test_what_it_is_of(atlas: Atlas) -> None:
    assert atlas.about["network"]["spec"] == "bundled:tiny50"
    assert [(layer.name, layer.units, layer.shape) for layer in atlas.layers] == [
        ("conv1", 2, (8, 9)),
        ("conv2", 3, (4, 4)),
    ]
    assert atlas.layer("conv1").field_size == (3, 5)
    assert atlas.layer("conv1").field_stride == (1, 2)
    assert atlas.layer("conv1").field_offset == (-1, -2)
    assert atlas.layer("conv2").field_size is None
    assert atlas.classes == ("cat", "crane")
    assert atlas.network_classes == ("crane", "cat", "crane")
    assert atlas.right("crane") == (0, 2)
    assert atlas.images == 3
    assert atlas.skipped == [("crane/broken.jpg", "is empty (0 bytes)")]
    assert atlas.units("conv2") == ["conv2:0", "conv2:1", "conv2:2"]
    assert atlas.runs[0]["host"] == "here"
    assert (atlas.label("cat/a.jpg"), atlas.label("d.jpg")) == ("cat", None)
    assert repr(atlas).endswith("birds.atlas': 2 layers, 3 images)")


def test_exemplars_and_their_boxes_best_first_to_the_last_bit(atlas: Atlas) -> None:
    assert atlas.exemplars("conv1:0") == [(9.5, "d.jpg", 2, 4), (float(np.float32(0.1)), "cat/a.jpg", 0, 0)]
    assert atlas.boxes("conv1:0") == [(1, 2, 4, 7), (0, 0, 2, 3)]
    assert atlas.exemplars("conv2:1") == []


def test_statistics_of_a_unit(atlas: Atlas) -> None:
    found = atlas.statistics("conv1:0")
    assert found["mean"] == 0.5
    assert found["variance"] == 0.25
    assert found["share_positive"] == 0.75
    assert (found["maximum"], found["minimum"], found["count"]) == (9.5, -1.5, 300)
    assert (found["class"], found["selectivity"], found["dead"]) == ("crane", 0.2, False)
    assert found["quantiles"] == {0.01: -1.0, 0.99: 7.0}
    edges, counts = found["histogram"]
    assert (edges.tolist(), counts.tolist()) == (EDGES, [1, 200, 99])
    assert dict(found["by_class"]).keys() == {"crane"}  # there is no cat's position
    assert found["by_class"]["crane"]["count"] == 300
    assert found["by_class"]["crane"]["variance"] == pytest.approx(0.1)
    assert found["by_class"]["crane"]["rectified"] == pytest.approx(0.5)
    without = atlas.statistics("conv2:1")["by_class"]
    assert len(without) == 0
    assert "cat" not in without


def test_statistics_of_a_unit_without_a_class_are_nan_and_none(atlas: Atlas) -> None:
    found = atlas.statistics("conv1:1")
    assert found["class"] is None
    assert np.isnan(found["selectivity"])
    assert found["dead"] is True


def test_statistics_of_a_whole_layer_are_those_of_its_units(atlas: Atlas) -> None:
    of_layer = atlas.layer_statistics("conv1")
    each = [atlas.statistics(unit) for unit in atlas.units("conv1")]
    for figure in ("mean", "variance", "share_positive", "maximum", "minimum", "selectivity", "count"):
        np.testing.assert_array_equal(of_layer[figure], [one[figure] for one in each])
    assert of_layer["class"] == ["crane", None]
    classes, means = atlas.class_statistics("conv1", "maximum")
    assert classes == ("cat", "crane")
    np.testing.assert_array_equal(means, np.array([[np.nan] * 2, [0.3] * 2], np.float32))
    np.testing.assert_array_equal(atlas.class_statistics("conv1", "rectified")[1][1], np.array([0.5] * 2, np.float32))
    np.testing.assert_array_equal(atlas.class_statistics("conv1", "count")[1], [[0, 0], [300, 300]])
    assert atlas.class_statistics("conv2", "mean")[1].shape == (2, 0)
    with pytest.raises(ConvscopeError, match=r"did you mean 'variance'"):
        atlas.class_statistics("conv1", "varience")


def test_answers(atlas: Atlas) -> None:
    assert atlas.accuracy() == {"cat": (1, 1), "crane": (1, 2)}
    assert atlas.confusion() == [("cat", 1, 1), ("crane", 1, 1), ("crane", 2, 1)]
    best = atlas.prototypes("crane")
    assert [row["image"] for row in best["least loss"]] == ["crane/\\xe9.jpg"]
    assert best["largest logit"][0]["logit"] == -3.0
    assert atlas.prototypes("cat") == {"least loss": [], "largest logit": []}
    first, second = atlas.suspects(5)
    assert (first["image"], first["label"], first["predicted"], first["predicted_name"]) == (
        "crane/\\xe9.jpg",
        "crane",
        1,
        "cat",
    )
    assert (first["loss"], first["probability"]) == (4.0, 0.9)
    assert second["image"] == "cat/a.jpg"
    assert len(atlas.suspects(1)) == 1


def test_units_that_stand_out(atlas: Atlas) -> None:
    assert atlas.neighbours("conv2:0") == [("conv2:2", 0.9), ("conv2:1", -0.5)]
    assert atlas.neighbours("conv2:0", 1) == [("conv2:2", 0.9)]
    assert atlas.duplicates() == [("conv2:0", "conv2:2", ["d.jpg", "cat/a.jpg"])]
    assert atlas.dead() == ["conv1:1"]
    assert atlas.nonfinite() == [("conv2:2", 5, 2, 1, "d.jpg")]


def test_features_and_mean_patterns_are_read_from_disk(atlas: Atlas) -> None:
    images, values = atlas.features("conv1")
    assert images == ["cat/a.jpg", "d.jpg"]
    np.testing.assert_array_equal(values, [[0, 1], [2, 3]])
    assert isinstance(values, np.memmap)
    np.testing.assert_array_equal(atlas.mean_patterns("conv2", "crane"), np.arange(12, 24).reshape(3, 2, 2))
    np.testing.assert_array_equal(atlas.mean_patterns("conv2", None), np.arange(12).reshape(3, 2, 2))
    with pytest.raises(
        ConvscopeError, match=r"mean patterns of conv1 were not kept in birds.atlas: those of conv2 were"
    ):
        atlas.mean_patterns("conv1", "crane")
    with pytest.raises(ConvscopeError, match=r"no image of class 'cat'"):
        atlas.mean_patterns("conv2", "cat")


def test_pictures(atlas: Atlas) -> None:
    picture = atlas.picture("conv1:0", 0, "context")
    assert picture is not None
    assert (picture.size, picture.getpixel((0, 0))) == ((6, 4), (255, 0, 0))
    assert atlas.picture_box("conv1:0", 0, "context") == (1, 1, 4, 6)
    assert atlas.picture("conv1:0", 1) is None
    assert atlas.picture_box("conv1:0", 7) is None
    assert atlas.pictures("conv1:0") == [(0, "context"), (0, "crop")]
    assert atlas.sprites("conv1")[0]["cell"] == 32
    assert atlas.sprites("conv2") == []


def test_a_damaged_picture_is_refused_by_name(atlas: Atlas) -> None:
    file = next((atlas.path / "images").glob("*/*.webp"))
    file.write_bytes(b"RIFF")
    with pytest.raises(ConvscopeError, match=rf"{file.name} is damaged"):
        atlas.picture("conv1:0")
    file.unlink()
    with pytest.raises(ConvscopeError, match=rf"lacks its picture .*{file.name}"):
        atlas.picture("conv1:0")


def test_ablations(atlas: Atlas) -> None:
    found = atlas.ablation("conv1:0")
    assert list(found) == ["", "crane"]
    assert found[""] == {
        "images": 3,
        "correct_before": 2,
        "correct_after": 1,
        "logit_drop": 0.5,
        "probability_drop": 0.1,
    }
    assert atlas.ablation("conv1:0", "mean") == {}


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("conv1", "'conv1' is no unit's name; a unit is LAYER:NUMBER, such as conv1:0"),
        ("conv1:0@3,4", "is no unit's name"),
        ("conv1:-1", "is no unit's name"),
        ("conv1:2", "no unit 'conv1:2': conv1 has 2 units, 0 to 1"),
        ("cnov1:0", "no layer 'cnov1' in birds.atlas; did you mean 'conv1'"),
        ("features:0", "no layer 'features' in birds.atlas; it has conv1, conv2"),
    ],
)
def test_a_unit_that_is_not_there_is_refused_with_what_is(name: str, why: str, atlas: Atlas) -> None:
    for ask in (atlas.exemplars, atlas.statistics, atlas.boxes, atlas.neighbours, atlas.ablation, atlas.picture):
        with pytest.raises(ConvscopeError, match=why):
            ask(name)


def test_classes_and_images_that_are_not_there_are_refused(atlas: Atlas) -> None:
    with pytest.raises(ConvscopeError, match=r"no class 'crame' in birds.atlas; did you mean 'crane'"):
        atlas.prototypes("crame")
    with pytest.raises(ConvscopeError, match=r"no image 'x.jpg' was read"):
        atlas.label("x.jpg")


def test_it_is_read_by_many_threads_at_once(atlas: Atlas) -> None:
    found: list[object] = []
    threads = [threading.Thread(target=lambda: found.append(atlas.exemplars("conv1:0"))) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [atlas.exemplars("conv1:0")] * 16


def test_reading_writes_nothing(atlas: Atlas) -> None:
    before = {path: path.stat().st_mtime_ns for path in atlas.path.rglob("*")}
    atlas.statistics("conv1:0")
    atlas.features("conv1")
    assert {path: path.stat().st_mtime_ns for path in atlas.path.rglob("*")} == before
    atlas.close()
    assert atlas.exemplars("conv1:0")  # opened again


def test_a_path_with_odd_letters_opens(tmp_path: Path) -> None:
    assert open_atlas(small_atlas(tmp_path / "a?b #1 %41 é.atlas")).images == 3


class TestRefused:
    def test_a_name_that_is_not_there_with_the_nearest(self, tmp_path: Path) -> None:
        small_atlas(tmp_path / "birds.atlas")
        with pytest.raises(ConvscopeError, match=r"there is no atlas .*bird.atlas; did you mean 'birds.atlas'"):
            open_atlas(tmp_path / "bird.atlas")
        with pytest.raises(ConvscopeError, match=r"there is no atlas .*zzz; atlases there: birds.atlas"):
            open_atlas(tmp_path / "zzz")
        with pytest.raises(ConvscopeError, match=r"there is no folder .*nowhere"):
            open_atlas(tmp_path / "nowhere" / "x.atlas")

    def test_what_is_no_atlas(self, tmp_path: Path) -> None:
        (tmp_path / "file.atlas").write_text("x")
        with pytest.raises(ConvscopeError, match=r"it is a file, and an atlas is a folder"):
            open_atlas(tmp_path / "file.atlas")
        (tmp_path / "folder").mkdir()
        with pytest.raises(ConvscopeError, match=r"folder is no atlas: it has no manifest.json"):
            open_atlas(tmp_path / "folder")
        (tmp_path / "folder" / "manifest.json").write_text('{"name": "a web page"}')
        with pytest.raises(ConvscopeError, match=r"its manifest.json is of something else"):
            open_atlas(tmp_path / "folder")
        (tmp_path / "folder" / "manifest.json").write_text("{")
        with pytest.raises(ConvscopeError, match=r"manifest.json cannot be read"):
            open_atlas(tmp_path / "folder")

    def test_an_unfinished_one(self, tmp_path: Path) -> None:
        with pytest.raises(ConvscopeError, match=r"is not finished: the same `convscope survey` with --resume"):
            open_atlas(small_atlas(tmp_path / "a.atlas", state="unfinished"))

    def test_a_newer_one(self, tmp_path: Path) -> None:
        with pytest.raises(ConvscopeError, match=r"made by a newer convscope .*update convscope"):
            open_atlas(small_atlas(tmp_path / "a.atlas", schema=SCHEMA + 1))

    def test_a_manifest_that_lacks_something(self, tmp_path: Path) -> None:
        path = small_atlas(tmp_path / "a.atlas")
        said = json.loads((path / "manifest.json").read_text())
        del said["plan"]
        (path / "manifest.json").write_text(json.dumps(said))
        with pytest.raises(ConvscopeError, match=r"is damaged: it has no 'plan'"):
            open_atlas(path)

    def test_tables_that_are_missing_or_damaged(self, tmp_path: Path) -> None:
        path = small_atlas(tmp_path / "a.atlas")
        (path / DATABASE).write_bytes(b"not a database, not at all" * 100)
        with pytest.raises(ConvscopeError, match=r"cannot read .*atlas.sqlite: file is not a database"):
            open_atlas(path).exemplars("conv1:0")
        (path / DATABASE).unlink()
        with pytest.raises(ConvscopeError, match=r"cannot read .*atlas.sqlite"):
            open_atlas(path).exemplars("conv1:0")
        assert not (path / DATABASE).exists()


def test_an_atlas_may_be_moved(tmp_path: Path) -> None:
    path = small_atlas(tmp_path / "a.atlas")
    shutil.move(path, tmp_path / "elsewhere")
    atlas = open_atlas(tmp_path / "elsewhere")
    assert atlas.picture("conv1:0") is not None
