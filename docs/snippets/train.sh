convscope train --epochs 2 --out digits.run
convscope training digits.run --out pages
convscope train bundled:digits --base bundled:tiny50 --layer features.13 --epochs 2 --out head.run
convscope explain coffee.png --model head.run
