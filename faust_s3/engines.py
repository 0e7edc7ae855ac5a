"""Which store the settings ask for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from faust_s3.config import Config
from faust_s3.exceptions import ConfigError
from faust_s3.stores.base import Store

if TYPE_CHECKING:
    import boto3

__all__ = ["open_store"]


def open_store(config: Config, session: boto3.Session | None) -> Store:
    """Return the store of the settings. Nothing is requested, nor connected.

    Importing the libraries takes a while; who brings another store does without.

    Args:
        config: The settings.
        session: For credentials and region.

    Raises:
        ConfigError: If the engine's library is missing, or cannot do what is set.
    """
    settings: dict[str, Any] = {
        name: getattr(config, name)
        for name in (
            *("region", "profile", "endpoint_url", "path_style", "sse", "sse_kms_key_id"),
            *("concurrency", "connect_timeout", "read_timeout", "request_timeout"),
        )
    }
    if config.engine == "boto3":
        from faust_s3.stores.s3 import S3Store

        return S3Store(session=session, **settings)
    try:
        from faust_s3.stores.obstore import ObstoreStore
    except ImportError as exc:
        if (exc.name or "").partition(".")[0] != "obstore":
            raise
        raise ConfigError(
            "engine 'obstore' needs a library: pip install 'faust-s3[obstore]'"
        ) from None
    home = config.home
    return ObstoreStore(
        home.scheme,
        root=home.root,
        buckets=[place.bucket for place in config.trusted],
        session=session,
        **settings,
    )
