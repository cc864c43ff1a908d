convscope explain coffee.png --model my_net.py:make_net --method grad-cam --layer body.3 --target coffee
