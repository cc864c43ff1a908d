convscope ablate coffee.png --unit features.18:105
convscope ablate coffee.png --most-important --count 3
convscope ablate coffee.png --most-important --mode mean --data photos/
convscope ablate coffee.png --unit features.18:105 --mode resample --data photos/ --seed 1
convscope ablate photos --each --unit features.18:105
