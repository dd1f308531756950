"""What the files of our own model say about its networks."""

from __future__ import annotations

from dataclasses import dataclass, replace

from pinxit.models.common.configs import ClipTextConfig, UNetConfig, VaeConfig
from pinxit.models.common.measured import clip_config, settings_of, unet_config, vae_config
from pinxit.models.common.prediction import Prediction
from pinxit.models.pinxit.folder import PREDICTION
from pinxit.schema.errors import BadModelFile
from pinxit.weights.identify import Match

TEXT = "text_encoder_2"
HEAD_WIDTH = 32
TEXT_HEAD_WIDTH = 64
SIZES = 6
"""Numbers in the size conditioning: original height and width, crop top and left, target height and width."""
REFINER_SIZES = 5
"""A refiner's: the score takes the place of the target."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PinxitConfig:
    """One checkpoint of our own family. `side` is the picture size it was trained at, in pixels.

    `sizes` counts the numbers that the U-Net is told beside the text: a refiner's are `REFINER_SIZES`.
    """

    unet: UNetConfig
    vae: VaeConfig | None
    text_encoder: ClipTextConfig | None
    prediction: Prediction
    side: int
    sizes: int = SIZES

    @property
    def is_refiner(self) -> bool:
        return self.sizes == REFINER_SIZES

    @property
    def size_embedding(self) -> int:
        """How wide each of the sizes is embedded."""
        return _beside_text(self.unet, self.text_encoder) // self.sizes


def config_from(match: Match) -> PinxitConfig:
    """The configuration of our own model. Raises BadModelFile where its parts contradict each other."""
    vae = vae_config(match)
    if vae is not None:
        groups = settings_of(match, "vae").integer("norm_num_groups") or max(1, vae.channels // 4)
        vae = replace(vae, norm_groups=groups)
    text = clip_config(match, activation="gelu", component=TEXT)
    side = settings_of(match, "unet").integer("sample_size")
    scale = 2 ** (len(vae.channel_mult) - 1) if vae else 16
    config = PinxitConfig(
        unet=unet_config(match, head_width=HEAD_WIDTH),
        vae=vae,
        text_encoder=text,
        prediction=PREDICTION,
        side=side * scale if side else 256,
    )
    width, beside = settings_of(match, "unet").integer("addition_time_embed_dim"), _beside_text(config.unet, text)
    if width * REFINER_SIZES == beside if width else beside % SIZES and not beside % REFINER_SIZES:
        config = replace(config, sizes=REFINER_SIZES)
    if text is not None and (config.size_embedding < 2 or config.size_embedding % 2):
        raise BadModelFile(
            f"The U-Net's added embedding takes {config.unet.adm_in_channels} numbers, which is not the pooled text "
            f"({text.projection}) and {config.sizes} sizes.",
            hint="The parts belong to different models.",
        )
    return config


def _beside_text(unet: UNetConfig, text: ClipTextConfig | None) -> int:
    """How many of the numbers that the U-Net is told beside its context are sizes."""
    return (unet.adm_in_channels or 0) - ((text.projection if text else None) or 0)
