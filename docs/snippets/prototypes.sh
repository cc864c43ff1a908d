convscope survey labelled --layers features.18 --out photos.atlas
convscope prototypes photos.atlas
convscope prototypes photos.atlas --class espresso --class tabby
convscope prototypes photos.atlas --suspects 20
convscope explain --prototypes photos.atlas --target espresso --method grad-cam,occlusion
