"""Annotations as they are read: what is refused, and how paths go together. Placement is proved by brute force in
``test_dissection``."""

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from convscope.dataset.concept_boxes import Boxes
from convscope.dataset.concept_boxes import read_boxes as read
from convscope.dataset.concept_masks import read_masks
from convscope.dataset.concepts import grid_of
from convscope.errors import ConvscopeError
from convscope.network.preprocessing import Preprocess

HEAD = "path,x0,y0,x1,y1\n"
WHOLE = Preprocess(size=8, crop=8)


def read_boxes(table: Path, images: Iterable[str], folders: Sequence[str] = ()) -> Boxes:
    """With images that are given as they are."""
    return read(table, lambda: images, folders)


def written(folder: Path, text: str, name: str = "boxes.csv") -> Path:
    (folder / name).write_text(text)
    return folder / name


@pytest.mark.parametrize(
    ("path", "image", "folders"),
    [
        ("val/cats/1.jpg", "val/cats/1.jpg", ()),
        ("./val/cats/1.jpg", "val/cats/1.jpg", ()),
        ("val/cats/1.jpg", "cats/1.jpg", ("data", "val")),
        ("data/val/cats/1.jpg", "cats/1.jpg", ("home", "data", "val")),
        ("cats/1.jpg", "data/val/cats/1.jpg", ()),
        ("val\\cats\\1.jpg", "val/cats/1.jpg", ()),
        ("/home/me/data/val/cats/1.jpg", "cats/1.jpg", ("home", "me", "data", "val")),
        ("/home/me/data/val/cats/1.jpg", "cats/1.jpg", ("home", "you", "renamed")),
        ("C:\\data\\val\\cats\\1.jpg", "cats/1.jpg", ("home", "val")),
        ("val/cats/1.jpg", "cats/1.jpg", ("home", "renamed")),
    ],
)
def test_paths_with_more_and_with_fewer_folders_go_together(tmp_path: Path, path: str, image: str, folders) -> None:
    boxes = read_boxes(written(tmp_path, f"{HEAD}{path},0,0,7,3\n"), ["cats/0.jpg", image], folders)
    assert boxes.known(image)
    assert not boxes.known(image.replace("1.jpg", "2.jpg"))
    (region,) = boxes.regions(image, grid_of(WHOLE, (8, 8), (8, 8)))
    assert boxes.names == ("cats",)
    assert region.cells.sum() == 32  # rows 0 to 3, both included


def test_where_the_folder_of_the_data_was_renamed_the_line_says_which_of_the_table_it_is(tmp_path: Path) -> None:
    table = written(tmp_path, f"{HEAD}val/cats/1.jpg,0,0,7,3\n")
    assert read_boxes(table, ["cats/1.jpg"], ["renamed"]).line == "1 box of boxes.csv, whose paths lie below val/"
    assert read_boxes(table, ["cats/1.jpg"], ["val"]).line == "1 box of boxes.csv"


def test_a_folder_that_all_photos_lie_in_may_have_another_name_than_in_the_table(tmp_path: Path) -> None:
    table = written(tmp_path, f"{HEAD}val/cats/1.jpg,0,0,7,3\nval/dogs/1.jpg,0,0,3,3\n")
    boxes = read_boxes(table, ["new/cats/0.jpg", "new/cats/1.jpg", "new/dogs/1.jpg"], ["data.zip"])
    assert boxes.names == ("cats", "dogs")
    assert [boxes.known(f"new/{name}") for name in ("cats/0.jpg", "cats/1.jpg", "dogs/1.jpg")] == [False, True, True]
    with pytest.raises(ConvscopeError, match="no row for any of the photos"):  # a class is no such folder
        read_boxes(table, ["cows/1.jpg", "cows/2.jpg"])


def test_a_name_that_two_folders_of_the_table_have_is_no_guess(tmp_path: Path) -> None:
    table = written(tmp_path, f"{HEAD}train/cats/2.jpg,0,0,7,3\nval/cats/1.jpg,0,0,7,3\ntrain/cats/1.jpg,0,0,3,3\n")
    for images in (["cats/1.jpg", "cats/2.jpg"], ["cats/1.jpg"]):
        with pytest.raises(
            ConvscopeError, match="may be those below 'val/' or 'train/'; call the data's folder as the"
        ):
            read_boxes(table, images, ["renamed"])
    assert read_boxes(table, ["cats/1.jpg", "cats/2.jpg"], ["val"]).line == "1 box of boxes.csv"


def test_only_rows_of_the_photos_count_and_only_their_concepts(tmp_path: Path) -> None:
    rows = "val/dogs/1.jpg,0,0,7,3\nval/cats/1.jpg,0,0,7,3\nval/cats/1.jpg,4,4,7,7\n"
    boxes = read_boxes(written(tmp_path, HEAD + rows), ["val/cats/0.jpg", "val/cats/1.jpg"])
    assert (boxes.line, boxes.names) == ("2 boxes of boxes.csv", ("cats",))


def test_the_class_may_be_called_label(tmp_path: Path) -> None:
    rows = "a/1.jpg,0,0,1,1,cat\na/1.jpg,1,1,2,2,\n"
    assert read_boxes(written(tmp_path, f"path,x0,y0,x1,y1,label\n{rows}"), ["a/1.jpg"]).names == ("cat", "a")


def test_a_column_names_the_class_and_boxes_of_one_class_are_one_region(tmp_path: Path) -> None:
    rows = "1.jpg,0,0,1,1,cat\n1.jpg,1,1,2,2,cat\n1.jpg,0,0,7,7,dog\n"
    boxes = read_boxes(written(tmp_path, f"path,x0,y0,x1,y1,class\n{rows}"), ["1.jpg"])
    cat, dog = boxes.regions("1.jpg", grid_of(WHOLE, (8, 8), (8, 8)))
    assert [boxes.names[cat.concept], boxes.names[dog.concept]] == ["cat", "dog"]
    assert (cat.cells.sum(), dog.cells.sum()) == (7, 64)
    assert boxes.line == "3 boxes of boxes.csv"


def test_where_the_column_is_blank_the_folder_names_the_class(tmp_path: Path) -> None:
    rows = "path,x0,y0,x1,y1,class\ncats/1.jpg,0,0,1,1, \ncats/1.jpg,1,1,2,2, dog \n"
    assert read_boxes(written(tmp_path, rows), ["cats/1.jpg"]).names == ("cats", "dog")


@pytest.mark.parametrize(
    ("folder", "concept"), [("n02056570_king_penguin", "king penguin"), ("tabby", "tabby"), ("n02056570", "n02056570")]
)
def test_a_folder_names_its_class_as_people_say(tmp_path: Path, folder: str, concept: str) -> None:
    image = f"val/{folder}/1.jpg"
    assert read_boxes(written(tmp_path, f"{HEAD}{image},0,0,7,3\n"), [image]).names == (concept,)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("path,x0,y0,x1\n", "no column 'y1'"),
        ("", "no column 'path', 'x0'"),
        (HEAD, "has no boxes"),
        (HEAD + "a/1.jpg,0,0,seven,1\n", "line 2: '0,0,seven,1' is no box"),
        (HEAD + "a/1.jpg,5,0,4,1\n", "line 2: a box runs from its first to its last pixel, not from 5,0 to 4,1"),
        (HEAD + "a/1.jpg,nan,0,4,1\n", "a box runs from"),
        (HEAD + "a/1.jpg,0.1,0.2,0.9,1\na/2.jpg,0,0,1,1\n", "between 0 and 1, as shares of a photo do.* 0.1,0.2,0.9,1"),
        (HEAD + "1.jpg,0,0,4,1\n", "lies in no folder that says what the box shows; add a column 'class' or 'label'"),
        (HEAD + "a/3.jpg,0,0,4,1\n", "no row for any of the photos, such as a/1.jpg; did you mean 'a/3.jpg'"),
        (HEAD + "train/b.jpg,0,0,4,1\n", r"such as a/1.jpg.* \(the first that it has is train/b.jpg\)"),
    ],
)
def test_tables_that_are_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ConvscopeError, match=message):
        read_boxes(written(tmp_path, text), ["a/1.jpg", "a/2.jpg"])


def test_files_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(ConvscopeError, match=r"cannot read .*nothing\.csv"):
        read_boxes(tmp_path / "nothing.csv", ["1.jpg"])
    (tmp_path / "latin.csv").write_bytes(HEAD.encode() + b"\xe9\xe9/1.jpg,0,0,1,1\n")
    with pytest.raises(ConvscopeError, match="no CSV in UTF-8"):
        read_boxes(tmp_path / "latin.csv", ["1.jpg"])
    with pytest.raises(ConvscopeError, match="no folder of masks"):
        read_masks(tmp_path / "nothing")
    with pytest.raises(ConvscopeError, match=r"no file name ends in \.png"):
        read_masks(tmp_path)


@pytest.mark.parametrize("suffix", [".png", ".PNG"])
def test_masks_are_found_however_their_suffix_is_written(tmp_path: Path, suffix: str) -> None:
    Image.new("L", (8, 8), 3).save(tmp_path / f"a.b{suffix}")
    masks = read_masks(tmp_path)
    assert masks.known("a.b.jpg")
    assert not masks.known("b.jpg")
    assert masks.regions("a.b.jpg", grid_of(WHOLE, (8, 8), (8, 8)))[0].cells.all()


def test_masks_of_another_size_in_colour_or_broken_are_refused(tmp_path: Path) -> None:
    Image.new("L", (4, 6), 3).save(tmp_path / "a.png")
    Image.new("RGB", (8, 8)).save(tmp_path / "b.png")
    (tmp_path / "c.png").write_text("no picture")
    masks, grid = read_masks(tmp_path), grid_of(WHOLE, (8, 8), (8, 8))
    for name, message in (("a", "is 4 x 6 pixels, the photo 8 x 8"), ("b", "mode RGB"), ("c", "cannot be read")):
        with pytest.raises(ConvscopeError, match=message):
            masks.regions(f"{name}.jpg", grid)
    (region,) = masks.regions("a.jpg", grid_of(WHOLE, (4, 6), (8, 8)))
    assert masks.names == ("concept 3",)
    assert region.cells.all()


@pytest.mark.parametrize(
    ("file", "text"),
    [("n.csv", "number,name\n1,sky\n"), ("n.json", '{"1": "sky"}'), ("n.csv", "\ufeffnumber,name\n1, sky\n")],
)
def test_names_of_numbers(tmp_path: Path, file: str, text: str) -> None:
    numbers = np.zeros((8, 8), np.uint8)
    numbers[:2], numbers[2:4] = 1, 255  # 255 has no name: nothing
    Image.fromarray(numbers).save(tmp_path / "a.png")
    masks = read_masks(tmp_path, written(tmp_path, text, file))
    (region,) = masks.regions("a.jpg", grid_of(WHOLE, (8, 8), (8, 8)))
    assert (masks.names, int(region.cells.sum())) == (("sky",), 16)
    with pytest.raises(ConvscopeError, match="holds no names of concepts"):
        read_masks(tmp_path, written(tmp_path, "1,sky\n", file))
