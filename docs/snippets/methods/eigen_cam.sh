convscope explain coffee.png --method eigen-cam --layer features.18
