"""The same readers, under bytes that coverage of the parser leads to: ``tox run -e fuzz-guided``.

Arguments are those of libFuzzer (https://llvm.org/docs/LibFuzzer.html): ``-runs=N``, ``-seed=N``.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["faust_s3.claim", "faust_s3.compression"]):
    from fuzz.mutations import GOLDEN
    from fuzz.outcomes import Readers


def main() -> None:
    """Read until all runs are done, or the first surprise, with which the process ends."""
    readers = Readers()

    def read(data: bytes) -> None:
        readers.read(data)

    with tempfile.TemporaryDirectory() as corpus:
        for number, envelope in enumerate(GOLDEN):
            (Path(corpus) / f"{number}").write_bytes(envelope)
        atheris.Setup([sys.argv[0], corpus, "-max_len=2048", *sys.argv[1:]], read)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
