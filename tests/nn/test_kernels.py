from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pinxit.engine.machine import this_machine
from pinxit.nn import Linear, attention
from pinxit.nn.kernels import attention as kernels
from pinxit.nn.kernels import build
from pinxit.nn.kernels.attention import CURRENT, NEEDS, AttentionKernel, load_attention
from pinxit.nn.kernels.build import compiled, fingerprint_of
from pinxit.nn.speed import accelerate

HERE = this_machine().flags >= NEEDS and shutil.which("c++") is not None
ADDER = 'extern "C" int add(int a, int b) { return a + b; }\n'


@pytest.fixture(scope="module")
def kernel(tmp_path_factory: pytest.TempPathFactory) -> AttentionKernel | None:
    """The kernel; None on machines without the instructions or a compiler, where there is nothing to compare."""
    return load_attention(tmp_path_factory.mktemp("kernels"), this_machine().flags)


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)).bfloat16()


def exact(q: Tensor, k: Tensor, v: Tensor, heads: int) -> Tensor:
    q, k, v = (t.double().unflatten(-1, (heads, -1)).transpose(1, 2) for t in (q, k, v))
    return F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)


def off(found: Tensor | None, wanted: Tensor) -> float:
    return float("inf") if found is None else float((found.double() - wanted).norm() / wanted.norm())


def test_the_kernel_is_here_where_it_can_be(kernel: AttentionKernel | None) -> None:
    assert (kernel is not None) == HERE


@pytest.mark.parametrize("width", [8, 9, 15, 16, 17, 31, 32, 40, 48, 64, 72, 80, 96, 112, 128, 144, 159, 160])
@torch.inference_mode()
def test_every_head_width_is_as_near_to_exact_as_torch(kernel: AttentionKernel | None, width: int) -> None:
    for heads, queries, keys in ((1, 1, 1), (3, 13, 77), (2, 64, 530)):
        q, k, v = (drawn(2, n, heads * width, seed=n) for n in (queries, keys, keys))
        wanted = exact(q, k, v, heads)
        assert (
            kernel is None or off(kernel(q, k, v, heads), wanted) <= 1.5 * off(attention(q, k, v, heads), wanted) + 1e-3
        )


@pytest.mark.parametrize("queries", [1, 5, 6, 7, 12, 63])
@pytest.mark.parametrize("keys", [1, 2, 15, 16, 17, 64, 65, 511, 512, 513, 1100])
@torch.inference_mode()
def test_every_length(kernel: AttentionKernel | None, queries: int, keys: int) -> None:
    q, k, v = (drawn(1, n, 80, seed=n) for n in (queries, keys, keys))
    assert kernel is None or off(kernel(q, k, v, 2), exact(q, k, v, 2)) < 6e-3


@torch.inference_mode()
def test_large_scores_keep_their_softmax(kernel: AttentionKernel | None) -> None:
    q, k, v = drawn(1, 9, 64, seed=1) * 30, drawn(1, 1300, 64, seed=2) * 30, drawn(1, 1300, 64, seed=3)
    assert kernel is None or off(kernel(q, k, v, 1), exact(q, k, v, 1)) < 6e-3
    rising = torch.linspace(-50, 50, 1300).bfloat16().view(1, 1300, 1).expand(1, 1300, 64)
    assert kernel is None or off(kernel(q.abs(), rising, v, 1), exact(q.abs(), rising, v, 1)) < 6e-3


@torch.inference_mode()
def test_a_query_depends_on_no_neighbour_batch_or_thread(kernel: AttentionKernel | None) -> None:
    q, k, v = (drawn(5, n, 120, seed=n) for n in (31, 45, 45))
    torch.set_num_threads(1)
    whole = attention(q, k, v, 3) if kernel is None else kernel(q, k, v, 3)
    if kernel is None or whole is None:
        return
    for image in range(5):
        one = kernel(q[image : image + 1], k[image : image + 1], v[image : image + 1], 3)
        assert one is not None
        assert torch.equal(one[0], whole[image])
    for row in (0, 6, 30):
        one = kernel(q[:, row : row + 1], k, v, 3)
        assert one is not None
        assert torch.equal(one[:, 0], whole[:, row])
    torch.set_num_threads(2)
    both = kernel(q, k, v, 3)
    assert both is not None
    assert torch.equal(both, whole)


@torch.inference_mode()
def test_strided_and_expanded_inputs(kernel: AttentionKernel | None) -> None:
    joined = drawn(2, 33, 3 * 64)
    q, k, v = joined.chunk(3, dim=-1)
    text = drawn(1, 19, 64, seed=1).expand(2, -1, -1)
    crossed = drawn(2, 64, 33, seed=2).transpose(1, 2)
    for a, b, c in ((q, k, v), (q, text, text), (crossed, k, v)):
        assert kernel is None or off(kernel(a, b, c, 2), exact(a, b, c, 2)) < 6e-3


@torch.inference_mode()
def test_numbers_that_are_not_finite_come_through(kernel: AttentionKernel | None) -> None:
    for bad in (float("nan"), float("inf")):
        for which in range(3):
            given = [drawn(1, 40, 32, seed=seed) for seed in range(3)]
            given[which][0, 3] = bad
            found = None if kernel is None else kernel(given[0], given[1], given[2], 1)
            assert found is None or not bool(torch.isfinite(found).all())


@torch.inference_mode()
def test_what_the_kernel_is_not_made_for_goes_torchs_way(kernel: AttentionKernel | None) -> None:
    if kernel is None:
        return
    q = drawn(1, 4, 64)
    assert kernel(q.float(), q.float(), q.float(), 1) is None
    assert kernel(drawn(1, 4, 7), drawn(1, 4, 7), drawn(1, 4, 7), 1) is None
    assert kernel(drawn(1, 4, 512), drawn(1, 4, 512), drawn(1, 4, 512), 1) is None
    assert kernel(q, q[:, :0], q[:, :0], 1) is None
    assert kernel(q, drawn(2, 4, 64), drawn(2, 4, 64), 1) is None
    assert kernel(q, q, q[:, :3], 1) is None
    with torch.inference_mode(mode=False):
        grown = q.clone().requires_grad_()
        assert kernel(grown, grown, grown, 1) is None


class Attending(nn.Module):
    def __init__(self, *, causal: bool = False) -> None:
        super().__init__()
        self.causal = causal
        self.seen: list[AttentionKernel | None] = []
        self.line = Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        self.seen.append(CURRENT.get())
        if x.shape[1] == 1:
            raise ValueError("one token")
        return attention(x, x, x, 1, causal=self.causal)


@torch.inference_mode()
def test_the_kernel_is_in_force_while_its_network_computes() -> None:
    asked: list[int] = []

    class Told(AttentionKernel):
        def __call__(self, q_BLC: Tensor, k_BSC: Tensor, v_BSC: Tensor, heads: int) -> Tensor | None:
            asked.append(heads)
            return None if q_BLC.shape[1] == 2 else torch.zeros_like(q_BLC)

    told = Told(lambda *given: 0)
    network = accelerate(Attending(), kernel=told)
    x = drawn(1, 3, 32)
    assert torch.equal(network(x), torch.zeros_like(x))
    assert torch.equal(network(x[:, :2]), attention(x[:, :2], x[:, :2], x[:, :2], 1))
    with pytest.raises(ValueError, match="one token"):
        network(x[:, :1])
    assert CURRENT.get() is None
    assert asked == [1, 1]
    causal = accelerate(Attending(causal=True), kernel=told)
    assert torch.equal(causal(x), attention(x, x, x, 1, causal=True))
    assert Attending()(x).count_nonzero() > 0


def test_without_the_instructions_nothing_is_compiled(tmp_path: Path) -> None:
    assert load_attention(tmp_path / "kernels", {"avx2"}) is None
    assert not (tmp_path / "kernels").exists()


@pytest.fixture
def adder(tmp_path: Path) -> Path:
    source = tmp_path / "adder.cpp"
    source.write_text(ADDER, "ascii")
    return source


def works(source: Path, folder: Path) -> bool:
    library = compiled(source, folder)
    return library is not None and library.add(2, 3) == 5


@pytest.mark.parametrize("damage", ["cut", "note", "writable", "none"])
def test_a_library_that_is_not_as_it_was_made_is_made_again(adder: Path, tmp_path: Path, damage: str) -> None:
    folder = tmp_path / "kernels"
    if not works(adder, folder):
        assert shutil.which("c++") is None
        return
    (library,) = folder.glob("*.so")
    before = library.stat().st_mtime_ns
    copy = folder / "other" / library.name
    copy.parent.mkdir()
    for path in (library, fingerprint_of(library)):
        shutil.copy2(path, copy.parent / path.name)
    if damage == "cut":
        copy.write_bytes(copy.read_bytes()[:900])
    elif damage == "note":
        fingerprint_of(copy).unlink()
    elif damage == "writable":
        copy.chmod(0o666)
    assert works(adder, copy.parent)
    assert (copy.stat().st_mtime_ns == before) == (damage == "none")
    assert copy.stat().st_mode & 0o077 == 0
    assert not list(copy.parent.glob(".making-*"))


def test_a_changed_source_is_another_library(adder: Path, tmp_path: Path) -> None:
    folder = tmp_path / "kernels"
    first = compiled(adder, folder)
    adder.write_text(ADDER.replace("a + b", "a * b"), "ascii")
    second = compiled(adder, folder)
    assert first is None or (second is not None and (first.add(2, 3), second.add(2, 3)) == (5, 6))


def test_no_compiler_no_openmp_no_folder_and_no_luck_are_no_library(
    adder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "maps").write_text("00-01 r--p 0 0 0 /lib/libc.so.6\n", "ascii")
    assert compiled(adder, tmp_path, maps=tmp_path / "maps") is None
    assert compiled(adder, tmp_path, maps=tmp_path / "absent") is None
    assert compiled(adder, adder / "below a file") is None
    broken = tmp_path / "broken.cpp"
    broken.write_text("this is no C++", "ascii")
    assert compiled(broken, tmp_path) is None
    assert compiled(tmp_path / "absent.cpp", tmp_path) is None
    monkeypatch.setattr(build, "COMPILERS", ("no-such-compiler",))
    assert compiled(adder, tmp_path) is None


def test_a_library_of_somebody_else_is_not_used(adder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "kernels"
    if not works(adder, folder):
        return
    monkeypatch.setattr(os, "getuid", lambda: 12345)
    assert compiled(adder, folder) is None


def test_a_kernel_with_wrong_results_is_not_used() -> None:
    assert not kernels._right(AttentionKernel(lambda *given: 0))  # pyright: ignore[reportPrivateUsage] - the check itself
    assert not kernels._right(AttentionKernel(lambda *given: 1))  # pyright: ignore[reportPrivateUsage] - the check itself
