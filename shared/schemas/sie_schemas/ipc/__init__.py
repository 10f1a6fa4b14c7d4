"""Frames between the worker sidecar and the model-execution process, over a Unix socket.

The names of this package are those that its modules list in `__all__`.
"""

from sie_schemas.ipc.answers import *  # noqa: F403 - each lists its names
from sie_schemas.ipc.forms import *  # noqa: F403 - each lists its names
from sie_schemas.ipc.inputs import *  # noqa: F403 - each lists its names
from sie_schemas.ipc.messages import *  # noqa: F403 - each lists its names
