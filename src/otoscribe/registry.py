"""Named variants: one file registers one variant, and nothing else needs to change."""

from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

from otoscribe.errors import unknown_name

T = TypeVar("T")


class Registry(Generic[T]):
    """The variants of one kind (encoders, adapters, word embeddings) by name, in order of registration."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._variants: dict[str, T] = {}

    def register(self, name: str) -> Callable[[T], T]:
        """Return a decorator that files its argument under `name`, which must be new."""

        def add(variant: T) -> T:
            if name in self._variants:
                raise ValueError(f"The {self.kind} {name!r} is registered twice.")
            self._variants[name] = variant
            return variant

        return add

    def __getitem__(self, name: str) -> T:
        """Return the variant called `name`; an unknown name is a `UsageError` that lists the known ones."""
        if name not in self._variants:
            raise unknown_name(self.kind, name, self._variants)
        return self._variants[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._variants)

    def __len__(self) -> int:
        return len(self._variants)
