"""Forms and names of what a command writes."""

import pytest

from convscope.cli import outputs
from convscope.errors import ConvscopeError


def test_forms_are_listed_with_commas_and_checked() -> None:
    assert outputs.endings_of("png, npz") == ["png", "npz"]
    with pytest.raises(ConvscopeError, match=r"--save 'gif' is none of png, jpg"):
        outputs.endings_of("png,gif")
    with pytest.raises(ConvscopeError, match="says nothing to write"):
        outputs.endings_of(",")


def test_photos_of_one_name_keep_their_endings() -> None:
    found = outputs.stems_of(["a.b.jpg", "a.b.png", "c.d.jpg"])
    assert found == {"a.b.jpg": "a.b.jpg", "a.b.png": "a.b.png", "c.d.jpg": "c.d"}


def test_what_was_asked_for_is_a_part_of_the_name_that_no_other_question_shares() -> None:
    assert outputs.name_part(["tabby", "golden retriever", "a/b\\c"]) == "tabby+golden-retriever+a-b-c"
    assert outputs.name_part([]) == ""
    many = [f"layer{i}.conv" for i in range(20)]
    found = {outputs.name_part(many), outputs.name_part([*many, "x"]), outputs.name_part(many[:-1])}
    assert len(found) == 3
    assert all(len(name) <= outputs.MOST_LETTERS and name.startswith("layer0.conv+layer1.conv") for name in found)


def test_every_system_takes_the_names() -> None:
    """Windows refuses these and control characters; & has a meaning in shells."""
    assert outputs.name_part(["features.10:37@3,4", "1:0-1"]) == "features.10~37@3,4+1~0-1"
    assert outputs.name_part(["4&9", "hook & eye"]) == "4-and-9+hook-and-eye"
    every = "".join(map(chr, range(128)))
    for asked in (every, *every):
        assert not set(outputs.name_part(["a", asked])) & {*map(chr, range(32)), *'<>:"/\\|?*&', "\x7f", " "}


def test_what_is_left_out_for_windows_makes_no_two_names_one() -> None:
    asked = ["a?", "a*", 'a"', "a_", "a|", "a", "0:9", "0-9", "0", "a" * 60, "a" * 61, "a" * 62, "a?" * 40, "a*" * 40]
    assert len({outputs.name_part([one]) for one in asked}) == len(asked)
    assert len(outputs.name_part(["a?" * 40])) == outputs.MOST_LETTERS


def test_numbers_that_differ_make_names_that_differ() -> None:
    assert [outputs.number_part(n) for n in (4, 4.0, 0.5, 1.4, 1e-5)] == ["4", "4", "0.5", "1.4", "1e-05"]
    for one, other in ((1234567, 1234568), (2**63 - 1, 2**63 - 2), (0.1234567, 0.1234568)):
        assert outputs.number_part(one) != outputs.number_part(other)


def test_networks_have_names_of_their_own() -> None:
    assert outputs.model_part(None, None) == ""
    assert outputs.model_part("torchvision:resnet18", "random") == "torchvision~resnet18+random"
    assert outputs.model_part("a/nets.py:grey", None) == "nets.py~grey"
    assert outputs.model_part("a/digits.run", None) == outputs.model_part("../digits.run/", None) == "digits.run"
    assert outputs.model_part(None, "runs/3/net.safetensors") == "net"


def test_data_have_the_name_of_their_folder_or_of_their_part_in_the_box() -> None:
    assert outputs.data_part("photos/val.zip") == "val.zip"
    assert outputs.data_part("bundled:digits") == "digits"
    assert outputs.data_part("bundled:digits/held-out") == "digits-held-out"
