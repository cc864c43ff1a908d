"""Draw the pictures of the page on a training's page.

    python docs/make_training_pictures.py WORK

WORK takes the run: the digits in the box, as ``convscope train`` trains them. Half a minute on one core.
"""

import sys
from pathlib import Path

from make_pictures import PICTURES, encoded

import convscope as cs
from convscope.trainings.findings import findings
from convscope.trainings.report import drawn_sections

OUT = PICTURES / "training"
DRAWN = ("curves", "embedding", "values")  # the sections that stand on the page
LARGEST_FILE = 200_000  # bytes


def main() -> None:
    run = cs.train(out=Path(sys.argv[1]) / "digits.run", report=False, resume=True)
    sections, _ = drawn_sections(run)
    for one in sections:
        if one.section.key in DRAWN:
            file = OUT / f"training-{one.section.key}.webp"
            file.write_bytes(encoded(one.shown.picture(), LARGEST_FILE))
            print(file.name, file.stat().st_size)
    for said in findings([one.shown for one in sections]):
        print(said.question, said.answer)


if __name__ == "__main__":
    main()
