"""Objects at URLs: complete or absent, and every mistake in one line."""

import importlib
import pickle
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from jaxcrystal.data.dataset import Dataset
from jaxcrystal.errors import DataError
from jaxcrystal.model import load_model
from jaxcrystal.remote import Objects, is_url, local_copy


@pytest.fixture(params=["s3", "memory"])
def place(request, tmp_path) -> str:
    """A URL with nothing below it."""
    return f"{request.getfixturevalue('bucket')}/a run" if request.param == "s3" else f"memory://{tmp_path}"


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("s3://bucket/run", True),
        ("gs://bucket", True),
        ("memory://x", True),
        ("runs/mine", False),
        ("/runs/a:b", False),
        ("C:\\runs", False),
        (Path("s3://bucket/run"), False),  # it has lost a slash
        (None, False),
    ],
)
def test_what_is_a_url(text, url) -> None:
    assert is_url(text) == url


def test_objects(place, tmp_path) -> None:
    objects = Objects(place + "/")
    assert (objects.names(), objects.names("parts"), objects.below()) == (set(), set(), [])
    assert not objects.exists("a")
    objects.write("a", b"first")
    objects.write("a", b"second")
    (tmp_path / "file").write_bytes(b"x" * 100_000)
    objects.upload("parts/0.zip", tmp_path / "file")
    assert objects.names() == {"a", "parts"}
    assert objects.names("parts") == {"0.zip"}
    assert objects.below() == ["a", "parts/0.zip"]
    assert (objects.exists("a"), objects.exists("parts"), objects.exists("parts/0.zip")) == (
        True,
        False,
        True,
    )
    assert objects.read("a") == b"second"
    assert pickle.loads(pickle.dumps(objects)).read("parts/0.zip") == b"x" * 100_000
    objects.remove("a")
    objects.remove("a")
    assert objects.below() == ["parts/0.zip"]
    with pytest.raises(DataError, match=r"/a does not exist$"):
        objects.read("a")


def test_a_folder_made_by_hand_is_empty(bucket) -> None:
    """In the console of a store it is an object whose name ends with a slash."""
    import s3fs

    s3fs.S3FileSystem().call_s3("put_object", Bucket=bucket.removeprefix("s3://"), Key="made/", Body=b"")
    assert Objects(f"{bucket}/made").names() == set()
    assert Objects(bucket).names() == {"made"}


def test_what_another_process_writes_is_seen(bucket, s3_environment) -> None:
    objects = Objects(bucket)
    assert objects.names() == set()
    script = f"import s3fs; s3fs.S3FileSystem().pipe_file({bucket + '/parts/0'!r}, b'1')"
    subprocess.run([sys.executable, "-c", script], check=True)
    assert objects.names("parts") == {"0"}
    assert objects.exists("parts/0")


def test_copies(place) -> None:
    objects = Objects(place)
    for name in ("model.toml", "checkpoints/1", "parts/00000.zip"):
        objects.write(name, name.encode())
    with local_copy(place) as folder:
        found = sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())
        assert found == ["checkpoints/1", "model.toml", "parts/00000.zip"]
    assert not folder.exists()
    with local_copy(place, only=("model.toml", "weights.npz")) as folder:
        assert [path.name for path in folder.iterdir()] == ["model.toml"]
    with local_copy(f"{place}/parts/00000.zip") as file:
        assert (file.name, file.read_bytes()) == ("00000.zip", b"parts/00000.zip")
    message = "other does not exist, or there is nothing in it"
    with pytest.raises(DataError, match=message), local_copy(f"{place}/other"):
        pass


def test_a_path_is_its_own_copy(tmp_path) -> None:
    with local_copy(str(tmp_path)) as folder:
        assert folder == tmp_path
    assert tmp_path.exists()


def one_line(action) -> str:
    with pytest.raises(DataError) as error:
        action()
    assert "\n" not in str(error.value)
    return str(error.value)


def test_mistakes(s3_environment, bucket, monkeypatch, tmp_path) -> None:
    objects = Objects("s3://no-such-bucket/run")
    assert "no-such-bucket/run/a" in one_line(lambda: objects.write("a", b""))
    assert "bucket" in one_line(lambda: objects.write("a", b"")).split("a: ", 1)[1]
    assert one_line(lambda: objects.read("a")) == "s3://no-such-bucket/run/a does not exist"
    assert "Protocol not known" in one_line(lambda: Objects("nowhere://x/y"))
    assert one_line(lambda: Objects(f"file://{tmp_path}")).endswith("is on this disk: give the path alone")


def test_nobody_answers(s3_environment, monkeypatch) -> None:
    import s3fs

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{free.getsockname()[1]}")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    monkeypatch.setattr(s3fs.S3FileSystem, "retries", 1)
    s3fs.S3FileSystem.clear_instance_cache()
    objects = Objects("s3://bucket/run")
    for action in (lambda: objects.read("a"), lambda: objects.write("a", b""), objects.names, objects.exists):
        assert "Could not connect" in one_line(action) or "connect" in one_line(action).lower()
    s3fs.S3FileSystem.clear_instance_cache()


def test_libraries_print_no_tracebacks() -> None:
    """gcsfs logs what it raises; a mistake is one line all the same."""
    script = (
        "import logging; from jaxcrystal.remote import Objects; Objects('memory://x');"
        "[logging.getLogger(f'{name}.retry').error('Traceback') for name in ('gcsfs', 's3fs', 'fsspec')]"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stderr == ""


def test_no_credentials(s3_environment, monkeypatch, tmp_path) -> None:
    import s3fs

    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    s3fs.S3FileSystem.clear_instance_cache()
    assert "credentials" in one_line(lambda: Objects("s3://bucket/run").write("a", b""))
    s3fs.S3FileSystem.clear_instance_cache()


@pytest.mark.parametrize("missing", ["fsspec", "s3fs"])
def test_packages_that_are_not_installed(missing, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, missing, None)
    if missing == "fsspec":
        monkeypatch.setitem(sys.modules, "fsspec.core", None)
    else:
        known = importlib.import_module("fsspec.registry")._registry
        monkeypatch.delitem(known, "s3", raising=False)
    assert one_line(lambda: Objects("s3://bucket/run")) == (
        "s3://bucket/run needs packages that are not installed: pip install 'jaxcrystal[remote]'"
    )


def test_models_and_data_sets(place, tiny_model, aflow, tmp_path) -> None:
    objects = Objects(place)
    with pytest.raises(DataError, match="does not exist, or there is nothing in it"):
        load_model(place)
    objects.write("weights.npz", b"")
    with pytest.raises(DataError, match=f"{place} holds no model: there is no model.toml in it"):
        load_model(place)
    tiny_model.save(tmp_path)
    aflow.select([0, 1]).save(tmp_path / "two.npz")
    for path in tmp_path.iterdir():
        objects.upload(path.name, path)
    assert load_model(place).network == tiny_model.network
    assert list(Dataset.load(f"{place}/two.npz").ids) == list(aflow.ids[:2])
    with pytest.raises(DataError, match=f"{place}/weights.npz is not a prepared data set"):
        Dataset.load(f"{place}/weights.npz")
    with pytest.raises(DataError, match=r"three\.npz does not exist, or there is nothing in it"):
        Dataset.load(f"{place}/three.npz")
