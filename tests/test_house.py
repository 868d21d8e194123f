"""The house itself: commands, settings, licence, and calls that must not appear in the source."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
SOURCES = sorted([*(ROOT / "fusion_engine").rglob("*.py"), *ROOT.glob("pages/**/*.py"), *ROOT.glob("app.py")])


@pytest.fixture(scope="module")
def settings() -> dict:
    return tomllib.loads((ROOT / ".streamlit" / "config.toml").read_text())


def test_the_app_stays_on_this_machine(settings: dict) -> None:
    assert settings["server"]["address"] == "127.0.0.1"
    assert settings["browser"]["gatherUsageStats"] is False
    assert settings["client"]["showErrorDetails"] == "none"
    assert settings["server"].get("enableXsrfProtection", True)
    assert settings["server"].get("enableCORS", True)


def test_the_app_accepts_what_the_store_accepts(settings: dict) -> None:
    from fusion_engine.store import MAX_UPLOAD_BYTES

    assert settings["server"]["maxUploadSize"] * 1024**2 == MAX_UPLOAD_BYTES


def test_settings_exist_in_this_streamlit(settings: dict) -> None:
    known = pytest.importorskip("streamlit.config")._config_options_template
    for section, values in settings.items():
        for name, value in values.items():
            for option in value if isinstance(value, dict) else [""]:
                assert f"{section}.{name}" + (f".{option}" if option else "") in known


def test_requirements_are_pinned() -> None:
    for name in ("requirements.txt", "requirements-dev.txt"):
        for line in (ROOT / name).read_text().splitlines():
            if line and not line.startswith(("#", "-r ")):
                assert re.fullmatch(r"[A-Za-z0-9_.-]+==[0-9][A-Za-z0-9.]*(; [a-z_]+ != \"[a-z0-9]+\")?", line), line


def test_licence() -> None:
    assert "Apache License" in (ROOT / "LICENSE").read_text()[:200]
    assert tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["license"] == "Apache-2.0"


@pytest.mark.parametrize("target", ["run", "test", "lint", "bench"])
def test_make_targets_create_what_they_need(target: str, tmp_path: Path) -> None:
    command = ["make", "-n", "-B", target, f"VENV={tmp_path}/venv"]
    plan = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert "-m venv" in plan
    torch, rest = plan.index("torch=="), plan.index("-r requirements.txt")
    assert torch < rest, "torch must be installed before what depends on it"


def test_make_test_spreads_the_work_and_tells_what_is_slow() -> None:
    command = ["make", "-n", "test", "ARGS=tests/conformance --method kmeans"]
    plan = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for option in ("-n auto", "--dist loadgroup", "--durations=10", "--method kmeans"):
        assert option in plan


def test_ci_is_executable_and_runs_the_readme_command() -> None:
    script = ROOT / ".ci" / "run"
    assert os.access(script, os.X_OK)
    subprocess.run(["bash", "-n", str(script)], check=True)
    assert "make test" in script.read_text()


def calls(path: Path) -> Iterator[tuple[str, ast.Call]]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func), node


def keyword(call: ast.Call, name: str) -> str | None:
    return next((ast.unparse(k.value) for k in call.keywords if k.arg == name), None)


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(ROOT)))
def test_files_are_data_never_code(path: Path) -> None:
    for name, call in calls(path):
        where = f"{path.name}:{call.lineno}: {name}"
        assert name not in {"eval", "exec", "pickle.load", "pickle.loads", "os.system"}, where
        if name == "torch.load":
            assert keyword(call, "weights_only") == "True", where
        if name in {"np.load", "numpy.load"}:
            assert keyword(call, "allow_pickle") == "False", where
        if name == "yaml.load":
            assert keyword(call, "Loader") == "_UniqueLoader", where
        assert keyword(call, "shell") != "True", where


def test_a_worker_takes_all_tests_of_a_file(request: pytest.FixtureRequest) -> None:
    """As tests/conftest.py asks: what a file's tests share would be made by every worker otherwise."""
    if not getattr(request.config.option, "loadgroup", False):
        pytest.skip("tests are not spread over workers by groups")
    assert request.node.nodeid.endswith("@tests/test_house.py")
