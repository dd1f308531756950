"""LoRAs in the namings that diffusers reads, merged by us and by it: the same weights, the same picture.

Needs the extra `parity`. Run with `pytest -m parity`; the usual run leaves these out.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from pinxit.engine.means import Means
from pinxit.engine.plan import Resolved
from pinxit.engine.residency import Residency
from pinxit.weights.lora_names import Target
from tests.adapters.files import KOHYA, PEFT, layers_of, naming, random_lora, write
from tests.easel import Easels, easel_for
from tests.parity.test_sd import SIZE, folder_of, ours, says, theirs

pytestmark = [pytest.mark.parity, pytest.mark.filterwarnings("ignore")]

NEAR = 2e-6
LEAST = 60.0
WEIGHT = 0.7
PIPELINES = {"sd1": "StableDiffusionPipeline", "sdxl": "StableDiffusionXLPipeline"}
PARTS = {"sd1": ("unet", "text_encoder"), "sdxl": ("unet", "text_encoder", "text_encoder_2")}


def in_attentions(target: Target) -> bool:
    """The layers that every version of diffusers takes from files of other trainers."""
    return any(word in target.theirs for word in (".attn1.", ".attn2.", ".ff.net", "self_attn", ".mlp."))


def decomposed(resolved: Resolved, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The same with a magnitude for each layer, which makes it a DoRA."""
    found = dict(tensors)
    for target, shape in layers_of(resolved, ("unet",)):
        for name in naming("diffusers").modules(target)[:1]:
            if name + PEFT[0] in tensors:
                magnitude = torch.rand(shape[0], generator=torch.Generator().manual_seed(3)) + 0.5
                found[f"{name}.lora_magnitude_vector"] = magnitude
    return found


def fused(pipeline: Any, component: str) -> Mapping[str, Tensor]:
    """The weights of one of their networks by the names of a file."""
    state: Mapping[str, Tensor] = getattr(pipeline, component).state_dict()
    return {name.replace(".base_layer", "").removeprefix("text_model."): tensor for name, tensor in state.items()}


@pytest.mark.parametrize("form", ["kohya", "diffusers", "dora"])
@pytest.mark.parametrize("model", ["sd1", "sdxl"])
def test_merged_weights_equal_diffusers(easels: Easels, model: str, form: str, tmp_path: Path) -> None:
    folder = folder_of(easels, model, tmp_path / "models" / "model")
    easel = easel_for(tmp_path / "models", "model")
    plain = easel.resolve()
    parts = ("unet",) if form == "dora" else PARTS[model]
    trainer, suffixes = ("kohya", KOHYA) if form == "kohya" else ("diffusers", PEFT)
    alpha = 2.0 if form == "kohya" else None
    tensors = random_lora(plain, components=parts, trainer=trainer, suffixes=suffixes, alpha=alpha, only=in_attentions)
    if model == "sdxl" and form == "kohya":
        tensors = {name.replace("lora_te_", "lora_te1_"): tensor for name, tensor in tensors.items()}
    tensors = decomposed(plain, tensors) if form == "dora" else tensors
    path = write(tmp_path / "models", "fur", tensors)
    diffusers: Any = importlib.import_module("diffusers")
    pipeline: Any = getattr(diffusers, PIPELINES[model]).from_pretrained(folder, torch_dtype=torch.float32)
    pipeline.load_lora_weights(str(path.parent), weight_name=path.name)
    pipeline.fuse_lora(components=list(parts), lora_scale=1.0 if form == "dora" else WEIGHT)
    resolved = easel.resolve(adapters=(f"fur@{1.0 if form == 'dora' else WEIGHT}",))
    residency = Residency(means=Means(precision="float32"), plain=True)
    compared = 0
    for part in parts:
        other, mine = fused(pipeline, part), residency.network(resolved, part).state_dict()
        before = residency.network(plain, part).state_dict()
        for target, _ in layers_of(resolved, (part,)):
            right = other[target.theirs.removeprefix("text_model.")].reshape(mine[target.ours].shape)
            assert float((mine[target.ours] - right).abs().max()) <= NEAR * float(right.abs().max()), target.ours
            compared += not torch.equal(mine[target.ours], before[target.ours])
    assert compared == sum(name.endswith(suffixes[0]) for name in tensors)


def test_a_picture_equals_diffusers(
    easels: Easels, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, record_property: Callable[[str, object], None]
) -> None:
    folder = folder_of(easels, "sd1", tmp_path / "model")
    says(folder, "epsilon")
    easel = easel_for(tmp_path, "model")
    tensors = random_lora(easel.resolve(), components=PARTS["sd1"], only=in_attentions)
    write(tmp_path, "fur", tensors)
    noise = torch.randn((1, 4, SIZE[1] // 8, SIZE[0] // 8), generator=torch.Generator().manual_seed(5))
    fields = {"prompt": "a red apple on a blue background", "negative": "two dogs"}
    plain = ours(easel, None, noise, **fields)
    left = ours(easel, None, noise, adapters=(f"fur@{WEIGHT}",), **fields)
    diffusers: Any = importlib.import_module("diffusers")
    whole: Any = diffusers.StableDiffusionPipeline.from_pretrained(folder, torch_dtype=torch.float32)
    whole.load_lora_weights(str(tmp_path), weight_name="fur.safetensors")
    whole.fuse_lora(lora_scale=WEIGHT)
    monkeypatch.setattr(diffusers.StableDiffusionPipeline, "from_pretrained", lambda *_, **__: whole)
    right = theirs(folder, None, noise, monkeypatch, **fields)
    psnr = -10 * float(torch.log10(((left - right) ** 2).mean()))
    record_property("psnr", round(psnr, 2))
    print(f"{psnr:.2f} dB; without the adapter {-10 * float(torch.log10(((plain - right) ** 2).mean())):.2f} dB")
    assert psnr >= LEAST
    assert -10 * float(torch.log10(((plain - right) ** 2).mean())) < LEAST / 2


@pytest.mark.parametrize("rooted", [False, True], ids=["alpha", "rslora"])
def test_what_diffusers_writes_is_read(easels: Easels, tmp_path: Path, rooted: bool) -> None:
    folder = folder_of(easels, "sd1", tmp_path / "models" / "model")
    diffusers: Any = importlib.import_module("diffusers")
    peft: Any = importlib.import_module("peft")
    unet: Any = diffusers.UNet2DConditionModel.from_pretrained(folder, subfolder="unet")
    config = peft.LoraConfig(
        r=4,
        lora_alpha=6,
        init_lora_weights=False,
        use_rslora=rooted,
        target_modules=["to_q", "to_out.0", "conv1"],
        alpha_pattern={"mid_block.resnets.0.conv1": 3},
    )
    torch.manual_seed(1)
    unet.add_adapter(config)
    diffusers.StableDiffusionPipeline.save_lora_weights(
        tmp_path / "models",
        unet_lora_layers=peft.utils.get_peft_model_state_dict(unet),
        unet_lora_adapter_metadata=unet.peft_config["default"].to_dict(),
        weight_name="saved.safetensors",
    )
    unet.fuse_lora()
    other = {name.replace(".base_layer", ""): tensor for name, tensor in unet.state_dict().items()}
    resolved = easel_for(tmp_path / "models", "model").resolve(adapters=("saved",))
    mine = Residency(means=Means(precision="float32"), plain=True).network(resolved, "unet").state_dict()
    for target, _ in layers_of(resolved, ("unet",)):
        right = other[target.theirs].reshape(mine[target.ours].shape)
        assert float((mine[target.ours] - right).abs().max()) <= NEAR * float(right.abs().max()), target.ours
    assert resolved.notes[0].startswith("saved changes ")
