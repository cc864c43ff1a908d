convscope explain coffee.png --method layer-cam --target espresso --layer features.13
