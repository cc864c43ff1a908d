convscope explain coffee.png --method guided-grad-cam --target espresso --layer features.18
