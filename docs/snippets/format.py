import convscope as cs

atlas = cs.survey(cs.load(), "photos", "photos.atlas", labels="groups")
atlas = cs.open_atlas("photos.atlas")  # later, elsewhere: no network is needed

print(atlas.path, atlas.images, atlas.about["data_line"], atlas.about["network"]["name"])
print(atlas.skipped)  # [(image id, why it was left out)]
print(atlas.runs)  # who worked on it, where, for how long

layer = atlas.layers[-1]  # number, name, type, units, shape, field_size, field_stride, field_offset
unit = atlas.units(layer.name)[105]  # "features.17:105"
assert atlas.layer(layer.name) == layer

print(atlas.exemplars(unit))  # [(value, image id, y, x)], best first
print(atlas.boxes(unit))  # [(y0, x0, y1, x1)], pixels of the network's input
print(atlas.pictures(unit))  # [(rank, kind)] of the pictures that were made
crop = atlas.picture(unit, rank=0, kind="crop")  # PIL, or None
context, box = atlas.picture(unit, 0, "context"), atlas.picture_box(unit, 0, "context")
print(atlas.sprites(layer.name, "crop"))  # sheets of a whole layer

found = atlas.statistics(unit)
print({name: found[name] for name in ("mean", "variance", "share_positive", "maximum", "minimum", "count")})
print(found["quantiles"][0.99], found["class"], found["selectivity"], found["dead"])
edges, counts = found["histogram"]  # (bins + 1,), (bins,)
print(dict(found["by_class"]["photos"]))
print(atlas.layer_statistics(layer.name)["mean"].shape)  # (units,)
classes, means = atlas.class_statistics(layer.name, "mean")  # (classes, units)

print(atlas.neighbours(unit, n=3))  # [(unit, correlation)]
print(atlas.duplicates()[:3], atlas.dead()[:3], atlas.nonfinite()[:3])
ids, features = atlas.features(layer.name)  # (n, units) float32, mapped from disk
print(atlas.mean_patterns(layer.name, "photos").shape)  # (units, gh, gw)
print(atlas.ablation(unit))  # {} until `convscope ablate DATA --into photos.atlas`

print(atlas.classes, atlas.label(ids[0]), atlas.right("photos"), atlas.network_classes[:3])
print(atlas.accuracy())  # {data class: (right, judged)}
print(atlas.confusion())  # [(data class, number of the answered class, images)]
print(atlas.prototypes("photos")["least loss"], atlas.suspects(5))
atlas.close()
