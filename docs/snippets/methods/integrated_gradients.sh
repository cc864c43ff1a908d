convscope explain coffee.png --method integrated-gradients --target espresso --option steps=100
