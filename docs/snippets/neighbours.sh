convscope survey labelled --layers features.18 --out photos.atlas
convscope neighbours photos.atlas features.18:220 features.18:9
convscope neighbours photos.atlas features.18 --most 5
