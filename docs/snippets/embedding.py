import convscope as cs
from convscope.atlases.embeddings import embed_atlas, embed_data

net = cs.load()
atlas = cs.survey(net, "labelled", "photos.atlas", ["features.18"])
page = embed_atlas(atlas, "features.18", "t-sne", seed=1)
print(page.points.shape, page.classes)  # (3, 2), and the class of each image
print(page.alike)  # the share of an image's nearest that are of its class: in the layer, on the page
page.save("embedding.png")

straight = embed_data(net, "labelled", "features.13", "pca")  # a layer that no atlas has
print(straight.projection.shares)  # of the variance
images, features = atlas.features("features.18")  # for a method of one's own
