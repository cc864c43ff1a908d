convscope survey labelled --layers features.16,features.18 --out photos.atlas
convscope stats photos.atlas
convscope stats photos.atlas features.18
convscope stats photos.atlas features.18 --class espresso --class tabby --rank difference --units 105,220
convscope stats photos.atlas features.18:220
