"""Named variants: one file is one variant, imported when it is asked for; others' code adds its own.

A name is one of three things:

    yamnet               the file of that name in the variants' folder
    birdnet              an entry point that an installed package declares
    my_module:MyEncoder  a class in any module that Python finds, or in a file of the current folder
"""

import importlib
import importlib.metadata
import inspect
import os
import pkgutil
import sys
from collections.abc import Callable, Iterator
from contextlib import redirect_stdout
from types import ModuleType
from typing import Any, ClassVar, Generic, TypeVar, cast, get_args, get_origin

from otoscribe.errors import OtoscribeError, Terminated, UsageError, unknown_name

T = TypeVar("T")

BASE = "base"
"""The file of a variants' folder that holds their interface and is no variant."""


def guarded(kind: str, name: str, make: Callable[[], T]) -> T:
    """Return what `make` makes by a variant's code.

    What that prints goes to standard error: it is no part of a command's output, which may be JSON.

    Raises:
        UsageError: that code failed; what it raises on purpose passes.
    """
    try:
        with redirect_stdout(sys.stderr):
            return make()
    except OtoscribeError:
        raise
    except Exception as error:  # whatever the variant's own code raises
        reason = f"{type(error).__name__}: {error}".splitlines()[0].rstrip(".")
        raise UsageError(f"The {kind} {name!r} failed: {reason}.") from error


def _is_of(value: object, kind: Any) -> bool:
    """Tell whether a value is of a kind as a class declares it: `Spec`, `type[Settings]`, `int | None`."""
    if get_origin(kind) is type:
        return inspect.isclass(value) and issubclass(value, get_args(kind))
    return isinstance(value, kind)


class Registry(Generic[T]):
    """The variants of one kind (encoders, adapters, word embeddings) by name.

    Args:
        kind: what a variant is, in the singular ("adapter"), for errors.
        base: the class that every variant extends.
        package: the folder of the variants, as a module; the group of entry points has the same name.
    """

    def __init__(self, kind: str, base: type[Any], package: str) -> None:
        self.kind = kind
        self._base = base
        self._package = package

    def __iter__(self) -> Iterator[str]:
        """Yield the names of all files and entry points, a to z, without importing any."""
        yield from sorted({*self._files(), *self._entry_points()})

    def __getitem__(self, name: str) -> type[T]:
        """Return the variant called `name`; a name with a colon runs the code of that module.

        Raises:
            UsageError: there is none of that name, it cannot be imported, or it is no variant of this kind.
        """
        if ":" in name:
            module, _, attribute = name.partition(":")
            found = vars(self._imported(name, module))
            own = [f"{module}:{other}" for other, value in found.items() if self._extends(value)]
            if own and attribute not in found:
                raise unknown_name(self.kind, name, own)
            return self._checked(name, found.get(attribute))
        if name in self._files():
            return self._defined_in(importlib.import_module(f"{self._package}.{name}"))
        if entry := self._entry_points().get(name):
            return self._checked(name, getattr(self._imported(name, entry.module), entry.attr, None))
        raise unknown_name(self.kind, name, self)

    def build(self, name: str, *arguments: object) -> T:
        """Return a variant made from its class.

        Raises:
            UsageError: as for `[name]`, or its code failed.
        """
        variant = self[name]
        return guarded(self.kind, name, lambda: variant(*arguments))

    def _files(self) -> set[str]:
        folder = importlib.import_module(self._package).__path__
        return {module.name for module in pkgutil.iter_modules(folder)} - {BASE}

    def _entry_points(self) -> dict[str, importlib.metadata.EntryPoint]:
        return {entry.name: entry for entry in importlib.metadata.entry_points(group=self._package)}

    def _imported(self, name: str, module: str) -> ModuleType:
        # Behind everything else, so that a file of the current folder hides no module.
        sys.path.append(os.getcwd())  # noqa: PTH109 (the path is a string)
        try:
            with redirect_stdout(sys.stderr):
                return importlib.import_module(module)
        except Terminated:
            raise
        except (Exception, SystemExit) as error:  # whatever the module's own code raises
            if isinstance(error, ModuleNotFoundError) and f"{module}.".startswith(f"{error.name}."):
                raise UsageError(
                    f"There is no {self.kind} named {name!r}: no module {module} lies in this folder or is "
                    f"installed. Known: {', '.join(self) or 'none'}; or MODULE:CLASS."
                ) from error
            reason = f"{type(error).__name__}: {error}".splitlines()[0].rstrip(".")
            raise UsageError(f"The {self.kind} {name!r} cannot be imported: {reason}.") from error
        finally:
            sys.path.pop()

    def _checked(self, name: str, variant: object) -> type[T]:
        base = f"{self._base.__module__}.{self._base.__name__}"
        if not self._extends(variant):
            raise UsageError(
                f"{name!r} is no {self.kind}: name a class that extends {base}, as MODULE:CLASS."
            )
        stated = {
            attribute: get_args(kind)[0]
            for attribute, kind in inspect.get_annotations(self._base).items()
            if cast(Any, get_origin(kind)) is ClassVar
        }
        lacking = sorted(getattr(variant, "__abstractmethods__", ()))
        lacking += [name for name, kind in stated.items() if not _is_of(getattr(variant, name, None), kind)]
        if lacking:
            raise UsageError(
                f"The {self.kind} {name!r} does not define {' and '.join(lacking)} as {base} asks for."
            )
        return cast(type[T], variant)

    def _extends(self, value: object) -> bool:
        return inspect.isclass(value) and issubclass(value, self._base) and value is not self._base

    def _defined_in(self, module: ModuleType) -> type[T]:
        """Return the one variant that a file of the folder defines."""
        (variant,) = (
            member
            for member in vars(module).values()
            if self._extends(member)
            and member.__module__ == module.__name__
            and not inspect.isabstract(member)
        )
        return cast(type[T], variant)
