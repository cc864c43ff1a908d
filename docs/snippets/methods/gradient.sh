convscope explain coffee.png --method gradient --target espresso
