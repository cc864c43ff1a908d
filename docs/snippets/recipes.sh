convscope visualize --class lion --image natural,maco,fourier,pixels --steps 32
convscope visualize --class lion --image pixels --tv 0,50,500,5000 --steps 32
convscope visualize --class lion --plain --steps 32
convscope visualize --class lion --seed 0,1,2 --steps 32
