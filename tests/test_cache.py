"""Compiled programs are kept for the next process, and a folder that cannot be had is no error."""

import json
import os
import subprocess
import sys

from jaxcrystal import cache
from jaxcrystal.cache import cache_folder

_SCRIPT = """
import json, sys
from jaxcrystal.cache import keep_programs
if sys.argv[1] == "late":
    import jax
    jax.jit(lambda x: x + 1)(1.0)  # jax has looked for a folder before
keep_programs()
import jax, jax.numpy as jnp
import jaxcrystal.cache
found = []
jax.monitoring.register_event_listener(lambda name, **_: found.append(name))
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
jax.jit(lambda x: jnp.sort(jnp.sin(x) @ x))(jnp.ones((64, 64)))
print(json.dumps([sum("cache_hits" in name for name in found), jax.config.jax_compilation_cache_dir]))
"""


def run(folder, *arguments, **variables):
    """Returns the number of programs that a new process found, and where it looked."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("JAX_", "TF_CPP"))}
    environment |= {"JAX_PLATFORMS": "cpu", "JAXCRYSTAL_CACHE": str(folder)} | variables
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", _SCRIPT, *(arguments or ("early",))],
        capture_output=True,
        text=True,
        env=environment,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return json.loads(done.stdout)


def test_where_the_cache_is(monkeypatch, tmp_path) -> None:
    monkeypatch.setenv("JAXCRYSTAL_CACHE", str(tmp_path / "mine"))
    assert cache_folder() == tmp_path / "mine"
    monkeypatch.delenv("JAXCRYSTAL_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "jaxcrystal"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache_folder().parts[-2:] == (".cache", "jaxcrystal")


def test_the_next_process_compiles_nothing(tmp_path) -> None:
    assert run(tmp_path) == [0, str(tmp_path / "programs")]
    again, _ = run(tmp_path)
    assert again > 0


def test_a_process_that_has_compiled_already_keeps_its_programs_too(tmp_path) -> None:
    assert run(tmp_path, "late")[0] == 0
    assert run(tmp_path, "late")[0] > 0


def test_what_the_user_has_set_is_left_alone(tmp_path) -> None:
    own = str(tmp_path / "own")
    assert run(tmp_path / "a", JAX_COMPILATION_CACHE_DIR=own)[1] == own
    assert run(tmp_path / "b", JAX_ENABLE_COMPILATION_CACHE="false") == [0, None]
    assert not (tmp_path / "a").exists()
    assert not (tmp_path / "b").exists()


def test_no_folder_is_no_error(tmp_path) -> None:
    (tmp_path / "file").write_text("in the way")
    assert run(tmp_path / "file") == [0, None]


def test_the_oldest_programs_go_first(tmp_path, monkeypatch) -> None:
    """The folder that jax makes among them on a GPU stays."""
    (tmp_path / "autotune").mkdir()
    os.utime(tmp_path / "autotune", (0, 0))
    for age, name in enumerate(("new", "middle", "old")):
        (tmp_path / name).write_bytes(bytes(10))
        os.utime(tmp_path / name, (1000 - age, 1000 - age))
    monkeypatch.setattr(cache, "_MOST", 20)
    cache._remove_oldest(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"new", "middle", "autotune"}
