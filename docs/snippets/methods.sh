convscope methods
convscope methods smooth-grad
convscope explain coffee.png --method smooth-grad --option noise=0.05 --option samples=50
