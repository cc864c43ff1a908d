convscope survey labelled --layers features.13,features.18 --out photos.atlas
convscope embed photos.atlas
convscope embed photos.atlas --layer features.13,features.18 --method pca
convscope embed labelled --layer features.18 --method pca --labels groups --no-thumbnails
