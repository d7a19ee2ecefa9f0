"""The logic of the speed scripts at tiny size; their numbers are no test."""

import importlib.util
import math
from pathlib import Path

import pytest

TESTS = Path(__file__).parent


def script(path):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_lab_script_compares_the_same_updates():
    bench = script(TESTS / "benchmarks" / "bench_training.py")
    got = bench.main(rows=32, rounds=1, micro=8)
    assert got["losses"]["kit"] == pytest.approx(got["losses"]["bare"], rel=1e-3)
    assert all(math.isfinite(r) and r > 0 for r in got["ratios"].values())


@pytest.mark.slow
def test_the_gpu_script_measures_every_setting_and_plain_trl(monkeypatch, tmp_path, capsys):
    bench = script(TESTS / "gpu" / "bench_qlora.py")
    some = dict(list(bench.variants(True).items())[:1])
    monkeypatch.setattr(bench, "variants", lambda tiny: some)
    assert (
        bench.main(["--tiny", "--model", "llama", "--steps", "2", "--batch", "8", "--out", str(tmp_path / "table.md")])
        == 0
    )
    table = (tmp_path / "table.md").read_text()
    rows = [line.split("|") for line in table.splitlines() if line.startswith("|")][2:]
    assert [r[1].strip() for r in rows] == [*some, "plain TRL, its defaults"]
    assert all(float(r[2]) > 0 for r in rows) and float(rows[-1][4]) == 1.0
    assert "vllm not measured" in table and "numbers mean nothing" in table


def test_without_a_gpu_nothing_is_claimed(capsys):
    import torch

    if torch.cuda.is_available():
        pytest.skip("there is a CUDA GPU")
    assert script(TESTS / "gpu" / "bench_qlora.py").main([]) == 2
    assert "not measured" in capsys.readouterr().err


def test_flops_of_an_8b_model():
    """4 FLOPs a weight and token, and attention: 6 × 32 layers × 4096 × 2048 tokens."""
    from cgd_utils.models import memory

    bench = script(TESTS / "gpu" / "bench_qlora.py")
    s = memory.shape(memory.published_config(bench.NAMES["llama"]))
    assert bench.flops_per_token(s, 2048) == pytest.approx(4 * 7.505e9 + 6 * 32 * 4096 * 2048, rel=1e-3)
