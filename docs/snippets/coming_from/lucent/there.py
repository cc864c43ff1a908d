from lucent.modelzoo.util import get_model_layers
from lucent.optvis import objectives, param, render
from somewhere import model

# ---
layers = get_model_layers(model)
picture_of_a_unit = render.render_vis(model, "features_13:52")
picture_of_a_neuron = render.render_vis(model, objectives.neuron("features_13", 52), thresholds=(32,))
picture_of_a_class = render.render_vis(model, "classifier:20", thresholds=(32,))
picture_of_a_sum = render.render_vis(
    model, objectives.channel("features_13", 52) + objectives.channel("features_13", 3), thresholds=(32,)
)
picture_by_pixels = render.render_vis(
    model, "features_13:52", lambda: param.image(128, fft=False, decorrelate=False), thresholds=(32,)
)
pictures_unlike_each_other = render.render_vis(
    model,
    objectives.channel("features_13", 52) - 1e2 * objectives.diversity("features_13"),
    lambda: param.image(128, batch=4),
    thresholds=(32,),
)
