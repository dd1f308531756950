"""Stable Diffusion's x4 upscaler: the small picture lies beside the latent, which has four pixels to a side."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

from pinxit.models.common.conditioned import conditioned_network
from pinxit.models.common.ldm_family import build_part, facts_of
from pinxit.models.common.sd2_line import LEFT_OUT, TEXT, encode, tokenizers
from pinxit.models.contract import Defaults, Facts, Family, LatentSpec, Writing
from pinxit.models.upscale4.config import BETAS, Upscale4Config, config_from
from pinxit.models.upscale4.folder import folder_files
from pinxit.models.upscale4.layout import LAYOUTS
from pinxit.sampling.process import Epsilon, Velocity
from pinxit.sampling.tables import cumulative, levels, scaled_linear_betas

LATENT = LatentSpec(channels=4, downscale=4, scale=0.08333)
DEFAULTS = Defaults(width=2048, height=2048, steps=20, sampler="dpmpp_2m", schedule=None, guidance=9.0)


@lru_cache(maxsize=1)
def noise_levels() -> tuple[float, ...]:
    """The 1,000 noise levels that this model was trained on, another table than that of its relatives."""
    return levels(cumulative(scaled_linear_betas(*BETAS)))


def facts(config: Upscale4Config) -> Facts:
    found = facts_of(
        config, latent=LATENT, defaults=DEFAULTS, text=TEXT, can_paint="the x4 upscaler needs a small picture"
    )
    process = Velocity if config.prediction.kind == "velocity" else Epsilon
    return replace(found, process=process(table=noise_levels()))


FAMILY = Family(
    name="upscale4",
    title="Stable Diffusion x4 upscaler",
    layouts=LAYOUTS,
    config_from=config_from,
    facts=facts,
    build=build_part,
    tokenizers=tokenizers,
    encoders=(TEXT,),
    encode=encode,
    network=conditioned_network,
    writing=Writing(files=lambda config: folder_files(config, LATENT), left_out=LEFT_OUT),
)
