convscope survey photos
convscope survey photos --resume
convscope survey photos --layers features.13,features.18 --top 5 --labels none --out two-layers.atlas
