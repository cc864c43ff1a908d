import skimage.data

import convscope as cs

net = cs.load()
dream = cs.dream(net, skimage.data.chelsea(), "features.8", side=128)
dream.save("dream.png")  # photo and dream side by side, with the numbers
dream.save_image("dream-alone.png")
print(dream.values.shape)  # (3, 85, 128), in [0, 1]
print(dream.before, dream.after)  # the objective of the photo and of the dream
print(dream.octaves)  # and at the start and end of each octave
