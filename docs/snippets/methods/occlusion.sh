convscope explain coffee.png --method occlusion --target espresso --square 16,4
