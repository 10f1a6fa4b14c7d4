"""A pytest plugin: one module is another one for this process, as two variables name and hold it.

*shell.* `SIE_PLANTED` is the module's name, `SIE_PLANTED_CODE` the file with its changed source. It
stands in place before anything else is imported.
"""

import importlib.abc
import importlib.util
import os
import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import CodeType, ModuleType
from typing import Final

NAME: Final = "SIE_PLANTED"
CODE: Final = "SIE_PLANTED_CODE"


class _Finder(importlib.abc.MetaPathFinder, importlib.abc.InspectLoader):
    """Gives one module with its change to whoever imports it."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname != os.environ.get(NAME):
            return None
        return importlib.util.spec_from_file_location(fullname, os.environ[CODE], loader=self)

    def get_source(self, fullname: str) -> str:
        return Path(os.environ[CODE]).read_text()

    def get_code(self, fullname: str) -> CodeType:
        return compile(self.get_source(fullname), os.environ[CODE], "exec")


sys.meta_path.insert(0, _Finder())
