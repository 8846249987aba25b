"""The Cloud Storage client of this process, and what its errors mean to whoever runs a pipeline."""

from __future__ import annotations

import os
from contextlib import contextmanager
from functools import lru_cache
from typing import TYPE_CHECKING

from google.api_core import exceptions
from google.auth.exceptions import GoogleAuthError
from google.cloud.storage import Client
from google.cloud.storage.exceptions import DataCorruption
from google.cloud.storage.retry import DEFAULT_RETRY
from requests.adapters import HTTPAdapter
from requests.exceptions import RequestException

from storage.errors import StorageError, no_such_file

if TYPE_CHECKING:
    from collections.abc import Iterator

TIMEOUT_S = 60.0
"""Longest silence of the server within one request. `DEFAULT_RETRY` tries again for 120 s."""

_CONNECTIONS = 64
"""Connections kept open: the default of 10 would reconnect for every read of an eleventh thread."""


def client() -> Client:
    """Returns the client of this process, made on first use; threads share it.

    With `STORAGE_EMULATOR_HOST` set it talks to that emulator, without credentials.

    Raises:
        GoogleAuthError: no credentials were found; `explained` says what to do.
    """
    # A forked child must not share its parent's connections: the process id is part of the key.
    return _client(os.getpid(), os.environ.get("STORAGE_EMULATOR_HOST", ""))


@lru_cache(maxsize=4)
def _client(process_id: int, emulator: str) -> Client:
    made = Client.create_anonymous_client() if emulator else Client(project=None)
    session = made._http
    if not session.is_mtls:
        adapter = HTTPAdapter(pool_maxsize=_CONNECTIONS)
        session.mount("https://", adapter)
        session.mount("http://", adapter)
    return made


@contextmanager
def explained(location: str, bucket: str, permission: str) -> Iterator[None]:
    """Turns the errors of a request in the body into ours.

    Args:
        location: URI that the request is about.
        bucket: name of its bucket.
        permission: IAM permission that the request needs.

    Raises:
        FileNotFoundError: the bucket is there, the object is not.
        StorageError: the bucket is not there, the permission is missing, credentials are, the bytes
            were damaged on the way, or no answer came in time.
    """
    try:
        yield
    except exceptions.NotFound as error:
        _require_bucket(client(), bucket)
        raise no_such_file(location) from error
    except exceptions.Forbidden as error:
        raise StorageError(
            f"{location}: access denied; {permission} on bucket {bucket!r} is needed: grant it to "
            f"the account that runs this, for example with roles/storage.objectUser ({error})"
        ) from error
    except (GoogleAuthError, exceptions.Unauthorized) as error:
        raise StorageError(
            f"{location}: no usable Google credentials ({error}); run `gcloud auth "
            "application-default login`, or set GOOGLE_APPLICATION_CREDENTIALS to a key file"
        ) from error
    except (exceptions.GoogleAPIError, RequestException, DataCorruption) as error:
        raise StorageError(
            f"{location}: gave up ({error}); run again: what is committed is kept"
        ) from error


@lru_cache(maxsize=64)
def _require_bucket(owner: Client, bucket: str) -> None:
    """Raises `StorageError` unless the bucket is there; asks once per process and bucket."""
    with explained(f"gs://{bucket}", bucket, "storage.objects.list"):
        try:
            found = owner.list_blobs(bucket, max_results=1, timeout=TIMEOUT_S, retry=DEFAULT_RETRY)
            next(iter(found), None)
        except exceptions.NotFound as error:
            raise StorageError(
                f"bucket {bucket!r} does not exist; create it first, or correct its name"
            ) from error
