import convscope as cs
from convscope.atlases.data_ablations import ablate_data

net = cs.load()
made = ablate_data(net, "photos", ["features.18:105,98", "features.17:0-7"])
made.save("ablation.png")
first = made.ranking[0]  # the most costly
print(made.names[first], made.effects.lost[first], "points of", made.effects.accuracy)
print(dict(zip(made.classes, made.effects.lost_by_class[first], strict=True)))
