"""Bare S3 clients: to look at what a store did, and to prepare what it will find."""

from __future__ import annotations

from contextlib import closing
from typing import Any

import boto3
from botocore.config import Config

from faust_s3.local import Keys, SeaweedFS
from faust_s3.local.running import RunningS3


def s3_client(server: SeaweedFS | RunningS3, keys: Keys | None = None) -> closing[Any]:
    """Return a client for a ``with`` statement, by default of whoever may do everything."""
    keys = keys or server.keys
    return closing(
        boto3.client(
            "s3",
            endpoint_url=server.endpoint_url,
            region_name=server.region,
            aws_access_key_id=keys.access_key,
            aws_secret_access_key=keys.secret_key,
            aws_session_token=server.session_token,
            config=Config(
                s3={"addressing_style": "path"},
                retries={"total_max_attempts": 10, "mode": "standard"},
            ),
        )
    )
