convscope explain coffee.png --method rise --target espresso --option masks=200 --seed 1
