convscope predict coffee.png
convscope explain coffee.png --method grad-cam --target espresso
