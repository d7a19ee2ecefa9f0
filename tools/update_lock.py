"""What newer library versions would change or break: ``make update-lock``; ``make update-lock BEYOND=1`` drops the upper bounds too.

Installs the newest versions into ``.venv-newest``, prints what differs from the lock, runs the tests that touch the libraries, and, if
they pass within the project's bounds, writes ``requirements.lock``. It is not part of the test suite: it needs a package index.
"""

import json
import os
import re
import subprocess
import sys
import tomllib
import venv
from pathlib import Path

ROOT = Path(__file__).parents[1]
LOCK = ROOT / "requirements.lock"
HOME = ROOT / ".venv-newest"
TESTS = ("tests/test_api_drift.py", "tests/training/test_fine_tune.py", "tests/engines/test_generation.py", "tests/training/test_export.py", "tests/grading",
         "tests/evaluation/test_general_benchmarks.py", "tests/core/test_statistics.py", "tests/reporting/test_reporting.py")  # fmt: skip


def without_upper_bounds(requirement):
    """``torch==2.13.0`` → ``torch``, ``pandas>=2.2,<4`` → ``pandas>=2.2``; extras and markers stay."""
    need, mark, marker = requirement.partition(";")
    name, bounds = re.fullmatch(r"\s*([\w.-]+(?:\[[^\]]*\])?)\s*(.*?)\s*", need).groups()
    lower = [b.strip() for b in bounds.split(",") if b.strip().startswith(">")]
    return name + ",".join(lower) + (f"; {marker.strip()}" if mark else "")


def locked(text):
    """Package → version of a lock's ``name==version`` lines."""
    pairs = (line.split("==") for line in text.splitlines() if re.match(r"^[\w.-]+==", line))
    return {name.lower().replace("_", "-"): version.strip() for name, version in pairs}


def differences(old, new):
    """Lines ``name: old → new`` of what differs."""
    return [
        f"{n}: {old.get(n, 'absent')} → {new.get(n, 'absent')}"
        for n in sorted({*old, *new})
        if old.get(n) != new.get(n)
    ]


def frozen(python):
    """The installed versions in the lock's form: no local versions, nothing that pip brings itself, no GPU packages."""
    done = subprocess.run(
        [python, "-m", "pip", "list", "--format=json", "--exclude-editable"], capture_output=True, text=True, check=True
    )
    rows = [(p["name"], p["version"].partition("+")[0]) for p in json.loads(done.stdout)]
    return {
        n: v
        for n, v in rows
        if n not in ("pip", "setuptools", "wheel") and not n.lower().startswith(("nvidia", "cuda"))
    }


def main():
    beyond = bool(os.environ.get("BEYOND"))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    needs = [*project["dependencies"], *project["optional-dependencies"]["dev"]]
    needs = [without_upper_bounds(n) for n in needs] if beyond else needs
    python = str(HOME / ("Scripts/python.exe" if os.name == "nt" else "bin/python"))
    if not Path(python).exists():
        venv.create(HOME, with_pip=True)
    pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "--upgrade", "--upgrade-strategy", "eager", *needs], check=True)
    subprocess.run([*pip, "--no-deps", "--editable", str(ROOT)], check=True)
    now = frozen(python)
    changed = differences(
        locked(LOCK.read_text(encoding="utf-8")), {n.lower().replace("_", "-"): v for n, v in now.items()}
    )
    print("\n".join(changed) if changed else "nothing newer", flush=True)
    if not changed:
        return 0
    code = subprocess.run([python, "-m", "pytest", "-q", *TESTS], cwd=ROOT, check=False).returncode
    if code:
        print("these versions break the tests above; requirements.lock is left as it is", file=sys.stderr)
        return 1
    if beyond:
        print("these versions pass; raise the bounds in pyproject.toml, then run make update-lock")
        return 0
    head = LOCK.read_text(encoding="utf-8").splitlines()[:2]
    LOCK.write_text(
        "\n".join([*head, *(f"{n}=={now[n]}" for n in sorted(now, key=str.lower))]) + "\n", encoding="utf-8"
    )
    print("requirements.lock is written; run make test before you commit it")
    return 0


if __name__ == "__main__":
    sys.exit(main())
