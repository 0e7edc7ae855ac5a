"""Environments for contenders whose requirements are not ours."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

__all__ = ["python_for"]

HERE = Path(__file__).parent


def python_for(requirements: str | None) -> str:
    """Return the interpreter that has what a file in ``contenders`` asks for.

    Its environment is made the first time, below tox's or in ``.cache``. None: this one.
    """
    if requirements is None:
        return sys.executable
    file = HERE / "contenders" / requirements
    where = Path(os.environ.get("TOX_ENV_DIR", HERE.parent / ".cache"))
    stamp = hashlib.sha256(file.read_bytes() + sys.version.encode()).hexdigest()[:12]
    made = where / f"{file.stem}-{stamp}"
    python, complete = made / "bin" / "python", made / "complete"
    if not complete.exists():
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(made)], check=True)
        subprocess.run(
            [str(python), "-m", "pip", "install", "--quiet", "-r", str(file)], check=True
        )
        complete.touch()
    return str(python)
