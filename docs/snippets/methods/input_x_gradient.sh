convscope explain coffee.png --method input-x-gradient --target espresso
