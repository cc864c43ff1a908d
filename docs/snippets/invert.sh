convscope invert cat.png --layer features.3
convscope invert cat.png --every-layer --steps 10
convscope invert cat.png --layer features.1 --tv 0.05,0.5,5 --steps 50
convscope invert cat.png --layer classifier --image fourier --steps 50
