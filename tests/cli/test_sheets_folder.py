"""No command puts sheets into an atlas: whatever it is asked, it refuses before it begins."""

from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import Result

ASKED = {
    "demo": [],
    "explain": ["--demo"],
    "features": ["--demo"],
    "filters": ["--layer", "features.0"],
    "ablate": ["--demo", "--most-important"],
    "visualize": ["features.0:0"],
    "dream": ["--demo"],
    "invert": ["--demo"],
    "dissect": ["nowhere", "--boxes", "boxes.csv"],
    "embed": ["nowhere"],
    "stats": ["nowhere.atlas"],
    "unit": ["nowhere.atlas", "features.0:0"],
    "prototypes": ["nowhere.atlas"],
    "neighbours": ["nowhere.atlas", "features.0:0"],
}


@pytest.mark.parametrize("name", ASKED)
def test_an_atlas_is_no_place_for_sheets(name: str, workplace: Path, cli: Callable[..., Result]) -> None:
    """Neither one that is there nor one that would be, and nothing is made."""
    (workplace / "a.atlas").mkdir()
    (workplace / "a.atlas" / "manifest.json").write_text("{}")
    (workplace / "a.atlas" / "plan.json").write_text("{}")
    before = sorted(workplace.rglob("*"))
    for out, why in (("a.atlas", "it is an atlas"), ("a.atlas/sheets", "is an atlas"), ("b.atlas", "name of an atlas")):
        said = cli(name, *ASKED[name], "--out", out, code=2).stderr
        assert f"cannot write into {out}" in said
        assert why in said
    assert sorted(workplace.rglob("*")) == before
