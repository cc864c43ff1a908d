"""A tour through what convscope does, on what comes with it: chapters of pictures in a folder, and a page of them."""
