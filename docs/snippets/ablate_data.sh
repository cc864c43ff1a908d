convscope ablate photos --unit features.18:105,98
convscope ablate photos --layer features.18 --mode mean
convscope ablate photos --unit features.18:105,98 --together
convscope survey photos --layers features.17
convscope ablate photos --layer features.17 --into photos.atlas --top 10
convscope unit photos.atlas features.17:0
