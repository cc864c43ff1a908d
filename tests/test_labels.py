"""Labels from folders, file names and tables; oracles are written out by hand."""

from pathlib import Path

import pytest

from convscope.errors import ConvscopeError
from convscope.labels import Label, labels_of, read_expected, without_wordnet_number

CLASSES = ["tabby", "king penguin", "Lion", "crane", "cow", "ox", "crane", "boeing 747"]
FOLDER = Path("photos")


def label(name: str, source: str = "names") -> Label:
    found, _ = labels_of([FOLDER / name], FOLDER, CLASSES, source)
    return found[FOLDER / name]


@pytest.mark.parametrize(
    "name",
    ["tabby.jpg", "n02123045_tabby.jpg", "n02123045 tabby.jpg", "tabby_012.png", "tabby (3).png",
     "n02123045_tabby-7.webp", " tabby .jpg"],
)  # fmt: skip
def test_wordnet_numbers_and_counters_are_no_part_of_a_name(name: str) -> None:
    assert label(name) == Label("tabby", frozenset([0]))


def test_a_wordnet_number_with_no_name_after_it_stays() -> None:
    names = {"n02123045_tabby": "tabby", "n02056570-king_penguin ": "king_penguin", " n02056570": "n02056570"}
    names |= {"n02056570_": "n02056570_", "n0205657_cat": "n0205657_cat", "tabby_n02123045": "tabby_n02123045"}
    assert {name: without_wordnet_number(name) for name in names} == names


@pytest.mark.parametrize("name", ["n02123045_tabby.jpg", "n02123045_tabby_12.jpg"])
def test_a_wordnet_number_that_is_part_of_the_class_stays(name: str) -> None:
    """As of a network that was trained on folders with such names."""
    found, _ = labels_of([FOLDER / name], FOLDER, ["n02056570_king_penguin", "n02123045_tabby"], "names")
    assert found[FOLDER / name] == Label("n02123045_tabby", frozenset([1]))


def test_case_and_underscores_do_not_matter() -> None:
    assert label("KING_penguin.jpg").classes == {1}
    assert label("n02056570_king__penguin_2.jpg").classes == {1}
    assert label("LION.jpg") == Label("LION", frozenset([2]))


def test_a_number_that_is_part_of_the_class_stays() -> None:
    assert label("boeing 747.jpg") == Label("boeing 747", frozenset([7]))
    assert label("boeing_747_12.jpg") == Label("boeing_747", frozenset([7]))


def test_both_classes_of_one_name_are_right() -> None:
    """ImageNet has two cranes, the bird and the machine."""
    assert label("n02012849_crane.jpg") == Label("crane", frozenset([3, 6]))


def test_a_photo_is_labelled_by_its_own_folder_however_deep(tmp_path: Path) -> None:
    photos = [FOLDER / "tabby" / "a.jpg", FOLDER / "val" / "n01_x" / "king_penguin" / "b.jpg"]
    found, remark = labels_of(photos, FOLDER, CLASSES)
    assert ([found[p].classes for p in photos], remark) == ([{0}, {1}], "")
    # photos right in the folder that was given are labelled by it
    inside = tmp_path / "n02129165_lion"
    found, _ = labels_of([inside / "a.jpg"], inside, CLASSES)
    assert found[inside / "a.jpg"] == Label("lion", frozenset([2]))


def test_auto_takes_folders_then_names_and_only_where_every_photo_has_a_label() -> None:
    both = [FOLDER / "tabby" / "lion.jpg"]
    assert labels_of(both, FOLDER, CLASSES)[0][both[0]].classes == {0}
    names = [FOLDER / "x" / "lion.jpg"]
    assert labels_of(names, FOLDER, CLASSES)[0][names[0]].classes == {2}
    assert labels_of([*names, FOLDER / "holiday.jpg"], FOLDER, [*CLASSES, "beach"])[0] == {}
    assert labels_of(both, FOLDER, CLASSES, "none") == ({}, "")
    assert labels_of(both, FOLDER, [], "auto") == ({}, "")


def test_where_most_photos_have_a_label_it_is_said_why_there_is_no_accuracy() -> None:
    photos = [FOLDER / f"tabby_{i}.jpg" for i in range(3)] + [FOLDER / "tabbi.jpg"]
    found, remark = labels_of(photos, FOLDER, CLASSES)
    assert found == {}
    assert remark == (
        "no accuracy: 1 of 4 file names are no class of the network, the first is 'tabbi'; did you mean 'tabby'?"
    )
    few = [FOLDER / "tabby.jpg", FOLDER / "me.jpg", FOLDER / "you.jpg"]
    assert labels_of(few, FOLDER, CLASSES) == ({}, "")


def test_asked_for_labels_that_are_none_are_refused_with_the_nearest() -> None:
    photos = [FOLDER / "tabby" / "a.jpg", FOLDER / "lions" / "b.jpg"]
    with pytest.raises(ConvscopeError, match=r"1 of 2 folders' names .* 'lions'; did you mean 'Lion'"):
        labels_of(photos, FOLDER, CLASSES, "folders")
    with pytest.raises(ConvscopeError, match=r"2 of 2 file names .* 'a'"):
        labels_of(photos, FOLDER, CLASSES, "names")


def test_a_file_that_is_no_picture_needs_no_label(tmp_path: Path) -> None:
    photos = [FOLDER / "broken.jpg", FOLDER / "tabby.jpg"]

    def is_picture(photo: Path) -> bool:
        return photo.stem != "broken"

    for source in ("auto", "names"):
        assert list(labels_of(photos, FOLDER, CLASSES, source, is_picture=is_picture)[0]) == photos[1:]
    table = tmp_path / "t.csv"
    table.write_text("image,expected\ntabby.jpg,tabby\n")
    assert list(read_expected(table, photos, FOLDER, CLASSES, is_picture=is_picture)) == photos[1:]
    with pytest.raises(ConvscopeError, match=r"no row for broken\.jpg"):
        read_expected(table, photos, FOLDER, CLASSES)


# ---- tables --------------------------------------------------------------------------------------------------


def expected(tmp_path: Path, text: str | bytes, *photos: str) -> dict[str, Label]:
    table = tmp_path / "labels.csv"
    table.write_bytes(text.encode() if isinstance(text, str) else text)
    files = [FOLDER / name for name in photos]
    found = read_expected(table, files, FOLDER, CLASSES)
    return {file.relative_to(FOLDER).as_posix(): one for file, one in found.items()}


def test_several_names_may_be_right(tmp_path: Path) -> None:
    found = expected(tmp_path, "image,expected\na.jpg,cow|ox\nb.jpg, tabby \n", "a.jpg", "b.jpg")
    assert found == {"a.jpg": Label("cow|ox", frozenset([4, 5])), "b.jpg": Label("tabby", frozenset([0]))}


def test_rows_name_photos_by_path_or_by_file_name(tmp_path: Path) -> None:
    text = "note,expected,image\n,lion,sub/a.jpg\n,cow,b.jpg\nunused,tabby,c.jpg\n"
    found = expected(tmp_path, text, "sub/a.jpg", "other/b.jpg")
    assert {name: one.classes for name, one in found.items()} == {"sub/a.jpg": {2}, "other/b.jpg": {4}}


def test_a_table_saved_by_a_spreadsheet_is_read(tmp_path: Path) -> None:
    """A byte order mark, CRLF, quotes."""
    found = expected(tmp_path, '\ufeffimage,expected\r\n"a, b.jpg","king penguin"\r\n', "a, b.jpg")
    assert found["a, b.jpg"].classes == {1}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("image,expected\na.jpg,cow|oxx\n", r"expects 'oxx', no class of the network; did you mean 'ox'"),
        ("image,expected\nb.jpg,cow\n", r"no row for a\.jpg; did you mean 'b\.jpg'"),
        ("image,expected\na.jpg,\n", r"expects '', no class"),
        ("image,expected\na.jpg\n", r"expects '', no class"),
        ("image,label\na.jpg,cow\n", r"needs the columns 'image' and 'expected'.*it has image, label"),
        ("image;expected\na.jpg;cow\n", r"needs the columns"),
        ("image,expected\n", r"at least one row"),
        ("", r"at least one row"),
        ("image,expected\na.jpg,cow\na.jpg,ox\n", r"two answers for a\.jpg; .*cow\|ox"),
        (b"\x89PNG\r\n\x1a\n\xff\xfe", r"no CSV in UTF-8"),
    ],
)
def test_a_wrong_table_is_refused(text: str | bytes, message: str, tmp_path: Path) -> None:
    with pytest.raises(ConvscopeError, match=message):
        expected(tmp_path, text, "a.jpg")


def test_a_missing_table_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConvscopeError, match=r"cannot read .*none\.csv: No such file"):
        read_expected(tmp_path / "none.csv", [], FOLDER, CLASSES)
