"""A bucket for tests, of moto's server: the protocol of S3 over HTTP, in this process."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
from moto.server import ThreadedMotoServer

BUCKET = "mis-tests"
_ACCESS = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_REGION": "us-east-1"}


@contextmanager
def bucket() -> Iterator[str]:
    """Yield the URL of an empty bucket, with what the cloud's client reads from the environment set to it."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        endpoint = f"http://{host}:{port}"
        httpx.put(f"{endpoint}/{BUCKET}").raise_for_status()
        before = {name: os.environ.get(name) for name in (*_ACCESS, "AWS_ENDPOINT_URL")}
        os.environ.update(_ACCESS, AWS_ENDPOINT_URL=endpoint)
        yield f"s3://{BUCKET}/a/prefix"
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
        server.stop()


async def unfinished_parts(prefix: str) -> int:
    """Return how many uploads in parts below `prefix` were neither ended nor taken back."""
    async with httpx.AsyncClient() as client:
        answer = await client.get(f"{os.environ['AWS_ENDPOINT_URL']}/{BUCKET}?uploads")
    answer.raise_for_status()
    return sum(f"<Key>a/prefix/{prefix}" in one for one in answer.text.split("<Upload>")[1:])
