convscope explain coffee.png --method hires-cam --target espresso --layer features.18
