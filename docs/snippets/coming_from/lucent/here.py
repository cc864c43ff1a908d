import convscope as cs
from convscope.network.layers import named_layers
from convscope.optimised.picture_sheets import variants
from convscope.synthesis.objectives import unit

net = cs.load()
# ---
layers = list(named_layers(net.module))
picture_of_a_unit = cs.visualize(net, "features.13:52")
picture_of_a_neuron = cs.visualize(net, "features.13:52@7,7", steps=32)
picture_of_a_class = cs.visualize(net, 20, steps=32)
picture_of_a_sum = cs.visualize(net, unit("features.13:52") + unit("features.13:3"), steps=32)
picture_by_pixels = cs.visualize(net, "features.13:52", image="pixels", decorrelated=False, steps=32)
pictures_unlike_each_other = variants(net, "features.13:52", 4, steps=32)
