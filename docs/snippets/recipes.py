import convscope as cs
from convscope.optimised.picture_sheets import sweep
from convscope.synthesis.maximisation import PLAIN, Recipe

net = cs.load()
mine = Recipe(image="pixels", tv=5, tv_beta=1, steps=32)
cs.visualize(net, "lion", recipe=mine)
cs.visualize(net, "lion", recipe=PLAIN, steps=32)

found = sweep(net, ["lion", "goldfish"], "tv", [0, 5, 50], recipe=mine)
found.save("sweep.png")
print(found.best)  # the best column of each row
print([column.probabilities[:, 0] for column in found.columns])
