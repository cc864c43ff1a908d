"""Labels of a data set. Oracles: written out by hand, and ``labels.labels_of`` on the same files."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from convscope.dataset.data_labels import DataLabels, data_labels
from convscope.dataset.image_sources import SourceImage
from convscope.errors import ConvscopeError
from convscope.labels import labels_of

CLASSES = ("crane", "cat", "crane", "king penguin", "7")


class Names:
    """A source of names only; ``broken`` ones are no pictures."""

    place = None

    def __init__(
        self, *names: str, name: str = "photos", broken: Sequence[str] = (), own: Sequence[str | None] = ()
    ) -> None:
        self.name, self.broken = name, broken
        self.all = sorted(names)
        self.own = dict(zip(self.all, own, strict=True)) if own else {}
        self.reads = 0

    def names(self) -> Iterator[str]:
        return iter(self.all)

    def read(self, name: str) -> SourceImage:
        self.reads += 1
        if name in self.broken:
            raise ConvscopeError("broken")
        return None  # type: ignore  # nobody looks

    def digest(self, name: str) -> bytes:
        return b""

    def facts(self, name: str) -> tuple[int, int]:
        return 0, 0

    def label(self, name: str) -> str | None:
        return self.own.get(name)

    def line(self) -> str:
        return ""


def numbers(found: DataLabels, source: Names) -> list[int]:
    return [found.number(name) for name in source.names()]


def test_folders_are_classes_written_as_the_network_writes_them() -> None:
    source = Names("train/n02123045_CAT/1.jpg", "train/king_penguin/2.jpg", "val/cat/3.jpg", "val/Crane/4.jpg")
    found = data_labels(source, CLASSES)
    assert found.kind == "folders"
    assert found.classes == ("cat", "crane", "king penguin")
    assert found.right == ((1,), (0, 2), (3,))
    assert numbers(found, source) == [2, 0, 1, 0]
    assert source.reads == 1  # of the first file name that is no class


def test_file_names_where_the_folders_are_no_classes() -> None:
    source = Names("a/n02123045_cat_12.jpg", "b/king penguin (3).jpg")
    found = data_labels(source, CLASSES)
    assert (found.kind, found.classes, numbers(found, source)) == ("names", ("cat", "king penguin"), [0, 1])


@pytest.mark.parametrize("name", ["cat", "cat.zip", "cat.tar.gz"])
def test_photos_at_the_top_have_the_name_of_the_whole(name: str) -> None:
    source = Names("1.jpg", "2.jpg", name=name)
    assert data_labels(source, CLASSES).classes == ("cat",)


@pytest.mark.parametrize("names", [
    ["cat/1.jpg", "crane/2.jpg"], ["x/cat.jpg", "y/crane_2.jpg"], ["x/1.jpg", "y/2.jpg"],
])  # fmt: skip
def test_what_is_right_is_what_the_list_of_files_gives(names: list[str]) -> None:
    """Oracle: labels.labels_of, which has all paths in memory."""
    source, folder = Names(*names), Path("photos")
    found = data_labels(source, CLASSES)
    wanted, _ = labels_of([folder / name for name in names], folder, CLASSES)
    for name in names:
        right = set(found.right[found.number(name)]) if found.number(name) >= 0 else set()
        assert right == set(wanted[folder / name].classes if folder / name in wanted else ())


def test_groups_are_the_folders_whatever_the_network_knows() -> None:
    source = Names("x/cat/1.jpg", "y/cat/2.jpg", "day one/3.jpg", "4.jpg")
    found = data_labels(source, CLASSES, "groups")
    assert found.classes == ("cat", "day one", "photos")
    assert found.right == ((1,), (), ())
    assert numbers(found, source) == [2, 1, 0, 0]


def test_none_and_what_fits_nothing() -> None:
    source = Names("cat/1.jpg")
    assert data_labels(source, CLASSES, "none") == DataLabels("none")
    found = data_labels(Names("day one/1.jpg", "day two/2.jpg"), CLASSES)
    assert found == DataLabels("none")
    assert numbers(found, source) == [-1]
    assert data_labels(Names("cat/1.jpg"), ()).kind == "none"  # a network without names


@pytest.mark.parametrize("classes", [CLASSES, ()])
def test_folders_of_several_images_are_groups_where_the_network_knows_none_and_it_is_said(classes: Any) -> None:
    source = Names("day one/1.jpg", "day one/2.jpg", "day two/1.jpg", "day two/2.jpg")
    found = data_labels(source, classes)
    assert (found.kind, found.classes, found.right) == ("groups", ("day one", "day two"), ((), ()))
    assert numbers(found, source) == [0, 0, 1, 1]
    assert found.note.startswith("the folder of an image is no class of the network")


@pytest.mark.parametrize(
    "names", [["a/1.jpg", "b/2.jpg"], ["a/1.jpg", "a/2.jpg"], ["1.jpg", "2.jpg", "a/1.jpg", "a/2.jpg"]]
)
def test_a_folder_an_image_one_folder_and_loose_images_are_no_groups(names: list[str]) -> None:
    assert data_labels(Names(*names), CLASSES).kind == "none"


def test_a_few_accidental_hits_are_no_labels_and_are_said() -> None:
    found = data_labels(Names("IMG_1.jpg", "IMG_2.jpg", "IMG_3.jpg", "cat.jpg"), CLASSES)
    assert found.kind == "none"
    assert found.note.startswith("no labels: 3 of 4 file names are no class of the network, the first is 'IMG_1'")


@pytest.mark.parametrize("labels", ["auto", "folders"])
def test_labels_of_which_a_part_fits_are_refused_with_the_ways_out(labels: str) -> None:
    source = Names("cat/1.jpg", "crane/2.jpg", "king pengiun/3.jpg")
    why = (
        "1 of 3 folders' names are no class of the network, the first is 'king pengiun'; did you mean 'king penguin'.*"
        "--labels groups takes the folders as they are, --labels none goes without"
    )
    with pytest.raises(ConvscopeError, match=why):
        data_labels(source, CLASSES, labels)


def test_asked_for_they_are_refused_even_where_none_fits() -> None:
    for labels in ("folders", "names"):
        with pytest.raises(ConvscopeError, match=r"2 of 2 .* the first is"):
            data_labels(Names("x/1.jpg", "y/2.jpg"), CLASSES, labels)


def test_what_is_no_picture_needs_no_label() -> None:
    source = Names("cat/1.jpg", "crane/2.jpg", "junk/3.jpg", "junk/4.jpg", broken=["junk/3.jpg", "junk/4.jpg"])
    found = data_labels(source, CLASSES)
    assert (found.kind, numbers(found, source)) == ("folders", [0, 1, -1, -1])
    source.broken = ["junk/3.jpg"]
    with pytest.raises(ConvscopeError, match=r"the first is 'junk'"):
        data_labels(source, CLASSES)


def test_only_the_first_unknown_ones_are_read() -> None:
    source = Names(*(f"day/{number}.jpg" for number in range(100)))
    data_labels(source, CLASSES)
    assert source.reads == 2  # one for folders, one for names


def test_an_unknown_kind() -> None:
    with pytest.raises(ConvscopeError, match=r"no labels 'folder'; did you mean 'folders'\?; there are auto, folders"):
        data_labels(Names("a.jpg"), CLASSES, "folder")


class TestOwn:
    """Labels that the data set itself has."""

    def test_by_name(self) -> None:
        source = Names("0", "1", "2", own=["Cat", "crane", "cat"])
        found = data_labels(source, CLASSES)
        assert (found.kind, found.classes, found.right) == ("own", ("cat", "crane"), ((1,), (0, 2)))
        assert numbers(found, source) == [0, 1, 0]

    def test_numbers_are_the_networks_classes_but_a_name_comes_first(self) -> None:
        source = Names("0", "1", "2", own=["1", "0", "7"])
        found = data_labels(source, CLASSES)
        assert found.classes == ("7", "cat", "crane")
        assert found.right == ((4,), (1,), (0,))
        found = data_labels(source, ())  # a network without names
        assert (found.classes, found.right) == (("0", "1", "7"), ((0,), (1,), (7,)))

    def test_that_fit_in_part_are_refused(self) -> None:
        with pytest.raises(ConvscopeError, match=r"1 of 3 labels are no class of the network, the first is 'dog'"):
            data_labels(Names("0", "1", "2", own=["cat", "dog", "crane"]), CLASSES)

    def test_that_the_network_does_not_know_are_groups(self) -> None:
        source = Names("0", "1", "2", own=["wolf", "fox", "wolf"])
        found = data_labels(source, CLASSES)
        assert (found.classes, found.right, numbers(found, source)) == (("fox", "wolf"), ((), ()), [1, 0, 1])
        assert "no accuracy" in found.note
        half = Names("0", "1", "2", own=["cat", "wolf", "crane"])
        assert data_labels(half, CLASSES, "groups").right == ((1,), (0, 2), ())

    def test_folders_are_not_there_to_be_taken(self) -> None:
        with pytest.raises(ConvscopeError, match=r"has labels of its own, and no folders' names"):
            data_labels(Names("0", own=["cat"]), CLASSES, "folders")


def test_tiny_imagenet(shared: Path) -> None:
    import convscope as cs
    from convscope.dataset.image_sources import source_of

    classes = cs.load().classes
    archive = source_of(shared / "data" / "tiny_imagenet_50.zip")
    source = Names(*list(archive.names())[::100])
    found = data_labels(source, classes)
    assert (found.kind, found.classes) == ("folders", tuple(sorted(classes)))
    assert classes[found.right[found.number(source.all[0])][0]] == "goldfish"
