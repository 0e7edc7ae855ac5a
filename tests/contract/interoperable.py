"""Google Cloud Storage, as far as its XML API is S3's: an S3 server that asks for no signature.

Requests and answers are those of S3 (https://cloud.google.com/storage/docs/interoperability).
How they are signed is not, so what comes is signed anew for a real S3 server.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, unquote

from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.httpsession import URLLib3Session
from faults import Behaviour, Connection

#: What is about the object, and not about the connection.
_KEPT = ("ETag", "If-Match", "Range", "Content-Range", "Last-Modified")


def without_signature(endpoint_url: str, region: str, credentials: Any) -> Behaviour:
    """Answer as the S3 server there does, whoever asks."""
    auth = S3SigV4Auth(credentials, "s3", region)
    requests = URLLib3Session(max_pool_connections=64)

    def behave(connection: Connection) -> None:
        where, question, query = connection.path.partition("?")
        # Google's clients escape more than S3's signature admits.
        path = quote(unquote(where), safe="/~") + question + query
        request = AWSRequest(
            connection.command,
            endpoint_url.rstrip("/") + path,
            headers=_kept(connection.headers),
            data=connection.body,
        )
        auth.add_auth(request)
        answer = requests.send(request.prepare())
        length = answer.headers.get("Content-Length", len(answer.content))
        connection.send_response(answer.status_code)
        for name, value in {**_kept(answer.headers), "Content-Length": str(length)}.items():
            connection.send_header(name, value)
        connection.end_headers()
        connection.wfile.write(answer.content)

    return behave


def service_account(url: str) -> str:
    """Return the key that leads Google's clients there, and has no secret."""
    account = {"client_email": "", "private_key": "", "private_key_id": ""}
    return json.dumps({"gcs_base_url": url, "disable_oauth": True, **account})


def _kept(headers: Mapping[str, str]) -> dict[str, str]:
    return {name: headers[name] for name in _KEPT if name in headers}
