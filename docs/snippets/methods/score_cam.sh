convscope explain coffee.png --method score-cam --target espresso --layer features.13 --batch 64
