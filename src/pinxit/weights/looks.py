"""What a file that no layout explains seems to be, so that its owner knows where it belongs."""

from __future__ import annotations

import re
from dataclasses import dataclass

from pinxit.weights.header import Header


@dataclass(frozen=True, slots=True)
class Look:
    """A kind of file: every pattern must be found in some tensor's name (a regular expression)."""

    noun: str
    patterns: tuple[str, ...]
    hint: str


_ADAPTER = "Use it with --adapter beside a model, not as the model."
_WITH_MODEL = "It is one part of a model: give the folder or file that holds all of them."

LOOKS: tuple[Look, ...] = (
    Look("a LoRA", (r"lora_(up|down|mid|A|B|linear_layer|unet|te)|\.lora\.(up|down)|_lora\.(up|down)",), _ADAPTER),
    Look("a LoHa adapter (LyCORIS)", (r"\.hada_w1_a$",), _ADAPTER),
    Look("a LoKr adapter (LyCORIS)", (r"\.lokr_w[12]",), _ADAPTER),
    Look("an OFT or BOFT adapter", (r"\.oft_(blocks|diag)",), _ADAPTER),
    Look("an IP-Adapter", (r"^ip_adapter\.|to_k_ip\.",), _ADAPTER),
    Look("a ControlNet", (r"^control_model\.|^controlnet_cond_embedding\.|input_hint_block\.",), _ADAPTER),
    Look("a T2I-Adapter", (r"^(adapter\.)?body\.\d+\.block1\.",), _ADAPTER),
    Look(
        "a textual inversion embedding",
        (r"^(emb_params|clip_[lg]|text_encoders_[01]|<.*>|string_to_param.*)$",),
        _ADAPTER,
    ),
    Look("a hypernetwork", (r"^\d+\.[01]\.linear",), _ADAPTER),
    Look("an upscaler (ESRGAN)", (r"RDB1\.conv1|rdb1\.conv1",), "Use it with --upscaler."),
    Look("a Flux model", (r"double_blocks\.\d+\.img_attn",), "This family is not supported."),
    Look(
        "a Stable Diffusion 3 model", (r"joint_blocks\.0\.|^transformer/transformer_blocks\.0\.attn\.add_k_proj",), ""
    ),
    Look("a Stable Cascade model", (r"clip_txt_mapper|down_blocks\.1\.0\.channelwise",), ""),
    Look("a Stable Diffusion model in one file", (r"^model\.diffusion_model\.input_blocks\.",), ""),
    Look("a diffusers folder", (r"^unet/down_blocks\.",), ""),
    Look("the U-Net of a diffusers folder", (r"^down_blocks\.\d+\.resnets\.", r"^mid_block\."), _WITH_MODEL),
    Look("a U-Net without its text encoder and VAE", (r"^(diffusion_model\.)?input_blocks\.\d+\.",), _WITH_MODEL),
    Look(
        "a VAE", (r"^(first_stage_model\.)?(encoder|decoder)\.(down|up|mid|conv_in|mid_block)",), "Use it with --vae."
    ),
    Look("a T5 text encoder", (r"encoder\.block\.0\.layer\.0\.SelfAttention",), _WITH_MODEL),
    Look("a CLIP vision encoder", (r"^(vision_model|visual)\.",), _WITH_MODEL),
    Look("a CLIP text encoder", (r"text_model\.encoder\.layers\.|^transformer\.resblocks\.",), _WITH_MODEL),
    Look("a language model", (r"^(model|gpt_neox|transformer)\.(layers|h)\.\d+\.",), ""),
)
"""Most particular first."""

_SHARD = re.compile(r"-(\d{5})-of-(\d{5})\.safetensors$")


def looks_like(header: Header) -> tuple[str, str]:
    """What `header` resembles, as a noun with its article, and a hint (may be empty)."""
    if not header.tensors:
        return "a file without any tensors", "Download it again."
    if shard := _SHARD.search(header.path.name):
        return f"shard {int(shard[1])} of {int(shard[2])}", "Give the .safetensors.index.json beside it."
    names = list(header.tensors)
    for look in LOOKS:
        if all(any(re.search(pattern, name) for name in names) for pattern in look.patterns):
            return look.noun, look.hint
    sample = ", ".join(ascii(name)[:60] for name in names[:3])
    return f"nothing that is known ({len(names)} tensors, such as {sample})", ""
