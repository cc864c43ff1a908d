convscope explain coffee.png --method deconvnet --target features.13:52
