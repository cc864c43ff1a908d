"""Classes, sides and inputs of a run. Oracles: the definition of a stratified sample; each image read on its own."""

import os
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from convscope.errors import ConvscopeError
from convscope.network.pictures import read_image
from convscope.network.preprocessing import Preprocess
from convscope.training.run_data import RunData, Split, read_run, run_data
from convscope.training.run_listing import list_run
from convscope.training.splits import split_by_folders, split_by_share
from tests.training.folders import CLASSES, colour_folders

SMALL = Preprocess(size=16, crop=16, mean=(0.5,) * 3, std=(0.5,) * 3)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return colour_folders(tmp_path / "colours")


def assert_right(split: Split, folder: Path) -> None:
    """Every input is its own file's, and its class its own folder's."""
    for number, name in enumerate(split.ids):
        x, label = split[number]
        assert torch.equal(x, SMALL(read_image(folder / name))[0])
        assert CLASSES[label] == Path(name).parent.name


def test_a_quarter_of_every_class_is_held_out(folder: Path) -> None:
    data = run_data(folder, SMALL)
    assert data.classes == CLASSES
    assert sorted((*data.train.ids, *data.held_out.ids)) == sorted(
        p.relative_to(folder).as_posix() for p in folder.glob("*/*")
    )
    assert np.bincount(data.train.labels).tolist() == [6, 6, 6]
    assert np.bincount(data.held_out.labels).tolist() == [2, 2, 2]
    assert_right(data.train, folder)
    assert_right(data.held_out, folder)


def test_names_alone_decide_who_is_held_out(folder: Path) -> None:
    before = run_data(folder, SMALL)
    shutil.rmtree(folder / "red")
    after = run_data(folder, SMALL)
    assert after.held_out.ids == tuple(name for name in before.held_out.ids if not name.startswith("red"))
    assert after.fingerprint != before.fingerprint


@pytest.mark.parametrize(("count", "share", "held"), [(8, 0.25, 2), (2, 0.25, 1), (3, 0.9, 2), (100, 0.001, 1)])
def test_the_share_is_rounded_and_leaves_something_on_both_sides(count: int, share: float, held: int) -> None:
    ids = [f"a/{k:03}" for k in range(count)]
    split = split_by_share({"a": ids, "b": [f"b/{k}" for k in range(4)]}, share)
    assert sum(name.startswith("a/") for name in split.held_out) == held
    assert sorted((*split.train, *split.held_out)) == sorted([*ids, "b/0", "b/1", "b/2", "b/3"])
    assert set(split.train).isdisjoint(split.held_out)


def test_sides_of_their_own_are_taken(tmp_path: Path) -> None:
    colour_folders(tmp_path / "in" / "train")
    colour_folders(tmp_path / "in" / "test", each=3, seed=1)
    colour_folders(tmp_path / "in" / "val", each=2)
    data = run_data(tmp_path / "in", SMALL)
    assert data.classes == CLASSES
    assert {name.split("/")[0] for name in data.train.ids} == {"train"}
    assert {name.split("/")[0] for name in data.held_out.ids} == {"test"}
    assert (len(data.train), len(data.held_out)) == (24, 9)
    assert data.notes == ("val is not used: 6 images",)
    with pytest.raises(ConvscopeError, match="has a held-out side of its own: leave out --held-out"):
        list_run(tmp_path / "in", 0.5)


def test_a_class_may_be_called_train() -> None:
    assert split_by_folders(["train/1.jpg", "bus/1.jpg", "test/1.jpg"]) is None
    assert split_by_folders(["train/a/1.jpg", "bus/a/1.jpg", "test/a/1.jpg"]) is None
    assert split_by_folders(["train/a/1.jpg", "held-out/a/1.jpg"]) is not None


def test_numbers_come_as_numbers() -> None:
    photos = [(np.zeros((8, 8, 3), np.uint8), str(k)) for k in range(12) for _ in range(2)]
    assert list_run(photos).classes == tuple(map(str, range(12)))


def test_an_archive_is_as_its_folder(folder: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "colours.zip", "w") as archive:
        for path in folder.glob("*/*"):
            archive.write(path, path.relative_to(folder))
    packed, loose = run_data(tmp_path / "colours.zip", SMALL), run_data(folder, SMALL)
    assert packed.held_out.ids == loose.held_out.ids
    assert packed.fingerprint == loose.fingerprint
    assert torch.equal(packed.train.images[:], loose.train.images[:])


def test_an_archive_with_a_folder_around_its_sides_has_these_sides(tmp_path: Path) -> None:
    """As ``zip -r photos.zip photos`` makes one; the classes alone, in a folder, are none."""
    colour_folders(tmp_path / "in" / "photos" / "train")
    colour_folders(tmp_path / "in" / "photos" / "val", each=3)
    colour_folders(tmp_path / "in" / "photos" / "valid", each=2)
    shutil.make_archive(str(tmp_path / "photos"), "zip", tmp_path / "in")
    listed = list_run(tmp_path / "photos.zip")
    assert {name.split("/")[1] for name in listed.train.ids} == {"train"}
    assert {name.split("/")[1] for name in listed.held_out.ids} == {"val"}
    assert listed.notes == ("valid is not used: 6 images",)
    assert split_by_folders(["photos/train/1.jpg", "photos/test/1.jpg"]) is None


def test_an_image_on_both_sides_is_told(tmp_path: Path) -> None:
    """Oracle: copies that the test made; without them nothing is said."""
    train = colour_folders(tmp_path / "in" / "train")
    test = colour_folders(tmp_path / "in" / "test", each=2, seed=1)
    assert run_data(tmp_path / "in", SMALL).notes == ()
    shutil.copy(train / "red" / "05.png", test / "red" / "a.png")
    (note,) = run_data(tmp_path / "in", SMALL).notes
    assert note.startswith("test/red/a.png is held out but the same as train/red/05.png, which is trained on: ")
    shutil.copy(train / "red" / "06.png", test / "blue" / "b.png")
    (note,) = run_data(tmp_path / "in", SMALL).notes
    assert "train/red/06.png, which is trained on, and 1 more like it: " in note


def test_sides_may_be_given_one_by_one(folder: Path, tmp_path: Path) -> None:
    colour_folders(tmp_path / "more", each=2)
    data = run_data({"train": folder, "held out": tmp_path / "more"}, SMALL)
    assert (len(data.train), len(data.held_out)) == (24, 6)
    with pytest.raises(ConvscopeError, match="data by sides are"):
        list_run({"train": folder, "test": folder})


def test_the_digits_in_the_box() -> None:
    data = run_data("bundled:digits", Preprocess(28, 28, (0.5,), (0.5,)))
    assert data.classes == tuple("0123456789")
    assert len(data.train) + len(data.held_out) == 1797
    assert 0.24 < len(data.held_out) / 1797 < 0.26
    assert data.train.images[:].shape[1:] == (1, 28, 28)
    assert data.train.images[:].min() == -1
    assert data.place == "bundled:digits"


# ---- images at fault


def test_what_cannot_be_read_is_left_out_and_listed(folder: Path) -> None:
    (folder / "red" / "00.png").write_bytes(b"no picture")
    (folder / "blue" / "03.png").write_bytes((folder / "blue" / "03.png").read_bytes()[:60])
    data = run_data(folder, SMALL)
    assert sorted(name for name, _ in data.skipped) == ["blue/03.png", "red/00.png"]
    assert len(data.train) + len(data.held_out) == 22
    assert_right(data.train, folder)
    assert_right(data.held_out, folder)


def test_images_of_several_sizes_become_one(folder: Path) -> None:
    Image.new("RGB", (50, 20), "red").save(folder / "red" / "wide.png")
    assert run_data(folder, SMALL).train.images[:].shape[1:] == (3, 16, 16)
    as_they_are = Preprocess(size=None, crop=None, mean=(0.5,) * 3, std=(0.5,) * 3)
    with pytest.raises(ConvscopeError, match=r"became .* and .*--size brings all to one"):
        run_data(folder, as_they_are)


def test_what_does_not_fit_in_memory_is_read_when_it_is_wanted(folder: Path) -> None:
    (folder / "red" / "00.png").write_bytes(b"no picture")
    there, later = run_data(folder, SMALL), read_run(list_run(folder), SMALL, most_bytes=1000)
    assert not isinstance(later.train.images, torch.Tensor)
    for a, b in ((there.train, later.train), (there.held_out, later.held_out)):
        order = torch.randperm(len(a), generator=torch.Generator().manual_seed(0))
        assert a.ids == b.ids
        for one, other in zip(a.batch(order), b.batch(order), strict=True):
            assert torch.equal(one, other)
    assert there.fingerprint == later.fingerprint


def _without(folder: Path, *labels: str) -> Path:
    for label in labels:
        shutil.rmtree(folder / label)
    return folder


def test_one_class_is_refused(folder: Path) -> None:
    with pytest.raises(ConvscopeError, match="colours has one class only, 'red'"):
        list_run(_without(folder, "blue", "green"))


def test_an_empty_class_is_refused(folder: Path) -> None:
    (folder / "yellow").mkdir()
    with pytest.raises(ConvscopeError, match="the class 'yellow' is empty"):
        list_run(folder)
    (folder / "yellow" / "notes.txt").write_text("nothing yet")
    with pytest.raises(ConvscopeError, match="the class 'yellow' is empty"):
        list_run(folder)


def test_folders_whose_names_are_no_utf_8_are_not_taken_for_empty(folder: Path, tmp_path: Path) -> None:
    (folder / "green").rename(folder / os.fsdecode(b"vert-p\xe2le"))  # Latin 1: a class's, and that around all
    (tmp_path / "data").mkdir()
    folder.rename(tmp_path / "data" / os.fsdecode(b"th\xe9"))
    assert list_run(tmp_path / "data").classes == ("blue", "red", r"vert-p\xe2le")


@pytest.mark.parametrize("kind", ["zip", "gztar"])
def test_an_empty_class_in_an_archive_is_refused(folder: Path, tmp_path: Path, kind: str) -> None:
    """As in the folder that was packed, whether the class is there as a folder or by what is no picture in it."""
    (folder / "yellow").mkdir()
    packed = shutil.make_archive(str(tmp_path / "packed"), kind, tmp_path, "colours")
    with pytest.raises(ConvscopeError, match=r"the class 'yellow' is empty: colours/yellow in .*packed"):
        list_run(packed)
    (folder / "yellow" / "notes.txt").write_text("nothing yet")
    with zipfile.ZipFile(tmp_path / "files.zip", "w") as archive:
        for path in folder.glob("*/*"):
            archive.write(path, path.relative_to(folder))
    with pytest.raises(ConvscopeError, match="the class 'yellow' is empty"):
        list_run(tmp_path / "files.zip")
    shutil.rmtree(folder / "yellow")
    for name in ("__MACOSX", ".git", "old.run"):
        (folder / name).mkdir()
    assert list_run(shutil.make_archive(str(tmp_path / "packed"), kind, tmp_path, "colours")).classes == CLASSES


def test_an_empty_class_of_one_side_is_refused(tmp_path: Path) -> None:
    colour_folders(tmp_path / "in" / "train")
    colour_folders(tmp_path / "in" / "held-out", each=2)
    (tmp_path / "in" / "train" / "yellow").mkdir()
    with pytest.raises(ConvscopeError, match="the class 'yellow' is empty"):
        list_run(tmp_path / "in")
    (tmp_path / "in" / "train" / "yellow").rmdir()
    shutil.rmtree(tmp_path / "in" / "train" / "red")
    with pytest.raises(ConvscopeError, match="the class 'red' is held out only"):
        list_run(tmp_path / "in")


def test_results_beside_the_classes_are_no_empty_classes(folder: Path) -> None:
    for name in ("convscope-out", "old.run", ".hidden"):
        (folder / name).mkdir()
    assert list_run(folder).classes == CLASSES


def test_a_class_without_a_readable_image_is_refused(folder: Path) -> None:
    for path in (folder / "red").iterdir():
        path.write_bytes(b"no picture")
    with pytest.raises(ConvscopeError, match="the class 'red' has no image to learn from: 8 images cannot be read"):
        run_data(folder, SMALL)


def test_too_few_images_to_hold_one_out_are_refused(folder: Path) -> None:
    for path in sorted((folder / "red").iterdir())[1:]:
        path.unlink()
    with pytest.raises(ConvscopeError, match=r"the class 'red' has only one image \(red/00.png\)"):
        list_run(folder)


def test_images_in_no_folder_are_refused(folder: Path) -> None:
    shutil.copy(folder / "red" / "00.png", folder / "stray.png")
    with pytest.raises(
        ConvscopeError, match=r"1 of 25 images of colours lie in no class folder, the first is stray\.png"
    ):
        list_run(folder)


@pytest.mark.parametrize("share", [0.0, 1.0, -0.5, 25.0])
def test_a_share_that_is_none_is_refused(folder: Path, share: float) -> None:
    with pytest.raises(ConvscopeError, match="between 0 and 1"):
        list_run(folder, share)


def test_a_side_is_a_dataset(folder: Path) -> None:
    data: RunData = run_data(folder, SMALL)
    loader = torch.utils.data.DataLoader(data.train, batch_size=5, generator=torch.Generator())
    x = torch.cat([each for each, _ in loader])
    assert torch.equal(x, data.train.images[:])
