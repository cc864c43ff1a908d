import convscope as cs

net = cs.load()
atlas = cs.survey(net, "photos", "photos.atlas")
print(atlas.images, atlas.skipped)  # 3, and what could not be used
for value, image, y, x in atlas.exemplars("features.17:0"):
    print(f"{value:.2f} at row {y}, column {x} of the map for {image}")
print(atlas.statistics("features.17:0")["mean"])

atlas = cs.open_atlas("photos.atlas")  # later, in another program
