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
