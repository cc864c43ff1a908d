from lucent.modelzoo.util import get_model_layers
from lucent.optvis import objectives, render
from somewhere import model

# ---
layers = get_model_layers(model)
picture_of_a_unit = render.render_vis(model, "features_13:52")
picture_of_a_neuron = render.render_vis(model, objectives.neuron("features_13", 52))
