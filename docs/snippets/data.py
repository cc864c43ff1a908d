import shutil
from pathlib import Path

import numpy as np
from PIL import Image

import convscope as cs

net = cs.load()

# class folders; the names are classes of the network, so there is an accuracy
for photo, name in {"cat.png": "tabby", "coffee.png": "espresso", "rocket.png": "projectile"}.items():
    Path("sorted", name).mkdir(parents=True)
    shutil.copy(photo, Path("sorted", name))
atlas = cs.survey(net, "sorted", "folders.atlas", pictures=False)
print(atlas.about["labels"], atlas.accuracy())

# the same as an archive: the same ids, labels and numbers
shutil.make_archive("sorted", "zip", "sorted")
same = cs.survey(net, "sorted.zip", "zip.atlas", pictures=False)
assert same.exemplars("features.17:105") == atlas.exemplars("features.17:105")

# class folders that mean nothing to the network: statistics by group, no accuracy
for photo, name in {"cat.png": "animals", "coffee.png": "things", "rocket.png": "things"}.items():
    Path("groups", name).mkdir(parents=True, exist_ok=True)
    shutil.copy(photo, Path("groups", name))
grouped = cs.survey(net, "groups", "groups.atlas", labels="groups", pictures=False)
print(grouped.classes, grouped.class_statistics("features.17", "mean")[1].shape, grouped.accuracy())

# the answers in the files' names; a file that is no picture is left out and listed
Path("named").mkdir()
shutil.copy("cat.png", "named/n02123045_tabby_01.png")
shutil.copy("coffee.png", "named/espresso.png")
Path("named/broken.jpg").write_bytes(b"no picture")
named = cs.survey(net, "named", "named.atlas", labels="names", pictures=False)
print(named.classes, named.skipped)


# a Dataset: anything with a length and items of (picture, label); names of its numbers in `classes`
class Noise:
    classes = ("tabby", "espresso")
    targets = (0, 1, 1, 0)

    def __len__(self):
        return len(self.targets)

    def __getitem__(self, number):
        pixels = np.random.default_rng(number).integers(0, 256, (64, 64, 3), np.uint8)
        return Image.fromarray(pixels), self.targets[number]


given = cs.survey(net, Noise(), "given.atlas", pictures=False)
print(given.exemplars("features.17:105")[0], given.label("000000"))

# a list of photos
listed = cs.survey(net, ["cat.png", "rocket.png"], "listed.atlas", pictures=False)
print(listed.images, listed.about["data_line"])
