import convscope as cs
from convscope import attribution

net = cs.load()
model = net.module
x = net.input_of(cs.read_image("coffee.png"))
# ---
saliency = attribution.saliency(model, x, target=46)
guided_saliency = attribution.guided_saliency(model, x, target=46)
grad_cam = attribution.grad_cam(model, x, target=46, layer="features.18")
saliency_of_a_unit = attribution.saliency(model, x, target="features.13:52")
picture_of_a_class = cs.visualize(net, 46)
