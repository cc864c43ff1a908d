"""Annotations as they are read: what is refused, and how paths go together. Placement is proved by brute force in
``test_dissection``."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from convscope.dataset.concept_boxes import read_boxes
from convscope.dataset.concept_masks import read_masks
from convscope.dataset.concepts import grid_of
from convscope.errors import ConvscopeError
from convscope.network.preprocessing import Preprocess

HEAD = "path,x0,y0,x1,y1\n"
WHOLE = Preprocess(size=8, crop=8)


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
    ],
)
def test_paths_with_more_and_with_fewer_folders_go_together(tmp_path: Path, path: str, image: str, folders) -> None:
    boxes = read_boxes(written(tmp_path, f"{HEAD}{path},0,0,7,3\n"), iter(["cats/0.jpg", image]), folders)
    assert boxes.known(image)
    assert not boxes.known(image.replace("1.jpg", "2.jpg"))
    (region,) = boxes.regions(image, grid_of(WHOLE, (8, 8), (8, 8)))
    assert boxes.names == ("cats",)
    assert region.cells.sum() == 32  # rows 0 to 3, both included


def test_a_column_names_the_class_and_boxes_of_one_class_are_one_region(tmp_path: Path) -> None:
    rows = "1.jpg,0,0,1,1,cat\n1.jpg,1,1,2,2,cat\n1.jpg,0,0,7,7,dog\n"
    boxes = read_boxes(written(tmp_path, f"path,x0,y0,x1,y1,class\n{rows}"), iter(["1.jpg"]))
    cat, dog = boxes.regions("1.jpg", grid_of(WHOLE, (8, 8), (8, 8)))
    assert [boxes.names[cat.concept], boxes.names[dog.concept]] == ["cat", "dog"]
    assert (cat.cells.sum(), dog.cells.sum()) == (7, 64)
    assert boxes.line == "3 boxes of boxes.csv"


def test_where_the_column_is_blank_the_folder_names_the_class(tmp_path: Path) -> None:
    rows = "path,x0,y0,x1,y1,class\ncats/1.jpg,0,0,1,1, \ncats/1.jpg,1,1,2,2, dog \n"
    assert read_boxes(written(tmp_path, rows), iter(["cats/1.jpg"])).names == ("cats", "dog")


@pytest.mark.parametrize(
    ("folder", "concept"), [("n02056570_king_penguin", "king penguin"), ("tabby", "tabby"), ("n02056570", "n02056570")]
)
def test_a_folder_names_its_class_as_people_say(tmp_path: Path, folder: str, concept: str) -> None:
    image = f"val/{folder}/1.jpg"
    assert read_boxes(written(tmp_path, f"{HEAD}{image},0,0,7,3\n"), iter([image])).names == (concept,)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("path,x0,y0,x1\n", "no column 'y1'"),
        ("", "no column 'path', 'x0'"),
        (HEAD, "has no boxes"),
        (HEAD + "a/1.jpg,0,0,seven,1\n", "line 2: '0,0,seven,1' is no box"),
        (HEAD + "a/1.jpg,5,0,4,1\n", "line 2: a box runs from its first to its last pixel, not from 5,0 to 4,1"),
        (HEAD + "a/1.jpg,nan,0,4,1\n", "a box runs from"),
        (HEAD + "1.jpg,0,0,4,1\n", "lies in no folder that says what the box shows"),
        (HEAD + "a/3.jpg,0,0,4,1\n", "no row for any of the photos, such as a/1.jpg; did you mean 'a/3.jpg'"),
        (HEAD + "train/b.jpg,0,0,4,1\n", r"such as a/1.jpg.* \(the first that it has is train/b.jpg\)"),
    ],
)
def test_tables_that_are_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ConvscopeError, match=message):
        read_boxes(written(tmp_path, text), iter(["a/1.jpg", "a/2.jpg"]))


def test_files_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(ConvscopeError, match=r"cannot read .*nothing\.csv"):
        read_boxes(tmp_path / "nothing.csv", iter(["1.jpg"]))
    (tmp_path / "latin.csv").write_bytes(HEAD.encode() + b"\xe9\xe9/1.jpg,0,0,1,1\n")
    with pytest.raises(ConvscopeError, match="no CSV in UTF-8"):
        read_boxes(tmp_path / "latin.csv", iter(["1.jpg"]))
    with pytest.raises(ConvscopeError, match="no folder of masks"):
        read_masks(tmp_path / "nothing")
    with pytest.raises(ConvscopeError, match=r"no file name ends in \.png"):
        read_masks(tmp_path)


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
