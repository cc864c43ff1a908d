convscope filters --layer features.0
convscope filters --layer features.2 --units 0-7 --channels 0-31 --own-scale
