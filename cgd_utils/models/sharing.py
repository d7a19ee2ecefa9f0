"""Uploads to a hub, and GGUF files for llama.cpp; only ever called by ``cgd push`` and ``cgd gguf``."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Literal

from ..core.errors import BadInput
from ..core.records import Record

CONVERTER = "convert_hf_to_gguf.py"
GGUF_TYPES = ("f32", "f16", "bf16", "q8_0", "auto")


def upload(folder: Path, repo: str, private: bool, kind: Literal["model", "dataset"]) -> Record:
    """Uploads every file of a folder; a repository that is not there is made.

    Returns:
        ``{repository, kind, private, files}``.

    Raises:
        BadInput: ``repo`` is no repository's name.
    """
    from huggingface_hub import HfApi

    check_name(repo)
    api = HfApi()
    api.create_repo(repo, repo_type=kind, private=private, exist_ok=True)
    api.upload_folder(repo_id=repo, repo_type=kind, folder_path=str(folder), commit_message="Upload with cgd push")
    files = sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())
    return {"repository": repo, "kind": kind, "private": private, "files": files}


def check_name(repo: str) -> None:
    """Refuses what is no ``owner/name``."""
    if repo.count("/") != 1 or not all(repo.split("/")):
        raise BadInput(f"repository {repo!r}: write it as owner/name")


def converter() -> Path:
    """llama.cpp's converter: in the folder that ``CGD_LLAMA_CPP`` names, or on the PATH.

    Raises:
        BadInput: it is in neither.
    """
    named = os.environ.get("CGD_LLAMA_CPP")
    found = Path(named).expanduser() / CONVERTER if named else shutil.which(CONVERTER)
    if found and Path(found).is_file():
        return Path(found)
    where = f"CGD_LLAMA_CPP = {named!r} does not hold it" if named else "it is not on the PATH"
    raise BadInput(
        f"llama.cpp's {CONVERTER} writes GGUF files, and {where}: git clone https://github.com/ggml-org/llama.cpp and set "
        "CGD_LLAMA_CPP to that folder"
    )


def gguf(model: Path, out: Path, form: str = "q8_0") -> Record:
    """Converts a merged model's folder to a GGUF file.

    Args:
        model: the folder, such as `cgd merge-adapter` writes.
        out: the file to write; must not exist.
        form: of the weights, one of `GGUF_TYPES`.

    Returns:
        ``{model, out, form, gib}``.

    Raises:
        BadInput: an adapter, no model, no converter, or the converter failed; a half-written file is removed.
    """
    if (model / "adapter_config.json").exists():
        raise BadInput(f"{model}: is an adapter; merge it first: cgd merge-adapter {model} --out merged")
    if not (model / "config.json").exists():
        raise BadInput(f"{model}: no config.json lies there, so it is no model")
    if form not in GGUF_TYPES:
        raise BadInput(f"--type {form}: use one of {', '.join(GGUF_TYPES)}")
    if out.exists():
        raise BadInput(f"{out} exists already; name another file with --out")
    command = [sys.executable, str(converter()), str(model), "--outfile", str(out), "--outtype", form]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode or not out.exists():
        out.unlink(missing_ok=True)
        said = " ".join((done.stderr or done.stdout).split())[-300:]
        raise BadInput(f"{model}: llama.cpp's converter failed (exit code {done.returncode}): {said}")
    return {"model": str(model), "out": str(out), "form": form, "gib": out.stat().st_size / 2**30}
