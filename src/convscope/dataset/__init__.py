"""One pass over many images: what every unit says of all of them."""
