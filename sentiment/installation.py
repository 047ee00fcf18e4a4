"""Where this project's own code is, whatever folder of that name the working folder holds.

Python looks into the working folder first. A folder `sentiment` there that has no `__init__.py` is
merged with an editable installation of this package: modules are found, but the package itself has
no file, and its path is that folder's. So a package is located by a module of it.
"""

from __future__ import annotations

import sys
from importlib.machinery import ModuleSpec
from pathlib import Path

PACKAGE = Path(__file__).parent
"""The folder of the package `sentiment`."""


def hidden_code(command: ModuleSpec | None = None) -> str | None:
    """Return what hides this project's code from the command that runs, in a sentence.

    Args:
        command: the module that was started with `python -m`; None looks at `sentiment` alone.

    Returns:
        Which file is in the way and what to do; None if all modules that are imported from now on
        are this project's.
    """
    packages = {PACKAGE.name: PACKAGE}
    if command is not None and command.parent and command.origin:
        packages[command.parent] = Path(command.origin).parent
    for name, folder in packages.items():
        package = sys.modules.get(name)
        if package is None:
            continue
        if package.__file__ is not None:
            file = Path(package.__file__)
            if not file.parent.samefile(folder):
                return _sentence(file, name)
            continue
        for found in map(Path, package.__path__):
            if found.is_dir() and not found.samefile(folder):
                hiding = _hiding(found, folder)
                if hiding is not None:
                    return _sentence(hiding, f"{name}.{hiding.stem}")
    return None


def _hiding(found: Path, package: Path) -> Path | None:
    """Return what in a folder of the user's hides a module or package of this project's package.

    A file hides either; a folder hides a package also without `__init__.py`, since the installer's
    finder is asked last.
    """
    modules = {each.stem for each in package.glob("*.py")}
    packages = {each.parent.name for each in package.glob("*/__init__.py")}
    for name in sorted(modules | packages):
        if (found / f"{name}.py").is_file():
            return found / f"{name}.py"
        folder = found / name
        if (folder / "__init__.py").is_file() or (name in packages and folder.is_dir()):
            return folder
    return None


def _sentence(file: Path, module: str) -> str:
    return (
        f"{file} hides the module {module} of this project: rename it or its folder, or run the "
        "command in another folder"
    )
