"""Audits as results. Oracle: ten squares, two of which lie in the wrong folder; what the page says is read back."""

import json
import re
from dataclasses import astuple, replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import convscope as cs
from convscope.audits import audit_page
from convscope.audits.audit_results import Audit
from convscope.audits.auditing import is_doubtful
from convscope.audits.shown_errors import Near
from convscope.errors import ConvscopeError
from convscope.network.preprocessing import Preprocess
from tests import friendly
from tests.audits.squares import colour_net, make_photos

RIGHT = (("red", "red"), ("green", "green"), ("red", "red"), ("green", "green"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("squares")
    make_photos(folder)
    make_photos(folder / "known", [pair for pair in RIGHT for _ in range(3)])
    return folder


def audited(folder: Path, **options: object) -> Audit:
    asked = {"boxes": folder / "boxes.csv", "train": folder / "known" / "photos", **options}
    return cs.audit(colour_net(), folder / "photos", **asked)


@pytest.fixture
def found(folder: Path) -> Audit:
    return audited(folder)


def test_the_two_errors_are_found_the_surest_first_with_what_explains_them(found: Audit) -> None:
    """A square of red in green's folder has 5 x 5 pixels, that of green in red's 7 x 7."""
    assert [(e.name, found.called(e)) for e in found.errors] == [("red/3.png", "green"), ("green/6.png", "red")]
    assert found.title == "20.0% of 10 images are answered wrongly"
    assert found.accuracy == 0.8
    assert [{near.label for near in row} for row in found.near] == [{"green"}, {"red"}]
    assert found.persuaded == 2
    assert [one.judged.name for one in found.suspects] == ["red/3.png", "green/6.png"]
    assert [(c.label, c.called, c.images) for c in found.confusions] == [("green", "red", 1)]
    assert not found.is_itself
    assert found.looking is not None
    assert (found.looking.errors.images, found.looking.right.images) == (2, 8)


def test_boxes_alike_in_size_are_held_against_each_other(found: Audit) -> None:
    """The squares have 16 to 64 of 256 pixels, the last of which is a quarter."""
    below, half, *empty = found.by_area
    assert [says for says, *_ in found.by_area][:2] == ["below a quarter", "a quarter to a half"]
    sides = [4 + number % 5 for number in range(10)]
    wrong = (3, 6)
    assert below[1].images == sum(sides[n] < 8 for n in wrong)
    assert below[2].images == sum(side < 8 for n, side in enumerate(sides) if n not in wrong)
    assert half[2].images == sum(side == 8 for n, side in enumerate(sides) if n not in wrong)
    assert all(side.images == 0 for _, *both in empty for side in both)
    assert below[1].area == pytest.approx(np.mean([sides[n] ** 2 / 256 for n in wrong]))


def test_an_error_shows_both_classes_on_one_scale_with_its_box(found: Audit) -> None:
    one = found.shown[0]
    assert (one.label, one.called, one.expected) == ("red", "green", "red")
    assert one.photo.size == one.maps[0].size == (256, 256)
    assert one.places is not None
    assert one.places[0].inside > one.places[0].area
    assert one.units[0][0] == "1:1"
    assert one.bar.scale.high == pytest.approx((7 + 0.5) / 256)  # green's map on the square
    boxed = np.asarray(one.photo)
    assert (boxed == 255).all(2).any()  # the dashes: nothing in the photo is white
    assert not (np.asarray(audited_photo(found)) == 255).all(2).any()


def audited_photo(found: Audit) -> Image.Image:
    """The nearest image is drawn without a box."""
    photo = found.shown[0].near_photos[0]
    assert photo is not None
    return photo


def test_without_training_data_the_data_itself_is_asked_and_no_image_is_near_itself(folder: Path) -> None:
    found = audited(folder, train=None, boxes=None, nearest=9)
    assert found.is_itself
    assert found.looking is None
    for one, near in zip(found.errors, found.near, strict=True):
        assert len(near) == 9
        assert one.name not in [each.name for each in near]
        assert [each.distance for each in near] == sorted(each.distance for each in near)


def test_errors_that_lie_in_the_training_data_too_are_not_near_themselves(folder: Path) -> None:
    """Oracle: the data held against itself."""
    itself, found = audited(folder, train=None), audited(folder, train=folder / "photos")
    assert [[astuple(each) for each in row] for row in found.near] == [
        [astuple(each) for each in row] for row in itself.near
    ]
    assert not found.is_itself
    assert [note for note in found.notes if "training data too" in note] == [
        "2 images answered wrongly lie in the training data too, under the same label: none is counted as near itself"
    ]
    assert itself.notes == ()


def test_a_label_that_is_planted_in_the_data_itself_is_in_doubt(tmp_path: Path) -> None:
    """Twelve red and green squares, of which one red is filed under green: the label alone is wrong."""
    photos = make_photos(tmp_path, [pair for pair in RIGHT for _ in range(3)])
    (photos / "red" / "7.png").rename(photos / "green" / "planted.png")
    for train in (None, photos):
        found = cs.audit(colour_net(), photos, train=train)
        assert [one.judged.name for one in found.suspects] == ["green/planted.png"]


def test_a_map_that_is_too_weak_to_be_seen_beside_the_other_says_how_strong_it_is(found: Audit, tmp_path: Path) -> None:
    """On a red square red's map is positive and green's is zero but for the constant unit."""
    text = found.save_page(tmp_path / "it.audit").read_text()
    for one in found.shown:
        assert one.empty[0] == ""
        assert one.empty[1].startswith(("no more than ", "zero everywhere"))
        assert one.empty[1] in text


def test_accuracy_is_told_by_the_objects_size(found: Audit, tmp_path: Path) -> None:
    """Of the sides 4 to 8, twice each, those of 5 and of 7 have an error each: 6 of 8 below a quarter, 2 of 2 at it."""
    said = found.as_json()["maps"]["by_box"]
    assert [each["accuracy"] for each in said] == [6 / 8, 1.0, None, None]
    plain = " ".join(re.sub(r"<[^>]+>", " ", found.save_page(tmp_path / "it.audit").read_text()).split())
    chance = 1 - np.mean([side**2 / 256 for side in (4, 5, 6, 7) for _ in range(2)])
    assert re.search(rf"below a quarter 75% of 8 \d+% of 2 \d+% of 6 {chance:.0%} a quarter to a half 100% of 2", plain)


def test_boxes_that_do_not_fit_or_lie_outside_what_the_network_sees_are_noted(folder: Path, tmp_path: Path) -> None:
    rows = ["path,x0,y0,x1,y1", "red/0.png,0,0,5,5", "red/2.png,0,0,90,5", "red/3.png,0,0,90,5", "red/5.png,0,0,3,3"]
    (tmp_path / "boxes.csv").write_text("\n".join(rows))
    net = colour_net()
    middle = replace(net, preprocess=Preprocess(16, 6, (0.0,) * 3, (1.0,) * 3))  # rows and columns 5 to 10
    found = cs.audit(middle, folder / "photos", boxes=tmp_path / "boxes.csv")
    assert found.looking is not None
    assert list(found.looking.by_image) == [5]
    place = found.looking.by_image[5]
    assert place.area == 1 / 36  # of the box's last pixel, 5, the corner of the crop
    assert found.notes[0].startswith("the box 0,0,90,5 of red/2.png")
    assert found.notes[0].endswith("(and 1 more)")
    assert found.notes[1:] == ("1 image with no box in the part that the network sees: left out of the places",)


def test_no_errors_are_a_result(folder: Path, tmp_path: Path) -> None:
    found = cs.audit(colour_net(), folder / "known" / "photos")
    assert found.title == "No error: all 12 images are answered rightly"
    assert (found.errors, found.shown, found.suspects, found.confusions) == ((), (), (), ())
    page = found.save_page(tmp_path / "it.audit")
    assert "No error: all 12 images" in page.read_text()
    assert found.picture().width > 10
    assert found.as_json()["accuracy"] == 1
    found.save(tmp_path / "it.npz")


class Addresses(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found += [value or "" for name, value in attrs if name in ("src", "href")]


def test_the_page_has_its_pictures_beside_it_and_says_what_was_found(found: Audit, tmp_path: Path) -> None:
    page = found.save_page(tmp_path / "it.audit")
    text = page.read_text()
    reader = Addresses()
    reader.feed(text)
    assert len(set(reader.found)) > 15
    for address in reader.found:
        assert not re.match(r"[a-z]+:|/", address)
        with Image.open(page.parent / address) as picture:
            picture.load()
    assert {path.name for path in (page.parent / "pictures").iterdir()} == {Path(a).name for a in reader.found}
    plain = " ".join(re.sub(r"<[^>]+>", " ", text).split())
    for said in (found.title, "red called green", "80.0%", "Pushed green over red: 1:1 +2.30", "2 labels in doubt"):
        assert said in plain
    assert json.loads((page.parent / "audit.json").read_text()) == found.as_json()


def test_names_are_text_and_no_markup(tmp_path: Path) -> None:
    photos = make_photos(tmp_path)
    (photos / "red" / "3.png").rename(photos / "red" / "<b>&3.png")
    text = cs.audit(colour_net(), photos).save_page(tmp_path / "it.audit").read_text()
    assert "<b>&3" not in text
    assert "&lt;b&gt;&amp;3.png" in text


@pytest.mark.parametrize("error", [OSError(28, "disk full"), KeyboardInterrupt()])
def test_a_page_that_is_broken_off_leaves_the_one_before(
    found: Audit, error: BaseException, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = found.save_page(tmp_path / "it.audit")
    before = page.read_bytes()

    def broken(*_: object) -> str:
        raise error

    monkeypatch.setattr(audit_page, "_html", broken)
    for place in ("it.audit", "new.audit"):
        with pytest.raises((ConvscopeError, KeyboardInterrupt)):
            found.save_page(tmp_path / place)
    assert page.read_bytes() == before
    assert [each.name for each in tmp_path.iterdir()] == ["it.audit"]


def test_another_folder_is_not_written_over(found: Audit, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("all of it")
    with pytest.raises(ConvscopeError, match=r"mine: something else is there"):
        found.save_page(tmp_path / "mine")
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["thesis.txt"]


def test_numbers_are_in_the_json_and_the_arrays(found: Audit, tmp_path: Path) -> None:
    said = found.as_json()
    assert [(e["image"], e["label"], e["called"]) for e in said["errors"]] == [
        ("red/3.png", "red", "green"),
        ("green/6.png", "green", "red"),
    ]
    assert said["errors"][0]["map"]["box"] == 49 / 256
    assert said["units_by"] == "read off the head"
    with np.load(found.save(tmp_path / "it.npz")) as arrays:
        assert arrays["images"].tolist() == ["red/3.png", "green/6.png"]
        np.testing.assert_allclose(arrays["loss"], [e.loss for e in found.errors])


def test_progress_tells_each_part_to_its_end(folder: Path) -> None:
    steps: dict[str, list[tuple[int, int]]] = {}
    audited(folder, on_step=lambda what, done, every: steps.setdefault(what, []).append((done, every)))
    assert {what: (len(done), done[-1]) for what, done in steps.items()} == {
        "answers": (10, (10, 10)),
        "maps": (10, (10, 10)),
        "nearest": (12, (12, 12)),
        "units": (1, (1, 1)),
        "pictures": (2, (2, 2)),
    }


def test_a_network_with_two_classes_of_one_name_and_no_linear_head(tmp_path: Path) -> None:
    """friendly's has two cranes: what is expected of a crane is the likelier of the two."""
    for number in range(8):
        path = tmp_path / "in" / ("crane", "lion")[number % 2] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        friendly.photo(20, 16, seed=number).save(path)
    found = cs.audit(friendly.network(), tmp_path / "in")
    assert found.errors
    for one in found.errors:
        assert one.predicted not in ((3, 4) if found.label_of(one) == "crane" else (2,))
    assert found.save_page(tmp_path / "it.audit").is_file()


@pytest.mark.parametrize(
    ("says", "doubted"),
    [
        (("called",) * 5, True),
        (("called",) * 4 + ("",), True),
        (("called",) * 4 + ("expected",), False),
        (("called",) * 3 + ("",) * 2, False),
        (("called",), True),
        (("",), False),
        ((), False),
    ],
)
def test_a_label_is_in_doubt_where_what_lies_near_speaks_against_it(says: tuple[str, ...], doubted: bool) -> None:
    assert is_doubtful([Near("a", "b", 1.0, each) for each in says]) is doubted


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"method": "eigen-cam"}, "one map for every class"),
        ({"method": "grad-cat"}, "did you mean 'grad-cam'"),
        ({"nearest": 0}, "nearest=0"),
        ({"layer": "9"}, "no layer '9'"),
        ({"labels": "none"}, "needs to know what is right"),
        ({"labels": "fodlers"}, "did you mean 'folders'"),
        ({"boxes": "no.csv"}, "cannot read no.csv"),
        ({"train": "nowhere"}, "nowhere"),
    ],
)
def test_what_cannot_be_is_refused(folder: Path, options: dict[str, object], why: str) -> None:
    with pytest.raises(ConvscopeError, match=re.escape(why)):
        audited(folder, **options)
