"""Stable Diffusion 2.x: OpenCLIP's text encoder, noise or velocity, 512 or 768 pixels."""

from __future__ import annotations

from pinxit.models.common.conditioned import conditioned_network
from pinxit.models.common.ldm_family import build_part, facts_of
from pinxit.models.common.sd2_line import LEFT_OUT, TEXT, encode, tokenizers
from pinxit.models.contract import Defaults, Facts, Family, LatentSpec, Writing
from pinxit.models.sd2.config import Sd2Config, config_from
from pinxit.models.sd2.folder import folder_files
from pinxit.models.sd2.layout import LAYOUTS

LATENT = LatentSpec(channels=4, downscale=8, scale=0.18215)


def facts(config: Sd2Config) -> Facts:
    side = 768 if config.prediction.kind == "velocity" else 512
    defaults = Defaults(width=side, height=side, steps=20, sampler="dpmpp_2m", schedule=None, guidance=7.0)
    needs = {
        "inpainting": "an inpainting model needs a picture and a mask",
        "depth": "a depth model needs a picture's depth",
    }
    return facts_of(
        config,
        latent=LATENT,
        defaults=defaults,
        text=TEXT,
        can_paint=needs.get(config.variant, ""),
        distilled=config.distilled,
    )


FAMILY = Family(
    name="sd2",
    title="Stable Diffusion 2.x",
    layouts=LAYOUTS,
    config_from=config_from,
    facts=facts,
    build=build_part,
    tokenizers=tokenizers,
    encoders=(TEXT,),
    encode=encode,
    network=conditioned_network,
    writing=Writing(
        files=lambda config: folder_files(config, LATENT),
        left_out=LEFT_OUT,
        markers=lambda config: ("ztsnr",) if config.prediction.zero_terminal_snr else (),
    ),
)
