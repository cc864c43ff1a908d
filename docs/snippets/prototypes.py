import convscope as cs
from convscope.atlases.confusions import confusions
from convscope.atlases.prototypes import prototypes, suspects

atlas = cs.survey(cs.load(), "labelled", "photos.atlas", ["features.18"])

best = atlas.prototypes("espresso")["least loss"][0]  # up to nine, best first
print(best["image"], best["loss"], best["logit"], best["predicted_name"])
print(atlas.accuracy())  # class -> (answered rightly, images)
for name, answer, images in atlas.confusion():
    print(name, "->", atlas.network_classes[answer], images)

prototypes(atlas).save("prototypes.png")
suspects(atlas, 20).save("suspects.png")
confusions(atlas).save("confusion.png")
