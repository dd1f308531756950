"""Our own small model, built like SDXL with one text encoder (Podell et al. 2023) and trained by `pinxit train`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, cast

from pinxit.models.common.ldm_family import build_part, facts_of, size_ids, sized_network
from pinxit.models.contract import Defaults, Facts, Family, LatentSpec, Networks, Words, Writing
from pinxit.models.pinxit.config import REFINER_SIZES, TEXT, PinxitConfig, config_from
from pinxit.models.pinxit.folder import folder_files
from pinxit.models.pinxit.layout import LAYOUTS
from pinxit.prompts.chunks import Tokenizer
from pinxit.prompts.tokenizer import ClipTokenizer
from pinxit.sampling.denoiser import Conditioning, Network
from pinxit.schema.errors import BadModelFile, ModelError
from pinxit.weights.identify import Match

if TYPE_CHECKING:
    from torch import nn

STEPS = 16
GUIDANCE = 4.0
RESCALE = 0.2
INTERVAL = (0.3, 6.0)


def facts(config: PinxitConfig) -> Facts:
    vae = config.vae
    latent = LatentSpec(
        channels=config.unet.in_channels, downscale=2 ** (len(vae.channel_mult) - 1) if vae is not None else 16
    )
    defaults = Defaults(
        width=config.side,
        height=config.side,
        steps=STEPS,
        sampler="dpmpp_2m",
        schedule="sgm_uniform",
        guidance=GUIDANCE,
        rescale=RESCALE,
        interval=INTERVAL,
    )
    return facts_of(config, latent=latent, defaults=defaults, text=TEXT)


def _tokenizers(config: PinxitConfig, match: Match) -> Mapping[str, Tokenizer]:
    """The vocabulary beside the weights: in the folder's `tokenizer_2`, or in a single file's metadata."""
    del config
    if match.layout.folder:
        return {TEXT: ClipTokenizer.from_folder(match.header.path / "tokenizer_2")}
    metadata = match.header.metadata
    if "tokenizer.vocab" not in metadata or "tokenizer.merges" not in metadata:
        raise BadModelFile(
            f"{match.header.path.name} brings no vocabulary.", hint="Convert it again from the model's folder."
        )
    return {TEXT: ClipTokenizer.from_text(metadata["tokenizer.vocab"], metadata["tokenizer.merges"])}


def _encode(config: PinxitConfig, networks: Networks, words: Words) -> Conditioning:
    """Penultimate states without the final norm, the pooled projection, and the sizes; a refiner is told the score."""
    from pinxit.models.common.clip import ClipText
    from pinxit.models.common.text import encode_words

    sizes = size_ids(words.micro)
    if config.is_refiner:
        sizes = (*sizes[: REFINER_SIZES - 1], words.micro.score)
    tokens, pooled = encode_words(cast(ClipText, networks[TEXT]), words, TEXT, skip=2, normalise=False)
    return Conditioning(tokens=tokens, pooled=pooled, time_ids=sizes)


def _network(config: PinxitConfig, unet: nn.Module) -> Network:
    return sized_network(config.unet, unet, size_width=config.size_embedding)


def _files(config: PinxitConfig) -> Mapping[str, object]:
    if config.vae is None or config.text_encoder is None:
        raise ModelError("A folder of our own model needs its autoencoder and its text encoder.")
    return folder_files(
        unet=config.unet,
        vae=config.vae,
        text=config.text_encoder,
        side=config.side,
        size_embedding=config.size_embedding,
    )


def _metadata(config: PinxitConfig, match: Match) -> Mapping[str, str]:
    """The vocabulary: no other file has it."""
    tokenizer = _tokenizers(config, match)[TEXT]
    if not isinstance(tokenizer, ClipTokenizer):
        raise TypeError("our own model has a byte-pair tokenizer")
    vocab, merges = tokenizer.vocabulary.texts()
    return {"tokenizer.vocab": vocab, "tokenizer.merges": merges}


FAMILY = Family(
    name="pinxit",
    title="pinxit",
    layouts=LAYOUTS,
    config_from=config_from,
    facts=facts,
    build=build_part,
    tokenizers=_tokenizers,
    encoders=(TEXT,),
    encode=_encode,
    network=_network,
    writing=Writing(files=_files, metadata=_metadata),
)
