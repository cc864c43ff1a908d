"""What a dream says of itself and how it is saved; what is refused."""

import base64
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import convscope as cs
from tests import nets
from tests.friendly import network, photo

QUICK: dict[str, Any] = {"octaves": 2, "steps": 3, "jitter": 4}


def test_it_says_what_it_is_and_saves_itself_and_its_picture(tmp_path: Path) -> None:
    found = cs.dream(network(), photo(), guide=photo(30, 20, seed=2), **QUICK)
    facts = found.facts()
    assert facts["dream"] == "Dream of relu1, guided"
    assert list(facts)[2:4] == ["octave 1", "octave 2"]
    assert facts["octave 2"].startswith("16 x 20 px: ")
    assert [facts[name] for name in ("octave scale", "steps", "rate", "jitter")] == ["1.4", "3", "1.5", "4"]
    assert found.subtitle.startswith(
        "2 octaves of 11 x 14 to 16 x 20 px · 3 steps of 1.5 grey levels in each · jitter 4 px"
    )
    said = json.loads(json.dumps(found.as_json()))
    assert (said["objective"], said["guided"], said["size"], said["seed"]) == ("relu1", True, [16, 20], 0)
    assert [o["size"] for o in said["octaves"]] == [[11, 14], [16, 20]]
    with np.load(found.save(tmp_path / "d.npz")) as archive:
        np.testing.assert_array_equal(archive["values"], found.values.numpy())
        assert archive["reached"].shape == (2, 2)
    assert found.save(tmp_path / "d.png").stat().st_size > 0
    with Image.open(found.save_image(tmp_path / "alone.png")) as alone:
        assert np.array_equal(np.array(alone), np.array(found.image()))
        assert json.loads(alone.text["convscope"])["seed"] == 0  # pyright: ignore
    with pytest.raises(cs.ConvscopeError, match=r"cannot save 'd.html': the ending is none of .png"):
        found.save_image(tmp_path / "d.html")
    assert "Dream of relu1" in found.to_html()
    assert Image.open(io.BytesIO(base64.b64decode(found._repr_mimebundle_()["image/png"]))).width > 100


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        ({"layer": "convv2"}, "no layer 'convv2' in Sequential; did you mean 'conv2'"),
        ({"unit": "conv2:99"}, "unit 99 was asked for, but layer 'conv2' has 8 units"),
        ({"unit": "tabbi"}, "did you mean 'tabby'"),
        ({"unit": 7}, "class 7 was asked for, but a small net has 5 classes"),
        ({"unit": []}, "give a unit"),
        ({"unit": "conv2:3@1,1"}, "conv2:3@1,1 is one neuron, whose place no two octaves share; its unit is conv2:3"),
        ({"unit": "conv2:3", "layer": "conv2"}, "without a layer or guide"),
        ({"unit": "conv2:3", "guide": photo()}, "without a layer or guide"),
        ({"guide": "no such file.jpg"}, "no such file.jpg"),
        ({"octaves": 0}, "octaves=0"),
        ({"octave_scale": 1}, "octave_scale=1"),
        ({"steps": -1}, "steps=-1"),
        ({"rate": float("nan")}, "rate=nan"),
        ({"jitter": -1}, "jitter=-1"),
        ({"side": 0}, "side=0"),
        ({"seed": -1}, "seed=-1"),
        ({"side": 1, "layer": "conv2"}, "cannot take an input of 3 x 1 x 1"),
    ],
)
def test_what_cannot_be_dreamt_is_refused(request_: dict[str, Any], message: str) -> None:
    with pytest.raises(cs.ConvscopeError, match=message.replace("(", r"\(")):
        cs.dream(network(nets.plain), photo(), **request_)
