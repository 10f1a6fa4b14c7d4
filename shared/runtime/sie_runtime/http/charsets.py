"""The charset that a body says of itself.

*pure.* Texts of JSON, YAML and MessagePack are UTF-8 and nothing else. Promises that a body which
says another charset is refused by that name, and never read as what it is not.
"""

from typing import Final

from sie_schemas.errors import FixRequest

__all__ = ["check_charset"]

_UTF8: Final = frozenset({b"", b"utf-8", b"utf8", b"us-ascii", b"ascii"})
"""ASCII is a part of it, byte by byte."""
_TOLD_MAX: Final = 40
"""A stranger's text in a message of ours."""


def check_charset(content_type: bytes) -> None:
    """Refuse a `Content-Type` of another charset. Raises `FixRequest` UNSUPPORTED_MEDIA_TYPE."""
    for parameter in content_type.split(b";")[1:]:
        name, _, value = parameter.partition(b"=")
        said = value.strip().strip(b'"')
        if name.strip().lower() == b"charset" and said.lower() not in _UTF8:
            shown = said[:_TOLD_MAX].decode("latin-1")
            raise FixRequest(
                f"a body in the charset {shown!r} is not read: send it as UTF-8",
                code="UNSUPPORTED_MEDIA_TYPE",
                field="Content-Type",
            )
