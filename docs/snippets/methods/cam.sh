convscope explain coffee.png --method cam --target espresso
