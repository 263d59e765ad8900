"""Adapters, one file each."""

import importlib
import pkgutil

# One file is one variant: every module of this folder is imported, and registers itself.
for _module in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_module.name}")
