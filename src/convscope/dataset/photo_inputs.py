"""One photo of a data set as its network is shown it: a photo at fault is told apart from too little memory."""

from PIL import Image
from torch import Tensor

from convscope.dataset.room import NoRoomError, is_out_of_memory
from convscope.errors import ConvscopeError
from convscope.network.loading import Network, one_input


def photo_input(net: Network, photo: Image.Image) -> Tensor:
    """``(1, c, h, w)`` as the preprocessing gives it, not yet on the network's device.

    Raises:
        ConvscopeError: this photo cannot be prepared: it is to be left out.
        NoRoomError: there is no memory for it.
    """
    try:
        return one_input(net.preprocess(photo))
    except ConvscopeError:
        raise
    except Exception as error:  # a transform of the user's own may raise anything on one odd photo
        if is_out_of_memory(error):
            raise NoRoomError from error
        raise ConvscopeError(f"the network's transform failed: {error or type(error).__name__}") from error
