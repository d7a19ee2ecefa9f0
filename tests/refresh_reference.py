"""Copies a finished run to outputs/reference and its headline table into the README: ``make reference``."""

import sys

from cgd_utils import artifacts, runner

profile = sys.argv[1] if len(sys.argv) > 1 else "lab"
run = artifacts.open_run(profile)
runner.keep_reference(run, artifacts.PROJECT / "outputs" / "reference", f"make reproduce PROFILE={profile}")
readme = artifacts.PROJECT / "README.md"
table = (run.tables / "headline.md").read_text(encoding="utf-8")
readme.write_text(runner.fill_readme(readme.read_text(encoding="utf-8"), "headline", table), encoding="utf-8")
