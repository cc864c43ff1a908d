convscope explain coffee.png --method var-grad --target espresso --option samples=20 --seed 1
