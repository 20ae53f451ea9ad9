"""fastbp: backpropagation for one neuron and small networks, as fast as the CPU allows."""

from importlib import import_module, util
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fastbp._public import *  # noqa: F403
    from fastbp._public import __all__ as __all__
else:

    def __getattr__(name: str) -> Any:
        """Import what is asked for only now: Numba takes half a second, and Ctrl-C comes earlier.

        The command's ``main`` decides what becomes of that, before anything else is imported.
        """
        if util.find_spec(f"fastbp.{name}"):
            return import_module(f"fastbp.{name}")
        value = globals()[name] = getattr(import_module("fastbp._public"), name)
        return value

    def __dir__() -> list[str]:
        return sorted({*globals(), *__getattr__("__all__")})
