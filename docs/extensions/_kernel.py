"""What a kernel does before each notebook, so that none finds a trace of another."""

from __future__ import annotations

import os
import socket
import warnings
from typing import Any

import matplotlib as mpl
from IPython.core.getipython import get_ipython
from matplotlib import pyplot
from matplotlib_inline.backend_inline import set_matplotlib_formats

_FILTERS = warnings.filters[:]
_OURS = r"(ipykernel|IPython|jupyter_client|matplotlib_inline|traitlets|zmq)\b"
_connect = socket.socket.connect


def begin(folder: str, *, tested: bool) -> None:
    """Start in an empty folder with no name, no figure and the settings of a fresh process.

    Where the notebook is ``tested``, a warning and a connection to another machine are errors.
    """
    os.chdir(folder)
    pyplot.close("all")
    mpl.rcdefaults()
    warnings.filters[:] = _FILTERS
    if tested:
        warnings.simplefilter("error")
        warnings.filterwarnings("default", module=_OURS)
    socket.socket.connect = _refuse if tested else _connect
    get_ipython().reset(new_session=True)
    set_matplotlib_formats("retina")


def _refuse(self: socket.socket, address: Any) -> None:
    if self.family != getattr(socket, "AF_UNIX", None):
        msg = "A page tried to open a network connection."
        raise RuntimeError(msg)
    _connect(self, address)
