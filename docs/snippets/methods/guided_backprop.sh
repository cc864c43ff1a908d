convscope explain coffee.png --method guided-backprop --target espresso
