"""What each unit looks for and what each layer keeps, as images made by optimisation: tensors in, tensors out."""
