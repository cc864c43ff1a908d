convscope explain coffee.png --method saliency --target espresso
