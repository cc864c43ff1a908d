import convscope as cs
from convscope import attribution

net = cs.load()
model = net.module
x = net.input_of(cs.read_image("coffee.png"))
target = net.classes.index("espresso")
# ---
gradient = attribution.gradient(model, x, target=target)
input_x_gradient = attribution.input_x_gradient(model, x, target=target)
integrated_gradients = attribution.integrated_gradients(model, x, target=target, steps=50)
guided_backprop = attribution.guided_backprop(model, x, target=target)
deconvnet = attribution.deconvnet(model, x, target=target)
grad_cam = attribution.grad_cam(model, x, target=target, layer="features.18")
guided_grad_cam = attribution.guided_grad_cam(model, x, target=target, layer="features.18")
occlusion = attribution.occlusion(model, x, target=target, size=16, stride=4)
