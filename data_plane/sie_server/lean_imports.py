"""The parts of torch and transformers that an execution process leaves out until they are used.

*device.* Imported before transformers is. A third of what transformers' models import is torch's
compiler, tensors over many hosts, and scipy for losses of a training. None of it runs here: models
run as they are written, on one device. Promises:

- Torch's compiler is imported by the first who asks for more than its marks; other threads wait
  until it is whole. It hears of the functions that were marked before, but for `disable`. That one
  gives back another function: who asked before is compiled with its caller.
- To transformers this process is alone, and without scipy. Code that imports scipy or
  torch.distributed by name, a model's own too, gets them as ever. Code that asks transformers
  whether they are there is told no, and takes its way without them.

Where something has imported the compiler before, it stays as it is.
"""

import importlib
import importlib.util
import sys
import threading
from collections.abc import Callable
from types import ModuleType
from typing import Any, Final, TypeVar

import torch
import transformers.utils
from transformers.utils import import_utils

__all__ = ["LEFT_OUT", "leave_out"]

F = TypeVar("F", bound=Callable[..., Any])

_COMPILER: Final = "torch._dynamo"
_MASKS: Final = "torch._dynamo._trace_wrapped_higher_order_op"
_MARKS: Final = ("allow_in_graph", "assume_constant_result", "disallow_in_graph")
"""Decorators that give the function back as it was."""
_WAIT_S: Final = 60
"""Many times its import. Two threads that import parts of it could wait for each other for ever."""
LEFT_OUT: Final = ("is_scipy_available", "is_torch_distributed_available")
"""The questions of transformers to which the answer is no."""


class _Later(ModuleType):
    """A module that runs when somebody asks for something that it does not have yet."""

    def __getattr__(self, name: str) -> Any:
        state = self.__dict__
        # What debuggers look for is no use of the module; an import of a part of it is one.
        is_ours = state["_sie_runs_in"] == threading.get_ident()
        if (name.startswith("__") and name != "__path__") or is_ours:
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")
        if state["_sie_runs_in"] is None and name in _MARKS:
            return lambda marked: self._keep(name, marked)
        if state["_sie_runs_in"] is None and name == "disable":
            return _not_compiled
        # Others wait here for the thread that runs it.
        if not state["_sie_lock"].acquire(timeout=_WAIT_S):
            raise AttributeError(f"module {self.__name__!r} is not imported yet; ask again")
        try:
            if type(self) is _Later:
                self._run()
        finally:
            state["_sie_lock"].release()
        return getattr(self, name)

    def _keep(self, name: str, marked: F) -> F:
        self.__dict__["_sie_marked"].append((name, marked))
        return marked

    def _run(self) -> None:
        state, spec = self.__dict__, self.__spec__
        assert spec is not None
        assert spec.loader is not None
        state.update(_sie_runs_in=threading.get_ident(), __path__=spec.submodule_search_locations)
        try:
            spec.loader.exec_module(self)
        finally:
            state["_sie_runs_in"] = None
        self.__class__ = ModuleType  # type: ignore[assignment]
        for name, marked in state["_sie_marked"]:
            state[name](marked)


def _not_compiled(fn: F | None = None, *_: object, **__: object) -> Any:
    """The decorator of functions that are not to be compiled: nobody compiles yet."""
    return fn if fn is not None else _not_compiled


def leave_out() -> None:
    """Leave them out of what is imported from now on. Idempotent."""
    if _COMPILER not in sys.modules:
        spec = importlib.util.find_spec(_COMPILER)
        assert spec is not None
        later = _Later(_COMPILER)
        later.__dict__.update(
            _sie_lock=threading.RLock(),
            _sie_runs_in=None,
            _sie_marked=[],
            __spec__=spec,
            __loader__=spec.loader,
            __package__=_COMPILER,
            __file__=spec.origin,
            __path__=spec.submodule_search_locations,
        )
        sys.modules[_COMPILER] = later
        torch._dynamo = later
        # The one part that transformers takes a class from: it needs no other.
        importlib.import_module(_MASKS)
        del later.__path__
    for name in LEFT_OUT:
        for place in (import_utils, transformers.utils):
            setattr(place, name, _no)


def _no() -> bool:
    return False


leave_out()
