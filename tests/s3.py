"""An S3 server on the loopback address, and buckets on it."""

import itertools
from collections.abc import Iterator

import pytest

from jaxcrystal.remote import Objects

_numbers = itertools.count()


@pytest.fixture(scope="session")
def s3_environment() -> Iterator[dict[str, str]]:
    """What a process needs to find the server; set in this one, too."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    environment = {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_ACCESS_KEY_ID": "somebody",
        "AWS_SECRET_ACCESS_KEY": "something",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
    }
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment.items():
            patch.setenv(name, value)
        yield environment
    server.stop()


@pytest.fixture
def bucket(s3_environment: dict[str, str]) -> str:
    """The URL of a bucket with nothing in it."""
    import s3fs

    url = f"s3://bucket{next(_numbers)}"
    s3fs.S3FileSystem().mkdir(url)
    return url


def contents(url: str) -> dict[str, bytes]:
    """Returns all objects below a URL by name."""
    objects = Objects(url)
    return {name: objects.read(name) for name in objects.below()}
