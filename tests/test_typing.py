"""The package is typed for those who install it: the README's code passes ``mypy --strict`` beside the built wheel."""

from __future__ import annotations

import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

from tests.test_readme import PYTHON, ROOT

# What a file that uses the package says, each line with what mypy says of it.
MISUSES = {
    'eventmw.track("x", user="u")': 'Unexpected keyword argument "user"',
    'eventmw.track("x", ecommerce="yes")': 'incompatible type "str"; expected "bool"',
    "eventmw.track(5)": 'incompatible type "int"; expected "str"',
    'eventmw.EventsMiddleware(eventmw, pth="/z")': 'Unexpected keyword argument "pth"',
    'eventmw.EventsMiddleware(eventmw, path="/z").dependency_overrides': 'has no attribute "dependency_overrides"',
}
USES = """
import asyncio
from pathlib import Path
import eventmw
from eventmw.tools import File

app = eventmw.EventsMiddleware(object(), path="/z", data_dir=Path("d"), geoip=Path("g"), tools=[File(Path("f"))], mounted=True)
app = eventmw.EventsMiddleware.from_config(object(), Path("eventmw.toml"))
receipt: eventmw.Receipt = eventmw.track("x", {"a": 1}, user_id=5, request=object(), project="shop", site=app)
same: bool = asyncio.run(eventmw.atrack("x", id="a")).duplicate
eventmw.Tracker(Path("d")).track("x", system={"page": {"url": "https://a.example/"}})
"""


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the interpreter of an environment with the wheel, and with all that the tests have beside it."""
    folder = tmp_path_factory.mktemp("installed")
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True, timeout=60)
    venv.create(folder / "venv", with_pip=False, symlinks=True)
    [packages] = (folder / "venv" / "lib").glob("python*/site-packages")
    [wheel] = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as built:
        built.extractall(packages)
    # A .pth file in a folder that one names is not read, so this checkout, where it is installed, stays out of sight.
    (packages / "others.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return folder / "venv" / "bin" / "python"


def mypy(python: Path, folder: Path) -> str:
    """Return what ``mypy --strict`` says of the files of a folder."""
    ran = subprocess.run(
        [
            sys.executable,
            "-m",
            "mypy",
            "--strict",
            "--python-executable",
            str(python),
            "--cache-dir",
            str(folder / ".c"),
            ".",
        ],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert ran.returncode in {0, 1}, ran.stderr
    return ran.stdout


# What others' packages are in themselves is not looked at: it would take minutes, and decides nothing here.
LARGE = (
    "aiohttp",
    "anyio",
    "click",
    "jsonschema",
    "multidict",
    "pydantic",
    "pydantic_core",
    "rich",
    "sqlalchemy",
    "yarl",
)


@pytest.mark.timeout(300)
def test_the_wheel_is_typed(python: Path, tmp_path: Path) -> None:
    skipped = "".join(f"[mypy-{name}.*]\nfollow_imports = skip\n" for name in LARGE)
    (tmp_path / "mypy.ini").write_text(f"[mypy]\n{skipped}")
    for number, code in enumerate(PYTHON):
        (tmp_path / f"readme_{number}.py").write_text(code)
    (tmp_path / "uses.py").write_text(USES)
    (tmp_path / "misuses.py").write_text("import eventmw\n" + "\n".join(MISUSES) + "\n")
    lines = [line for line in mypy(python, tmp_path).splitlines() if ": error: " in line]
    wrong = [line for line in lines if line.startswith("misuses.py")]
    assert len(wrong) == len(MISUSES), wrong
    for number, words in enumerate(MISUSES.values(), 2):
        assert any(line.startswith(f"misuses.py:{number}:") and words in line for line in wrong), (words, wrong)
    # Flask itself documents assigning to the method `wsgi_app`, and its types do not know it.
    ours = [line for line in lines if not line.startswith("misuses.py") and "[method-assign]" not in line]
    assert not ours, "\n".join(ours)
