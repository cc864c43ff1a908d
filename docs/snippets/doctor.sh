convscope doctor --model my_net.py:make_net
