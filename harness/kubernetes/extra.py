"""Modules of the extra `smoke`, which are not installed with the package."""

import importlib
from typing import Any

from harness.core.errors import EnvironmentMissingError


def extra(module: str) -> Any:
    """Import `module`, which is "grpc" or "envoy".

    Raises `EnvironmentMissingError` if it is not installed.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise EnvironmentMissingError(
            f"the Python module {module} is missing: run `python3 -m pip install '.[smoke]'`"
        ) from error
