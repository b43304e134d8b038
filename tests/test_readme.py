"""The README is true: its commands run, its diffs are those of the examples."""

from __future__ import annotations

import difflib
import os
import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text()
DIGEST = re.compile(r"\b[0-9a-f]{12}\b")


def blocks(kind, text=README):
    return re.findall(rf"^```{kind}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def test_the_first_commands_are_what_ci_runs_on_a_clean_checkout():
    clone, project, _ = blocks("sh")
    assert clone.splitlines()[-1] == "make demo"
    assert "\nmake demo\n" in (ROOT / ".ci/run").read_text()
    assert project.startswith("sluicegate init")


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """Run the README's project commands, in order, on the digits of the example."""
    folder = tmp_path_factory.mktemp("project")
    environment = {
        **{key: value for key, value in os.environ.items() if not key.startswith("SLUICEGATE")},
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT / "example_dags"),
    }
    receive = "import digits, pathlib; digits.receive(pathlib.Path('digits.parquet'))"
    subprocess.run([sys.executable, "-c", receive], cwd=folder, env=environment, check=True)

    def run(command):
        return subprocess.run(
            ["bash", "-c", command], cwd=folder, env=environment, capture_output=True, text=True
        )

    for command in (*blocks("sh")[1].splitlines(), *blocks("sh")[2].splitlines()):
        result = run(command)
        assert result.returncode == 0, f"{command}\n{result.stdout}\n{result.stderr}"
    return run


def test_the_refusal_that_it_shows_is_what_the_command_prints(project):
    shown = next(block for block in blocks("console") if block.startswith("$ "))
    command, _, expected = shown.removeprefix("$ ").partition("\n")
    result = project(command)
    assert result.returncode == 1
    assert DIGEST.sub("…", result.stdout + result.stderr) == DIGEST.sub("…", expected)


@pytest.mark.parametrize("orchestrator", ["airflow", "prefect"])
def test_the_diff_that_it_shows_is_the_diff_of_the_examples(orchestrator):
    before, after = (
        (ROOT / "example_dags" / orchestrator / f"digits_{kind}.py").read_text().splitlines()
        for kind in ("plain", "secured")
    )
    changes = {line[0] + line[2:] for line in difflib.ndiff(before, after) if line[0] in "+- "}
    shown = next(block for block in blocks("diff") if f"sluicegate_{orchestrator}" in block)
    for line in filter(None, shown.splitlines()):
        assert line in changes


def test_the_policy_that_it_shows_is_the_one_of_the_example():
    (shown,) = blocks("yaml")
    assert yaml.safe_load(shown) == yaml.safe_load((ROOT / "example_dags/policy.yaml").read_text())


def test_every_link_leads_to_a_file():
    for page in [ROOT / "README.md", *ROOT.glob("docs/*.md"), ROOT / "SECURITY.md"]:
        for target in re.findall(r"\]\((?!https?://)([^)#]+)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_the_versions_it_names_are_the_pinned_ones():
    constraints = (ROOT / "constraints.txt").read_text()
    pinned = dict(re.findall(r"^([a-z0-9-]+)==(\S+)", constraints, re.MULTILINE))
    tested = README.partition("## Tested with")[2].partition("##")[0]
    for name, label in (
        ("apache-airflow", "Airflow"),
        ("prefect", "Prefect"),
        ("great-expectations", "Great Expectations"),
        ("cleanlab", "cleanlab"),
    ):
        assert f"{label} {pinned[name]}" in tested


def test_the_constraints_pin_everything_with_hashes_and_name_no_host():
    text = (ROOT / "constraints.txt").read_text()
    assert "://" not in text
    requirements = re.split(r"\n(?=\S)", text.strip())
    assert len(requirements) > 200
    assert all("--hash=sha256:" in requirement for requirement in requirements)


def test_the_wheel_holds_the_three_packages_and_the_examples(tmp_path):
    subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation",
         "--wheel-dir", tmp_path, ROOT],
        check=True,
    )  # fmt: skip
    (wheel,) = tmp_path.glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    for name in (
        "sluicegate/py.typed",
        "sluicegate/reports/templates/report.html.j2",
        "sluicegate/examples/digits.py",
        "sluicegate/examples/airflow/digits_secured.py",
        "sluicegate_airflow/py.typed",
        "sluicegate_prefect/py.typed",
    ):
        assert name in names
    assert not {name.partition("/")[0] for name in names} & {"common", "airflow_plugin", "tests"}


def test_the_version_has_one_source():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    found = subprocess.run(
        ["grep", "-rn", f'"{project["version"]}"', ROOT / "common", ROOT / "airflow_plugin"],
        capture_output=True,
        text=True,
    )
    assert found.stdout == ""
