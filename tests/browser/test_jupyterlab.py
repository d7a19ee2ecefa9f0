"""Every notebook by *Run All* in a real JupyterLab in a real (headless) browser: ``make test-browser``.

The notebooks are copied to a folder with spaces and an umlaut, as a user would, with ``profile`` and ``outputs`` changed in their first
code cell; all share one run folder, as the chain does. Screenshots: ``outputs/browser``.
"""

import contextlib
import json
import os
import re
import secrets
import shutil
import socket
import subprocess
import sys
import sysconfig
import time
import urllib.request

import pytest

from cgd_utils.app import chain
from cgd_utils.core.provenance import PROJECT

CHROMIUM = os.environ.get("CGD_CHROMIUM") or next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
if not os.environ.get("CGD_BROWSER"):
    pytest.skip("make test-browser runs the browser's tests", allow_module_level=True)

FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
         "--disable-component-update", "--disable-sync"]  # fmt: skip
SHOTS = PROJECT / "outputs" / "browser"
LIMIT = 900  # seconds a notebook may take before it counts as hung
COURSE = "what_do_critiques_teach"  # as a student opens it; a small class
TINY = {"data.rows": 32, "training.rows": 16, "training.validation_rows": 8, "training.seeds": [0], "training.epochs": 1, "evaluation.lab_rows": 4,
        "evaluation.benchmarks": ["lab-k2"], "evaluation.sampling.max_new_tokens": 24}  # fmt: skip
FIGURES = {"03_train": 1, "05_ablations": 1, "07_tables_and_figures": 2}
PANEL = ".jp-NotebookPanel:not(.lm-mod-hidden)"
IDLE = f"{PANEL} .jp-Notebook-ExecutionIndicator[data-status='idle']"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The user's copy of the notebooks."""
    root = tmp_path_factory.mktemp("home")
    mine = root / "my nötebooks"
    mine.mkdir()
    for path in [
        *sorted((PROJECT / "notebooks").glob("*.ipynb")),
        PROJECT / "notebooks" / "course" / f"{COURSE}.ipynb",
    ]:
        notebook = json.loads(path.read_text(encoding="utf-8"))
        (cell,) = [c for c in notebook["cells"] if "parameters" in c["metadata"].get("tags", [])]
        text = (
            "".join(cell["source"])
            .replace('"lab"', '"smoke"', 1)
            .replace('"outputs"', json.dumps(str(root / "results")), 1)
        )
        if path.stem == COURSE:
            text = text.replace("dict = {}", f"dict = {TINY}", 1)
        cell["source"] = text.splitlines(keepends=True)
        (mine / path.name).write_text(json.dumps(notebook), encoding="utf-8")
    return mine


@pytest.fixture(scope="module")
def server(folder, tmp_path_factory):
    """A JupyterLab of its own on the loopback address, with a token and none of the user's settings."""
    settings = tmp_path_factory.mktemp("jupyter")
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    token = secrets.token_hex(16)
    places = {f"JUPYTER_{k}_DIR": str(settings / k.lower()) for k in ("CONFIG", "DATA", "RUNTIME")}
    whole = settings / "config/lab/user-settings/@jupyterlab/notebook-extension/tracker.jupyterlab-settings"
    whole.parent.mkdir(parents=True)
    whole.write_text('{"windowingMode": "none"}')  # every cell stays in the page, so that it can be looked at
    for name, topic in (("apputils-extension", "notification"),):
        quiet = settings / f"config/lab/user-settings/@jupyterlab/{name}/{topic}.jupyterlab-settings"
        quiet.parent.mkdir(parents=True)
        quiet.write_text('{"fetchNews": "false", "checkForUpdates": false}')
    _kernel_without_the_kit(settings / "data" / "kernels" / "bare")
    command = [sys.executable, "-m", "jupyter", "lab", "--no-browser", "--allow-root", "--ip=127.0.0.1", f"--port={port}",
               "--ServerApp.port_retries=0", f"--ServerApp.root_dir={folder.parent}"]  # fmt: skip
    environment = {**os.environ, **places, "JUPYTER_TOKEN": token, "IPYTHONDIR": str(settings / "ipython")}
    with (settings / "log").open("wb") as log:
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log, cwd=folder.parent)
    address = f"http://127.0.0.1:{port}"
    try:
        for _ in range(240):
            try:
                urllib.request.urlopen(f"{address}/api/status?token={token}", timeout=5).read()
                break
            except OSError:
                assert process.poll() is None, (settings / "log").read_text()[-2000:]
                time.sleep(0.5)
        else:
            pytest.fail((settings / "log").read_text()[-2000:])
        yield address, token
    finally:
        process.terminate()
        process.wait(timeout=60)


def _kernel_without_the_kit(spec):
    """A kernel whose interpreter has every library but not cgd_utils: without ``site``, the editable install is not seen."""
    spec.mkdir(parents=True)
    about = {"argv": [sys.executable, "-S", "-m", "ipykernel_launcher", "-f", "{connection_file}"], "display_name": "Bare", "language": "python",
             "env": {"PYTHONPATH": sysconfig.get_path("purelib")}}  # fmt: skip
    (spec / "kernel.json").write_text(json.dumps(about))


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    from playwright.sync_api import sync_playwright

    SHOTS.mkdir(parents=True, exist_ok=True)
    for old in SHOTS.glob("*.png"):
        old.unlink()
    with sync_playwright() as p:
        browser = p.chromium.launch_persistent_context(
            str(tmp_path_factory.mktemp("browser")), executable_path=CHROMIUM, headless=True, args=FLAGS,
            viewport={"width": 1280, "height": 1000},
        )  # fmt: skip
        opened = browser.new_page()
        opened.set_default_timeout(120_000)
        yield opened
        browser.close()


def _open(page, server, path):
    address, token = server
    page.goto(f"{address}/lab/tree/{urllib.request.quote(path)}?reset&token={token}")
    page.locator("#jp-main-statusbar").get_by_text(re.compile(r"\| Idle")).wait_for()  # the kernel is there
    page.wait_for_selector(IDLE)


def _menu(page, menu, item):
    page.get_by_role("menubar").get_by_role("menuitem", name=menu, exact=True).click()
    page.get_by_role("menuitem", name=re.compile(rf"^{re.escape(item)}")).last.click()


def _wait_until_run(page, path):
    """Waits until every code cell has run or one has failed; returns the saved notebook and whether a progress bar was seen."""
    seen, resting, started = False, 0, time.monotonic()
    prompts = page.locator(f"{PANEL} .jp-CodeCell .jp-InputPrompt")
    while resting < 20:  # rests after an error; a slow kernel may rest a moment before it begins
        assert time.monotonic() - started < LIMIT, f"{path.name} hangs"
        page.wait_for_timeout(500)
        seen = seen or page.locator(f"{PANEL} .widget-hprogress").count() > 0
        told = [t.strip() for t in prompts.all_inner_texts()]
        idle = page.locator(IDLE).count() and "[*]:" not in told
        resting = resting + 1 if idle else 0
        if idle and all(re.fullmatch(r"\[\d+\]:", t) for t in told):
            break
    before = path.stat().st_mtime_ns
    page.keyboard.press("Control+s")
    while True:
        assert time.monotonic() - started < LIMIT, f"{path.name} was not saved"
        page.wait_for_timeout(200)
        if path.stat().st_mtime_ns != before:
            with contextlib.suppress(ValueError):  # half written: look again
                return json.loads(path.read_text(encoding="utf-8")), seen


def _check(notebook):
    code = [c for c in notebook["cells"] if c["cell_type"] == "code"]
    errors = [o for c in code for o in c["outputs"] if o["output_type"] == "error"]
    assert not errors, "\n".join(errors[0]["traceback"])
    assert all(c["execution_count"] for c in code)
    shown = ["".join(o["text"]) for c in code for o in c["outputs"] if o.get("name") == "stderr"]
    assert not [t for t in shown if "Warning" in t or "Traceback" in t], shown


def _look(page, name):
    """Every figure is drawn, not only sent; returns how many there are."""
    figures = page.locator(f"{PANEL} .jp-RenderedImage img")
    for i in range(figures.count()):
        figures.nth(i).scroll_into_view_if_needed()
        assert figures.nth(i).evaluate(
            "x => x.complete && x.naturalWidth > 100 && x.getBoundingClientRect().width > 100"
        )
        page.screenshot(path=SHOTS / f"{name}-figure-{i + 1}.png")
    return figures.count()


def _explore(page, name):
    """The example explorer's widgets answer: another choice in the first filter gives another count or another example."""
    explorer = page.locator(f"{PANEL} .jupyter-widgets.widget-vbox").last
    explorer.scroll_into_view_if_needed()
    page.screenshot(path=SHOTS / f"{name}-explorer-1.png")
    before = explorer.inner_text()
    for chosen in explorer.locator("select").all():
        start = chosen.input_value()
        for option in chosen.locator("option").all():
            chosen.select_option(value=option.get_attribute("value"))
            page.wait_for_timeout(700)
            if explorer.inner_text() != before:
                break
        if explorer.inner_text() != before:
            break
        chosen.select_option(value=start)
    assert re.search(r"\d+ found", explorer.inner_text())
    assert explorer.inner_text() != before, "the explorer did not answer"
    page.screenshot(path=SHOTS / f"{name}-explorer-2.png")


@pytest.mark.parametrize("name", [*chain.NAMES, COURSE])
def test_run_all(page, server, folder, name):
    """03 is interrupted: its kernel is restarted while it trains, and everything is run again."""
    path = folder / f"{name}.ipynb"
    _open(page, server, f"{folder.name}/{path.name}")
    page.screenshot(path=SHOTS / f"{name}-opened.png")
    _menu(page, "Run", "Run All Cells")
    if name == "03_train":
        page.wait_for_selector(".jp-OutputArea .widget-hprogress")
        page.wait_for_timeout(3000)
        _menu(page, "Kernel", "Restart Kernel and Run All Cells")
        page.locator(".jp-Dialog .jp-mod-accept").click()
    notebook, progress_seen = _wait_until_run(page, path)
    page.screenshot(path=SHOTS / f"{name}-run.png")
    _check(notebook)
    assert _look(page, name) >= FIGURES.get(name, 0)
    if name in ("02_critiques_and_refinements", "06_analyses"):
        _explore(page, name)
    if name in ("01_problems_and_drafts", "03_train", "04_evaluate", "05_ablations"):
        assert progress_seen, "no progress bar was shown"
    _menu(page, "File", "Close and Shut Down Notebook")
    page.locator(".jp-Dialog .jp-mod-accept").click()
    page.wait_for_selector(".jp-NotebookPanel", state="detached")


def test_the_run_is_whole(folder):
    """What eight Run Alls leave is a run like the command line's."""
    run = folder.parent / "results" / "smoke"
    assert (run / "results.csv").stat().st_size > 0
    assert (run / "claims.csv").stat().st_size > 0
    assert list((run / "figures").glob("accuracy_*.png"))


def test_a_kernel_without_the_kit_is_told_what_to_do(page, server, folder):
    notebook = json.loads((folder / "00_setup.ipynb").read_text(encoding="utf-8"))
    notebook["metadata"]["kernelspec"] = {"name": "bare", "display_name": "Bare", "language": "python"}
    path = folder.parent / "00 elsewhere.ipynb"
    path.write_text(json.dumps(notebook), encoding="utf-8")
    _open(page, server, path.name)
    _menu(page, "Run", "Run All Cells")
    told = page.locator(".jp-RenderedText[data-mime-type='application/vnd.jupyter.stderr']").last
    told.wait_for()
    told.scroll_into_view_if_needed()
    page.screenshot(path=SHOTS / "no-package.png")
    last = told.inner_text().strip().splitlines()[-1]
    assert last == "ModuleNotFoundError: No module named 'cgd_utils'"
    way_out = page.get_by_text("this kernel is not the kit").first
    assert "make setup" in way_out.inner_text()


def test_a_mistake_in_a_parameter_is_told_in_one_line(page, server, folder):
    path = folder.parent / "00 mistaken.ipynb"
    path.write_text(
        (folder / "00_setup.ipynb").read_text(encoding="utf-8").replace('\\"smoke\\"', '\\"smokee\\"'), encoding="utf-8"
    )
    _open(page, server, path.name)
    _menu(page, "Run", "Run All Cells")
    shown = page.get_by_text(re.compile("ProfileError: unknown profile 'smokee'")).last
    shown.wait_for()
    page.screenshot(path=SHOTS / "mistake.png")
    assert "Traceback" not in page.locator(".jp-OutputArea").last.inner_text()
    assert len(shown.inner_text().splitlines()) <= 3
