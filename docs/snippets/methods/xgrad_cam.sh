convscope explain coffee.png --method xgrad-cam --target espresso --layer features.18
