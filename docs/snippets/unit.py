import convscope as cs
from convscope.atlases.added_pictures import add_deconvs
from convscope.atlases.atlas_photos import source_of_atlas
from convscope.atlases.contact_sheets import contact_sheet
from convscope.atlases.dossiers import dossier
from convscope.atlases.patch_hierarchies import patch_hierarchy, units_at_even_steps

net = cs.load()
atlas = cs.survey(net, "photos", "photos.atlas")
dossier(atlas, "features.17:0").save("unit.png")
contact_sheet(atlas, "features.0", [2, 7, 17], net=net).save("first-layer.png")

units = units_at_even_steps(atlas)  # four of each of five layers
add_deconvs(atlas, net, source_of_atlas(atlas), units, top=3)  # made once, kept in the atlas
patch_hierarchy(atlas, units, top=3).save("layers.png")
atlas.picture("features.17:0", 0, "crop").save("crop.png")  # a Pillow image
