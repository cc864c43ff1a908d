from somewhere import image, model
from vis.visualization import visualize_activation, visualize_cam, visualize_saliency

# ---
saliency = visualize_saliency(model, layer_idx=-1, filter_indices=46, seed_input=image)
guided_saliency = visualize_saliency(model, -1, filter_indices=46, seed_input=image, backprop_modifier="guided")
grad_cam = visualize_cam(model, -1, filter_indices=46, seed_input=image, penultimate_layer_idx=18)
saliency_of_a_unit = visualize_saliency(model, layer_idx=13, filter_indices=52, seed_input=image)
picture_of_a_class = visualize_activation(model, layer_idx=-1, filter_indices=46)
