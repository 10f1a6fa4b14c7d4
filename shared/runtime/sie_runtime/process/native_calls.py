"""Native libraries that panic: what they raise then is no `Exception`.

*pure.* A library in Rust that meets what it did not expect raises an error beside Python's own
tree. Where only `Exception` is caught it ends the process, with the work of everybody in it.
"""

__all__ = ["told_by_native"]

_ENDS = (KeyboardInterrupt, SystemExit, GeneratorExit)


def told_by_native(error: BaseException) -> str:
    """The words of what a native library raised. Raises it again where it is the end of whoever
    called."""
    if isinstance(error, _ENDS):
        raise error
    return str(error) or type(error).__name__
