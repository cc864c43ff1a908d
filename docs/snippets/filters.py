import convscope as cs

net = cs.load()
cs.filters(net, layer="features.0").save("filters.png")
