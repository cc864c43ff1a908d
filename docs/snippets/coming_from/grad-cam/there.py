from pytorch_grad_cam import GradCAM, HiResCAM, LayerCAM, XGradCAM
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

import convscope as cs

net = cs.load()
model = net.module
x = net.input_of(cs.read_image("coffee.png"))
target = net.classes.index("espresso")
# ---
grad_cam = GradCAM(model, [model.features[18]])(x, [ClassifierOutputTarget(target)])
xgrad_cam = XGradCAM(model, [model.features[18]])(x, [ClassifierOutputTarget(target)])
hires_cam = HiResCAM(model, [model.features[18]])(x, [ClassifierOutputTarget(target)])
layer_cam = LayerCAM(model, [model.features[18]])(x, [ClassifierOutputTarget(target)])
