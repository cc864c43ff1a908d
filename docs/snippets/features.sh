convscope features coffee.png --layer features.8
convscope features coffee.png --layer features.8 --units 2,7,17 --own-scale
convscope features cat.png --every-layer --strongest
convscope features coffee.png --layer features.18 --overlay
convscope features cat.png --layer features.8 --deconv
