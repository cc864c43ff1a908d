convscope explain coffee.png --method smooth-grad --target espresso --option samples=20 --seed 1
