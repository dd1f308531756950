"""The built-in plugin: the one file that names every family, kind, adapter, sampler, schedule and noise we bring."""

from __future__ import annotations

from pinxit.adapters.contract import AdapterKind
from pinxit.adapters.lora import KIND as LORA_ADAPTER
from pinxit.models.clip_text.kind import KIND as CLIP_TEXT
from pinxit.models.clip_vision.kind import KIND as CLIP_VISION
from pinxit.models.contract import AnyFamily
from pinxit.models.controlnet.kind import KIND as CONTROLNET
from pinxit.models.embedding.kind import KIND as EMBEDDING
from pinxit.models.esrgan.kind import KIND as ESRGAN
from pinxit.models.hypernetwork.kind import KIND as HYPERNETWORK
from pinxit.models.ip_adapter.kind import KIND as IP_ADAPTER
from pinxit.models.kinds import AnyKind
from pinxit.models.lora.kind import KIND as LORA
from pinxit.models.pinxit.family import FAMILY as PINXIT
from pinxit.models.sd1.family import FAMILY as SD1
from pinxit.models.sd2.family import FAMILY as SD2
from pinxit.models.sd3.family import FAMILY as SD3
from pinxit.models.sdxl.family import FAMILY as SDXL
from pinxit.models.t2i_adapter.kind import KIND as T2I_ADAPTER
from pinxit.models.t5.kind import KIND as T5
from pinxit.models.taesd.kind import KIND as TAESD
from pinxit.models.unclip.family import FAMILY as UNCLIP
from pinxit.models.upscale2.family import FAMILY as UPSCALE2
from pinxit.models.upscale4.family import FAMILY as UPSCALE4
from pinxit.models.vae.kind import KIND as VAE
from pinxit.plugins.hookspecs import hookimpl
from pinxit.sampling.compat import NOISE_SOURCES, NoiseSpec
from pinxit.sampling.samplers import SAMPLERS, SamplerSpec
from pinxit.sampling.schedules import SCHEDULES, ScheduleSpec


@hookimpl
def register_families() -> list[AnyFamily]:
    return [PINXIT, SD1, SD2, SDXL, SD3, UNCLIP, UPSCALE2, UPSCALE4]


@hookimpl
def register_kinds() -> list[AnyKind]:
    networks = [VAE, TAESD, CONTROLNET, T2I_ADAPTER, IP_ADAPTER, ESRGAN, CLIP_VISION, CLIP_TEXT, T5]
    return [*networks, LORA, EMBEDDING, HYPERNETWORK]


@hookimpl
def register_adapters() -> list[AdapterKind]:
    return [LORA_ADAPTER]


@hookimpl
def register_samplers() -> list[SamplerSpec]:
    return list(SAMPLERS)


@hookimpl
def register_schedules() -> list[ScheduleSpec]:
    return list(SCHEDULES)


@hookimpl
def register_noises() -> list[NoiseSpec]:
    return list(NOISE_SOURCES)
