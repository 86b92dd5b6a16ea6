"""A bucket for tests, of moto's server: the protocol of S3 over HTTP, in this process."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
from moto.core.models import DEFAULT_ACCOUNT_ID
from moto.s3.models import s3_backends
from moto.server import ThreadedMotoServer

BUCKET = "mis-tests"
_ACCESS = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_REGION": "us-east-1"}


@contextmanager
def bucket() -> Iterator[str]:
    """Yield the URL of an empty bucket, with what the cloud's client reads from the environment set to it."""
    with store() as endpoint:
        httpx.put(f"{endpoint}/{BUCKET}").raise_for_status()
        before = {name: os.environ.get(name) for name in (*_ACCESS, "AWS_ENDPOINT_URL")}
        os.environ.update(_ACCESS, AWS_ENDPOINT_URL=endpoint)
        try:
            yield f"s3://{BUCKET}/a/prefix"
        finally:
            for name, value in before.items():
                if value is None:
                    os.environ.pop(name, None)
                else:
                    os.environ[name] = value


@contextmanager
def store() -> Iterator[str]:
    """Yield the endpoint of a store with no bucket."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        yield f"http://{host}:{port}"
    finally:
        server.stop()


def remove_bucket() -> None:
    """Let the bucket go with everything in it, as a cloud account's end does."""
    s3_backends[DEFAULT_ACCOUNT_ID]["aws"].buckets.pop(BUCKET, None)
    s3_backends.bucket_accounts.pop(BUCKET, None)


async def unfinished_parts(prefix: str) -> int:
    """Return how many uploads in parts below `prefix` were neither ended nor taken back."""
    async with httpx.AsyncClient() as client:
        answer = await client.get(f"{os.environ['AWS_ENDPOINT_URL']}/{BUCKET}?uploads")
    answer.raise_for_status()
    return sum(f"<Key>a/prefix/{prefix}" in one for one in answer.text.split("<Upload>")[1:])
