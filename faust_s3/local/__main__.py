"""``python -m faust_s3.local``: two servers until Ctrl-C, and where they are."""

from __future__ import annotations

import argparse
import shlex
import signal
import sys
import time
from collections.abc import Sequence
from types import FrameType
from typing import Final

from faust_s3.local.process import LocalStackError
from faust_s3.local.stack import BROKERS, DEFAULT_BUCKET, LocalStack

_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_POLL: Final = 0.5


def main(argv: Sequence[str] | None = None) -> int:
    """Run the stack until a signal comes, and return the exit code."""
    options = _parser().parse_args(argv)
    for number in _SIGNALS:
        signal.signal(number, _interrupt)
    try:
        with LocalStack(
            broker=options.broker, bucket=options.bucket, directory=options.directory
        ) as stack:
            for name, value in stack.environ.items():
                print(f"export {name}={shlex.quote(value)}")
            print("# Ctrl-C stops the servers.", flush=True)
            while stack.running:
                time.sleep(_POLL)
            print("A server has ended by itself.", file=sys.stderr)
            return 1
    except KeyboardInterrupt:
        return 0
    except LocalStackError as exc:
        print(exc, file=sys.stderr)
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m faust_s3.local",
        description=(
            "Start a Kafka broker and an S3 server on free ports of 127.0.0.1, print what to "
            "export, and stop them at Ctrl-C."
        ),
    )
    parser.add_argument(
        "--broker",
        choices=sorted(BROKERS),
        default="noida",
        help="noida has transactions, Tansu removes dead consumers from their groups "
        "(default: %(default)s)",
    )
    parser.add_argument(
        "--bucket", default=DEFAULT_BUCKET, help="a bucket to create (default: %(default)s)"
    )
    parser.add_argument(
        "--directory", help="where the data stays (default: a temporary one, removed at the end)"
    )
    return parser


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    # A second signal would interrupt the stopping.
    for number in _SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
