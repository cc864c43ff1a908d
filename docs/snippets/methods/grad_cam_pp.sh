convscope explain coffee.png --method grad-cam++ --target espresso --layer features.18
