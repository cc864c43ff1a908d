convscope audit labelled --boxes boxes.csv
convscope audit labelled --train labelled --top 5 --nearest 2
convscope survey labelled --out labelled.atlas --layers features.18
convscope audit labelled --train labelled.atlas --method cam --json
