import convscope as cs
from convscope.network.layers import named_layers

net = cs.load()
# ---
layers = list(named_layers(net.module))
