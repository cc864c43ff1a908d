convscope visualize --class lion,goldfish
convscope visualize features.13:3,7,11
convscope visualize --layers features.0,features.8,features.18 --per-layer 4 --steps 32
convscope visualize features.13:3 --variants 3 --steps 32
convscope visualize --both lion tabby --steps 32
convscope visualize features.13:3,7 --against photos --steps 32
convscope visualize --class goldfish --animate webp --steps 32
