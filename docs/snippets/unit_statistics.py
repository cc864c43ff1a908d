import convscope as cs
from convscope.atlases.class_activations import class_activations
from convscope.atlases.class_patterns import mean_patterns
from convscope.atlases.neighbours import neighbours
from convscope.atlases.one_unit_statistics import unit_statistics

atlas = cs.survey(cs.load(), "labelled", "photos.atlas", ["features.18"])

unit = atlas.statistics("features.18:220")
print(unit["mean"], unit["share_positive"], unit["selectivity"], unit["class"])
print(unit["quantiles"][0.99], unit["by_class"]["espresso"]["mean"])
print(atlas.dead(), atlas.duplicates(), atlas.nonfinite(), atlas.neighbours("features.18:220"))

classes, means = atlas.class_statistics("features.18", "mean")  # a whole layer at once
print(classes, means.shape)  # ('espresso', 'projectile', 'tabby') (3, 256)

class_activations(atlas, "features.18", ["espresso"], rank="difference").save("classes.png")
mean_patterns(atlas, "features.18", units=[105, 220]).save("maps.png")
unit_statistics(atlas, "features.18:220").save("unit.png")
neighbours(atlas, ["features.18:220"], top=3).save("neighbours.png")
