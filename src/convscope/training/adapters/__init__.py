"""What a probe sees, passed on to the program that a training is watched with. Each wants that program installed."""
