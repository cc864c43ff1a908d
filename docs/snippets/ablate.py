import convscope as cs

net = cs.load()
without = cs.ablate(net, "coffee.png", units=["features.18:105"])
without.save("without.png")
print(without.before[0], without.after[0])
