import convscope as cs

net = cs.load()
found = cs.features(net, "coffee.png", layer="features.8")
found.save("features.png")
print(found.values.shape)  # (64, 32, 32), raw
