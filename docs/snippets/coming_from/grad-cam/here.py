import convscope as cs
from convscope import attribution

net = cs.load()
model = net.module
x = net.input_of(cs.read_image("coffee.png"))
target = net.classes.index("espresso")
# ---
grad_cam = attribution.grad_cam(model, x, target=target, layer="features.18")
xgrad_cam = attribution.xgrad_cam(model, x, target=target, layer="features.18")
hires_cam = attribution.hires_cam(model, x, target=target, layer="features.18")
layer_cam = attribution.layer_cam(model, x, target=target, layer="features.18")
