convscope survey photos --out photos.atlas --labels none --no-pictures
convscope survey photos --out groups.atlas --labels groups --no-pictures
