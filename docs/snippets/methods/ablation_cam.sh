convscope explain coffee.png --method ablation-cam --target espresso --layer features.13 --batch 64
