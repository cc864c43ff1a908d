convscope explain coffee.png --method guided-saliency --target espresso
