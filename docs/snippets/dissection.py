from pathlib import Path

import convscope as cs
from convscope.atlases.dissections import dissect

table = Path("one-box.csv")  # the first and the last pixel; what it shows, where the folder does not say it
table.write_text("path,x0,y0,x1,y1,class\nespresso/coffee.png,60,60,500,380,cup\n")

found = dissect(cs.load(), "labelled", table, layers=["features.1", "features.18"])
one = found["features.18"]
print(one.title)  # how many units detect how many concepts
for unit, concept, iou in one.detectors[:5]:
    print(f"{unit} {concept}: {iou:.3f}")
one.save("dissection.png")

numbers = one.table  # all counts
print(numbers.iou.shape, numbers.precision[220], numbers.thresholds[220])  # (256, 1)
