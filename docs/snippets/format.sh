convscope survey photos --out photos.atlas
convscope export photos.atlas --csv tables
convscope export photos.atlas --csv tables --parquet tables
