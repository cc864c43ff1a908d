convscope survey photos
convscope unit photos.atlas features.17:0,85
convscope unit photos.atlas features.0
convscope unit photos.atlas features.5:3 features.17:0 --together
convscope unit photos.atlas --deconv --top 3
convscope unit photos.atlas features.17:0 --synthetic --steps 32
