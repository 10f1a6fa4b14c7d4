"""The codes of characters that are not shown, as JSON and YAML write them.

*pure.* For `sie_schemas.errors.escaped`.
"""

__all__ = ["json_code", "yaml_code"]


def json_code(character: str) -> str:
    """A character as JSON writes it in a string: of two halves above U+FFFF."""
    halves = character.encode("utf-16-be", "surrogatepass").hex()
    return "".join(f"\\u{halves[at : at + 4]}" for at in range(0, len(halves), 4))


def yaml_code(character: str) -> str:
    """A character as YAML writes it in double quotes."""
    number = ord(character)
    return f"\\U{number:08x}" if number > 0xFFFF else f"\\u{number:04x}"
