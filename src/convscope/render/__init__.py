"""Arrays in, pictures out: scales, colours, overlays, sheets, charts. numpy, Pillow and matplotlib; nothing of torch.

What is drawn can be read back: every map has a colour bar with its numbers, a map that is zero stays so, nothing is
stretched, clipped or put on another scale without the picture saying it.
"""
