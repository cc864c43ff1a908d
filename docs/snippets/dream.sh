convscope dream cat.png
convscope dream cat.png --layer features.3,features.16 --side 128
convscope dream coffee.png --guide cat.png --layer features.8 --side 128
convscope dream --noise --layer features.13 --side 128 --bare
convscope dream cat.png --class goldfish --animate webp
