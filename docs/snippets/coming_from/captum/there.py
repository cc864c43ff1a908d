from captum.attr import (
    Deconvolution,
    GuidedBackprop,
    GuidedGradCam,
    InputXGradient,
    IntegratedGradients,
    LayerGradCam,
    Occlusion,
    Saliency,
)

import convscope as cs

net = cs.load()
model = net.module
x = net.input_of(cs.read_image("coffee.png"))
target = net.classes.index("espresso")
# ---
gradient = Saliency(model).attribute(x, target=target, abs=False)
input_x_gradient = InputXGradient(model).attribute(x, target=target)
integrated_gradients = IntegratedGradients(model).attribute(x, target=target, n_steps=50)
guided_backprop = GuidedBackprop(model).attribute(x, target=target)
deconvnet = Deconvolution(model).attribute(x, target=target)
grad_cam = LayerGradCam(model, model.features[18]).attribute(x, target=target, relu_attributions=True)
guided_grad_cam = GuidedGradCam(model, model.features[18]).attribute(x, target=target, interpolate_mode="bilinear")
occlusion = Occlusion(model).attribute(x, target=target, sliding_window_shapes=(3, 16, 16), strides=(3, 4, 4))
