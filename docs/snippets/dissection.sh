convscope dissect labelled --boxes boxes.csv
convscope dissect labelled --boxes boxes.csv --layer features.1,features.18 --most 4 --photos 3
convscope dissect labelled --masks masks --names names.csv --units 76,220
