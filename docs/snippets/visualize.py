import convscope as cs
from convscope.synthesis.objectives import logit, unit

net = cs.load()
made = cs.visualize(net, ["lion", "features.18:20"])
made.save("lion.png")  # the sheet, with what each picture reaches
print(made.values.shape)  # (2, 3, 64, 64), in [0, 1]
print(made.scores)  # the class's logit, the mean of the unit's map
print(made.peaks)  # the largest value on the map; NaN for the class
print(made.probabilities[0])  # of the lion: as it is, shifted, turned

cs.visualize(net, 0.7 * unit("features.18:20") + 0.3 * unit("features.18:21"), steps=32)
cs.visualize(net, logit(3) - logit(4), steps=32, tv=5)  # any field of the recipe
