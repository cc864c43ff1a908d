"""What a training looks like: curves, matrices, filters, embedding and layers over the epochs, and a page of all."""
