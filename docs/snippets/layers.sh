convscope layers
convscope layers --inside features
