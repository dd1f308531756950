"""Requests and records as hypothesis draws them, and one plain record for examples."""

from __future__ import annotations

from hypothesis import strategies as st

from pinxit.schema.parts import (
    SEED_MAX,
    SIDE_MAX,
    SIDE_MIN,
    SIDE_STEP,
    AdapterUse,
    Blank,
    Extent,
    FromImage,
    ImageRef,
    Interval,
    Refine,
    Size,
)
from pinxit.schema.record import AdapterFacts, ModelFacts, ModelFile, Record, sigmas_sha256
from pinxit.schema.request import GenerationRequest

texts = st.text(st.characters(exclude_categories=["Cs", "Cc"]) | st.sampled_from("\n\t\r,:\"\\<>&'"), max_size=40)
names = st.text(st.characters(exclude_categories=["Cs", "Cc", "Zs", "Zl", "Zp"]), min_size=1, max_size=20)
model_names = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,20}(/[A-Za-z0-9_-]{1,10})?", fullmatch=True).filter(
    lambda name: ".." not in name.split("/")
)
sides = st.integers(SIDE_MIN // SIDE_STEP, SIDE_MAX // SIDE_STEP).map(lambda count: count * SIDE_STEP)
sizes = st.builds(Size, width=sides, height=sides)
seeds = st.integers(0, SEED_MAX) | st.integers(2**53 - 2, 2**53 + 2) | st.just(SEED_MAX)
hashes = st.text("0123456789abcdef", min_size=64, max_size=64)
intervals = st.builds(Interval, lo=st.floats(0, 10, allow_subnormal=True), hi=st.floats(10, 1e6, exclude_min=True))
file_names = st.sampled_from(["", "cat.png", "图 1.webp", "a:b.jpeg", "..."])
images = st.builds(ImageRef, sha256=hashes, name=file_names)
sources = st.builds(Blank) | st.builds(FromImage, image=images, strength=st.floats(0, 1))
extents = st.builds(Extent, width=st.integers(1, 32768), height=st.integers(1, 32768))
unit = st.none() | st.floats(0, 1)
adapters = st.builds(
    AdapterUse,
    kind=st.sampled_from(["lora", "other_kind"]),
    name=model_names | st.sampled_from(["fur@0.5", "lora_x", "a b", "图"]),
    weight=st.floats(-10, 10),
    text_weight=st.none() | st.floats(-10, 10),
)
levels = st.lists(st.floats(1e-6, 1e5), min_size=1, max_size=9, unique=True).map(
    lambda found: (*sorted(found, reverse=True), 0.0)
)
"""Noise levels as the request keeps them."""

requests = st.builds(
    GenerationRequest,
    prompt=texts,
    negative=texts,
    model=st.none() | names,
    size=st.none() | sizes,
    seed=st.none() | seeds,
    count=st.integers(1, 64),
    steps=st.none() | st.integers(1, 1000),
    sampler=st.none() | names,
    schedule=st.none() | names,
    guidance=st.none() | st.floats(0, 100),
    guidance_rescale=unit,
    guidance_interval=st.none() | intervals,
    cache=st.sampled_from([None, "off", "deep", "block"]),
    cache_interval=st.none() | st.integers(1, 10),
    cache_branch=st.none() | st.integers(0, 31),
    cache_threshold=unit,
    cache_center=unit,
    token_merging=st.none() | st.floats(0, 0.75),
    token_merging_levels=st.none() | st.integers(1, 8),
    source=sources,
    fit=st.sampled_from(["crop", "resize", "pad"]),
    format=st.sampled_from(["png", "jpeg", "webp"]),
    quality=st.integers(1, 100),
    eta=unit,
    s_churn=unit,
    s_tmin=unit,
    s_tmax=st.none() | st.floats(0, 1e6),
    s_noise=unit,
    clip_skip=st.none() | st.integers(1, 12),
    emphasis=st.none() | names,
    noise=st.none() | names,
    sigma_min=unit,
    sigma_max=st.none() | st.floats(0, 1e6),
    rho=st.none() | st.floats(0.01, 100),
    sigmas=st.none() | levels,
    discard_next_to_last=st.sampled_from([None, "yes", "no"]),
    dialect=st.none() | names,
    eta_noise_seed_delta=st.none() | st.integers(0, 2**53),
    timestep_rounding=st.sampled_from([None, "interpolated", "nearest"]),
    sampler_rules=st.sampled_from([None, "pinxit", "a1111", "comfyui", "diffusers"]),
    schedule_rules=st.sampled_from([None, "pinxit", "a1111", "comfyui", "diffusers"]),
    start_noise=st.sampled_from([None, "sigma", "root", "root_at_top"]),
    zero_snr_end=st.sampled_from([None, "a1111", "diffusers"]),
    adapters=st.lists(adapters, max_size=3).map(tuple),
    passes=st.lists(st.builds(Refine, model=model_names, switch=st.floats(0, 1)), max_size=1).map(tuple),
    original_size=st.none() | extents,
    crop_top=st.none() | st.integers(0, 32768),
    crop_left=st.none() | st.integers(0, 32768),
    target_size=st.none() | extents,
    aesthetic_score=st.none() | st.floats(0, 10),
    negative_aesthetic_score=st.none() | st.floats(0, 10),
    prediction=st.sampled_from([None, "epsilon", "velocity", "edm", "edm_velocity", "flow"]),
    zero_terminal_snr=st.sampled_from([None, "yes", "no"]),
    shift=st.none() | st.floats(0.01, 100),
    sigma_data=st.none() | st.floats(0.01, 100),
    empty_negative=st.sampled_from([None, "zeros", "model", "encode"]),
    handover=st.sampled_from([None, "time", "step"]),
)


def record_of(request: GenerationRequest) -> Record:
    """A record for `request`, which must be resolved."""
    return Record(
        engine="pinxit 0.1.0",
        request=request,
        model=ModelFacts(
            name=request.model or "",
            family="sd1",
            prediction="epsilon",
            files=(ModelFile(name="model.safetensors", sha256="ab" * 32),),
        ),
        passes=tuple(ModelFacts(name=one.model, family="sdxl", prediction="epsilon") for one in request.passes),
        adapters=tuple(
            AdapterFacts(name=one.name, files=(ModelFile(name="a.safetensors", sha256="cd" * 32),), short="0" * 12)
            for one in request.adapters
        ),
        sigmas_sha256=sigmas_sha256((14.5, 1.0, 0.0)),
        noise="philox",
        dtype="float32",
        threads=2,
        torch="2.13.0",
        numerics="cpu",
    )


@st.composite
def records(draw: st.DrawFn) -> Record:
    request = draw(requests)
    return record_of(
        request.replace(
            model=draw(model_names),
            size=draw(sizes),
            seed=draw(seeds),
            steps=draw(st.integers(1, 1000)),
            sampler=draw(names),
            schedule=draw(names),
            count=1,
        )
    )


EXAMPLE = GenerationRequest(
    prompt="a cat, oil painting",
    negative="blurry",
    model="tiny",
    size=Size(width=64, height=72),
    seed=7,
    steps=4,
    sampler="euler_ancestral",
    schedule="karras",
    guidance=7.5,
)
EXAMPLE_RECORD = record_of(EXAMPLE)
