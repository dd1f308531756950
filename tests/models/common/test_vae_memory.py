"""Decoding takes the memory that the plan foretells, and encoding no more."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from pinxit.models.common.configs import VaeConfig
from pinxit.models.common.cost import vae_cost

ROOT = Path(__file__).parents[3]
CONFIG = VaeConfig(channels=32)
ROOM = {"packed": 1.7, "plain": 1.8}
"""How far above the estimate a decoder may go: the heap keeps holes between tensors, torch's own convolutions more."""
MEASURE = """
import json, sys, torch
from pinxit.engine.allocator import release
from pinxit.models.common.configs import VaeConfig
from pinxit.models.common.vae import AutoencoderKL
from pinxit.nn.packed import available
from pinxit.nn.speed import accelerate

def status(name):
    lines = open("/proc/self/status").read().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(name))

way, height, width, packs = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4] == "packed"
vae = AutoencoderKL(VaeConfig(channels=32)).to(memory_format=torch.channels_last).requires_grad_(False).eval()
accelerate(vae, pack=packs and available(torch.float32))
x = torch.randn(1, 4, height, width) if way == "decode" else torch.randn(1, 3, 8 * height, 8 * width)
with torch.inference_mode():
    getattr(vae, way)(x[..., :8, :8] if way == "decode" else x[..., :64, :64])
    release()
    open("/proc/self/clear_refs", "w").write("5")
    before = status("VmRSS")
    getattr(vae, way)(x)
print(json.dumps(status("VmHWM") - before))
"""


def measured(way: str, height: int, width: int, how: str) -> int:
    command = [sys.executable, "-c", MEASURE, way, str(height), str(width), how]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("how", ["packed", "plain"])
@pytest.mark.parametrize(("height", "width"), [(64, 64), (40, 88)])
def test_the_estimate_is_right(height: int, width: int, how: str) -> None:
    estimate = vae_cost(CONFIG, height, width).activation_bytes
    assert 0.85 * estimate < measured("decode", height, width, how) < ROOM[how] * estimate


def test_encoding_takes_no_more() -> None:
    assert measured("encode", 64, 64, "packed") < vae_cost(CONFIG, 64, 64).activation_bytes
