"""What a file that no layout explains seems to be, so that its owner knows where it belongs.

What is whole and known is a family's or a kind's; here stand models of other programs, and the broken ones of ours.
"""

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


_DAMAGED = "It is no model by itself, and incomplete: download it again."
_WITH_MODEL = "It is one part of a model: give the folder or file that holds all of them."

LOOKS: tuple[Look, ...] = (
    Look("an IP-Adapter", (r"^ip_adapter\.|to_k_ip\.",), _DAMAGED),
    Look("a ControlNet", (r"^control_model\.|^controlnet_cond_embedding\.|input_hint_block\.",), _DAMAGED),
    Look("a T2I-Adapter", (r"^(adapter\.)?body\.\d+\.block1\.",), _DAMAGED),
    Look("an upscaler (ESRGAN)", (r"RDB1\.conv1|rdb1\.conv1",), _DAMAGED),
    Look("a Flux model", (r"double_blocks\.\d+\.img_attn",), "This family is not supported."),
    Look(
        "a Stable Diffusion 3 model", (r"joint_blocks\.0\.|^transformer/transformer_blocks\.0\.attn\.add_k_proj",), ""
    ),
    Look("a Stable Cascade model", (r"clip_txt_mapper|down_blocks\.1\.0\.channelwise",), ""),
    Look("a Stable Diffusion model in one file", (r"^model\.diffusion_model\.input_blocks\.",), ""),
    Look("a diffusers folder", (r"^unet/down_blocks\.",), ""),
    Look("the U-Net of a diffusers folder", (r"^down_blocks\.\d+\.resnets\.", r"^mid_block\."), _WITH_MODEL),
    Look("a U-Net without its text encoder and VAE", (r"^(diffusion_model\.)?input_blocks\.\d+\.",), _WITH_MODEL),
    Look("a VAE", (r"^(first_stage_model\.)?(encoder|decoder)\.(down|up|mid|conv_in|mid_block)",), _DAMAGED),
    Look("a T5 text encoder", (r"encoder\.block\.0\.layer\.0\.SelfAttention",), _WITH_MODEL),
    Look("a CLIP vision encoder", (r"^(vision_model|visual)\.",), _WITH_MODEL),
    Look("a CLIP text encoder", (r"text_model\.encoder\.layers\.|^transformer\.resblocks\.",), _WITH_MODEL),
    Look("a language model", (r"^(model|gpt_neox|transformer)\.(layers|h)\.\d+\.",), ""),
)
"""Most particular first."""

SHOWN = 200
"""Characters of a name that are looked at."""

_SHARD = re.compile(r"-(\d{5})-of-(\d{5})\.safetensors$")


def looks_like(header: Header) -> tuple[str, str]:
    """What `header` resembles, as a noun with its article, and a hint (may be empty)."""
    if not header.tensors:
        return "a file without any tensors", "Download it again."
    if shard := _SHARD.search(header.path.name):
        return f"shard {int(shard[1])} of {int(shard[2])}", "Give the .safetensors.index.json beside it."
    names = list(header.tensors)
    # One text with a name per line: a search over it costs a fraction of one per name, of which there may be 20,000.
    lines = "\n".join(name[:SHOWN] for name in names)
    for look in LOOKS:
        if all(re.search(pattern, lines, re.MULTILINE) for pattern in look.patterns):
            return look.noun, look.hint
    sample = ", ".join(ascii(name)[:60] for name in names[:3])
    return f"nothing that is known ({len(names)} tensors, such as {sample})", ""
