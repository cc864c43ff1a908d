import convscope as cs

net = cs.load()
found = cs.invert(net, "cat.png", "features.3")
found.save("inversion.png")  # the photo beside its inversion, with the error
found.image().save("inversion-alone.png")
print(found.values.shape)  # (3, 64, 64), in [0, 1]
print(found.relative_error, found.grey_error)  # the second: of a grey picture

several = cs.invert(net, "cat.png", ["features.1", "classifier"], steps=20)
print({layer: one.relative_error for layer, one in several.items()})
