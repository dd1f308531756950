"""Every sampler and schedule name that the field's programs send, as they spell it, and what it means here."""

from __future__ import annotations

import pytest

from pinxit.plugins.manager import build_catalog
from pinxit.sampling.choice import dialect_named, sampler_named, schedule_named
from pinxit.sampling.compat import NOISE_SOURCES
from pinxit.sampling.dialect import A1111, COMFYUI, DIALECTS, FINER
from pinxit.sampling.process import Epsilon, Velocity
from pinxit.sampling.samplers import SAMPLERS, SamplerOptions
from pinxit.sampling.schedules import SCHEDULES
from pinxit.sampling.tables import zero_terminal_levels
from pinxit.sampling.visits import automatic
from pinxit.schema.errors import BadInput, UnknownName
from pinxit.schema.methods import SAMPLER_NAMES, SCHEDULE_NAMES, label, method_named, plain_key
from pinxit.schema.methods import schedule_named as schedule_in_table

CATALOG = build_catalog()

SAMPLERS_SENT: dict[str, str] = {
    "A1111 and Forge": """
        DPM++ 2M = dpmpp_2m; DPM++ SDE = dpmpp_sde; DPM++ 2M SDE = dpmpp_2m_sde; DPM++ 2M SDE Heun = dpmpp_2m_sde_heun;
        DPM++ 2S a = dpmpp_2s_ancestral; DPM++ 3M SDE = dpmpp_3m_sde; Euler a = euler_ancestral; Euler = euler;
        LMS = lms; Heun = heun; DPM2 = dpm_2; DPM2 a = dpm_2_ancestral; DPM fast = dpm_fast;
        DPM adaptive = dpm_adaptive; Restart = restart; DDIM = ddim; DDIM CFG++ = euler_cfg_pp; PLMS = plms;
        UniPC = uni_pc; LCM = lcm; HeunPP2 = heunpp2; IPNDM = ipndm; IPNDM_V = ipndm_v; DEIS = deis; DDPM = ddpm;
        k_euler = euler; k_euler_a = euler_ancestral; k_euler_ancestral = euler_ancestral; k_dpmpp_2m = dpmpp_2m;
        k_dpmpp_sde = dpmpp_sde; k_dpmpp_2m_sde = dpmpp_2m_sde; k_dpmpp_2m_sde_heun = dpmpp_2m_sde_heun;
        k_dpmpp_2s_a = dpmpp_2s_ancestral; k_dpmpp_3m_sde = dpmpp_3m_sde; k_lms = lms; k_heun = heun; k_dpm_2 = dpm_2;
        k_dpm_2_a = dpm_2_ancestral; k_dpm_fast = dpm_fast; k_dpm_ad = dpm_adaptive; restart = restart; ddim = ddim;
        ddim_cfgpp = euler_cfg_pp; plms = plms; unipc = uni_pc; k_lcm = lcm""",
    "ComfyUI": """
        euler = euler; euler_cfg_pp = euler_cfg_pp; euler_ancestral = euler_ancestral;
        euler_ancestral_cfg_pp = euler_ancestral_cfg_pp; heun = heun; heunpp2 = heunpp2; dpm_2 = dpm_2;
        dpm_2_ancestral = dpm_2_ancestral; lms = lms; dpm_fast = dpm_fast; dpm_adaptive = dpm_adaptive;
        dpmpp_2s_ancestral = dpmpp_2s_ancestral; dpmpp_2s_ancestral_cfg_pp = dpmpp_2s_ancestral_cfg_pp;
        dpmpp_sde = dpmpp_sde; dpmpp_sde_gpu = dpmpp_sde; dpmpp_2m = dpmpp_2m; dpmpp_2m_cfg_pp = dpmpp_2m_cfg_pp;
        dpmpp_2m_sde = dpmpp_2m_sde; dpmpp_2m_sde_gpu = dpmpp_2m_sde; dpmpp_2m_sde_heun = dpmpp_2m_sde_heun;
        dpmpp_2m_sde_heun_gpu = dpmpp_2m_sde_heun; dpmpp_3m_sde = dpmpp_3m_sde; dpmpp_3m_sde_gpu = dpmpp_3m_sde;
        ddpm = ddpm; lcm = lcm; ipndm = ipndm; ipndm_v = ipndm_v; deis = deis; res_multistep = res_multistep;
        res_multistep_cfg_pp = res_multistep_cfg_pp; res_multistep_ancestral = res_multistep_ancestral;
        res_multistep_ancestral_cfg_pp = res_multistep_ancestral_cfg_pp; gradient_estimation = gradient_estimation;
        gradient_estimation_cfg_pp = gradient_estimation_cfg_pp; er_sde = er_sde; seeds_2 = seeds_2;
        seeds_3 = seeds_3; sa_solver = sa_solver; sa_solver_pece = sa_solver_pece; ddim = ddim; uni_pc = uni_pc;
        uni_pc_bh2 = uni_pc_bh2""",
    "InvokeAI": """
        ddim = ddim; ddpm = ddpm; deis = deis; deis_k = deis + karras; lms = lms; lms_k = lms + karras; pndm = plms;
        heun = heun; heun_k = heun + karras; euler = euler; euler_k = euler + karras; euler_a = euler_ancestral;
        kdpm_2 = dpm_2; kdpm_2_k = dpm_2 + karras; kdpm_2_a = dpm_2_ancestral;
        kdpm_2_a_k = dpm_2_ancestral + karras; dpmpp_2s = dpmpp_2s; dpmpp_2s_k = dpmpp_2s + karras;
        dpmpp_2m = dpmpp_2m; dpmpp_2m_k = dpmpp_2m + karras; dpmpp_2m_sde = dpmpp_2m_sde;
        dpmpp_2m_sde_k = dpmpp_2m_sde + karras; dpmpp_3m = dpmpp_3m; dpmpp_3m_k = dpmpp_3m + karras;
        dpmpp_sde = dpmpp_sde; dpmpp_sde_k = dpmpp_sde + karras; er_sde = er_sde; unipc = uni_pc;
        unipc_k = uni_pc + karras; lcm = lcm; tcd = tcd""",
    "stable-diffusion.cpp": """
        euler = euler; euler_a = euler_ancestral; heun = heun; dpm2 = dpm_2; dpm++2s_a = dpmpp_2s_ancestral;
        dpm++2m = dpmpp_2m; dpm++2mv2 = dpmpp_2m_v2; ipndm = ipndm; ipndm_v = ipndm_v; lcm = lcm;
        ddim_trailing = ddim + trailing; tcd = tcd; res_multistep = res_multistep; res_2s = res_2s; er_sde = er_sde;
        euler_cfg_pp = euler_cfg_pp; euler_a_cfg_pp = euler_ancestral_cfg_pp; euler_ge = gradient_estimation;
        dpm++2m_sde = dpmpp_2m_sde; dpm++2m_sde_bt = dpmpp_2m_sde; lms = lms""",
    "Fooocus": "tcd = tcd; restart = restart",
    "SD.Next": """
        DPM++ 1S = euler; DPM++ 3M = dpmpp_3m; DPM++ 2M EDM = dpmpp_2m; DPM++ EDM = dpmpp_2m; UniPC = uni_pc;
        DEIS = deis; SA Solver = sa_solver; ER-SDE 1M = er_sde_1; ER-SDE 2M = er_sde_2; ER-SDE 3M = er_sde;
        PNDM = plms; RES 2M = res_multistep; RES 2S = res_2s""",
    "diffusers": """
        DDIMScheduler = ddim; DDIMParallelScheduler = ddim; DDPMScheduler = ddpm; DDPMParallelScheduler = ddpm;
        DEISMultistepScheduler = deis; DPMSolverMultistepScheduler = dpmpp_2m; DPMSolverSinglestepScheduler = dpmpp_2s;
        DPMSolverSDEScheduler = dpmpp_sde; EDMEulerScheduler = euler; EDMDPMSolverMultistepScheduler = dpmpp_2m;
        EulerDiscreteScheduler = euler; EulerAncestralDiscreteScheduler = euler_ancestral;
        FlowMatchEulerDiscreteScheduler = euler; FlowMatchHeunDiscreteScheduler = heun; FlowMatchLCMScheduler = lcm;
        HeunDiscreteScheduler = heun; IPNDMScheduler = ipndm; KDPM2DiscreteScheduler = dpm_2;
        KDPM2AncestralDiscreteScheduler = dpm_2_ancestral; LCMScheduler = lcm; LMSDiscreteScheduler = lms;
        PNDMScheduler = pndm_prk; SASolverScheduler = sa_solver; TCDScheduler = tcd;
        UniPCMultistepScheduler = uni_pc_bh2""",
    "Stability": """
        DDIM = ddim; DDPM = ddpm; K_DPMPP_2M = dpmpp_2m; K_DPMPP_2S_ANCESTRAL = dpmpp_2s_ancestral; K_DPM_2 = dpm_2;
        K_DPM_2_ANCESTRAL = dpm_2_ancestral; K_EULER = euler; K_EULER_ANCESTRAL = euler_ancestral; K_HEUN = heun;
        K_LMS = lms""",
    "names with their schedule": """
        DPM++ 2M Karras = dpmpp_2m + karras; DPM++ SDE Karras = dpmpp_sde + karras;
        DPM++ 2M SDE Karras = dpmpp_2m_sde + karras; DPM++ 2M SDE Exponential = dpmpp_2m_sde + exponential;
        DPM++ 2M SDE Heun Karras = dpmpp_2m_sde_heun + karras; DPM++ 3M SDE Exponential = dpmpp_3m_sde + exponential;
        DPM2 a Karras = dpm_2_ancestral + karras; LMS Karras = lms + karras;
        DPM++ 2S a Karras = dpmpp_2s_ancestral + karras;
        Euler A SGMUniform = euler_ancestral + sgm_uniform; DPM++ 2M Align Your Steps = dpmpp_2m + align_your_steps;
        dpmpp_2m_karras = dpmpp_2m + karras; k_dpmpp_2m_karras = dpmpp_2m + karras;
        Euler AYS = euler + align_your_steps""",
}
SCHEDULES_SENT: dict[str, str] = {
    "A1111 and Forge": """
        automatic = ; uniform = normal; karras = karras; exponential = exponential; polyexponential = polyexponential;
        sgm_uniform = sgm_uniform; SGM Uniform = sgm_uniform; kl_optimal = kl_optimal; KL Optimal = kl_optimal;
        align_your_steps = align_your_steps; Align Your Steps = align_your_steps; simple = simple; normal = normal;
        ddim = ddim_uniform; DDIM = ddim_uniform; beta = beta; turbo = turbo; align_your_steps_GITS = gits;
        align_your_steps_11 = align_your_steps; align_your_steps_32 = align_your_steps_32; Automatic = ;
        Uniform = normal; Polyexponential = polyexponential""",
    "ComfyUI": """
        simple = simple; sgm_uniform = sgm_uniform; karras = karras; exponential = exponential;
        ddim_uniform = ddim_uniform; beta = beta; normal = normal; linear_quadratic = linear_quadratic;
        kl_optimal = kl_optimal; PolyexponentialScheduler = polyexponential; LaplaceScheduler = laplace;
        SDTurboScheduler = turbo; BetaSamplingScheduler = beta; VPScheduler = vp;
        AlignYourStepsScheduler = align_your_steps; GITSScheduler = gits; bong_tangent = bong_tangent;
        beta57 = beta57""",
    "stable-diffusion.cpp": """
        discrete = normal; karras = karras; exponential = exponential; ays = align_your_steps; gits = gits;
        sgm_uniform = sgm_uniform; simple = simple; smoothstep = smoothstep; kl_optimal = kl_optimal; lcm = lcm;
        bong_tangent = bong_tangent; beta = beta; default = """,
    "Fooocus": """
        turbo = turbo; align_your_steps = align_your_steps; lcm = lcm; tcd = lcm; edm_playground_v2.5 = karras""",
    "diffusers": "linspace = normal; leading = leading; trailing = trailing",
}
NOT_OFFERED = {
    "[Forge] Flux Realistic": ("Forge", "euler"),
    "DDIMInverseScheduler": ("diffusers", "ddim"),
    "DPMSolverMultistepInverseScheduler": ("diffusers", "dpmpp_2m"),
    "CosineDPMSolverMultistepScheduler": ("diffusers", "dpmpp_2m_sde"),
    "SCMScheduler": ("diffusers", "lcm"),
    "ConsistencyDecoderScheduler": ("diffusers", "lcm"),
    "UnCLIPScheduler": ("diffusers", "ddpm"),
    "RePaintScheduler": ("diffusers", "ddpm"),
    "DPM++ Cosine": ("diffusers", "dpmpp_2m_sde"),
    "DPM++ Inverse": ("diffusers", "dpmpp_2m"),
    "DC Solver": ("SD.Next", "uni_pc"),
    "TDD": ("SD.Next", "tcd"),
    "PeRFlow": ("SD.Next", "tcd"),
    "UFOGen": ("SD.Next", "lcm"),
    "CMSI": ("diffusers", "lcm"),
    "VDM": ("diffusers", "ddpm"),
    "BDIA-DDIM": ("diffusers", "ddim"),
    "ABNorsett 2M": ("RES4LYF", "res_multistep"),
    "Lawson 2S": ("RES4LYF", "res_multistep"),
    "ETD-RK 3": ("RES4LYF", "res_2s"),
    "RK44": ("RES4LYF", "heunpp2"),
    "RK57": ("RES4LYF", "heunpp2"),
    "RK67": ("RES4LYF", "heunpp2"),
    "Lobatto IIIA": ("RES4LYF", "heunpp2"),
    "Radau IIA": ("RES4LYF", "heunpp2"),
    "Gauss-Legendre": ("RES4LYF", "heunpp2"),
    "RES 3S": ("RES4LYF", "res_2s"),
}
SCHEDULES_NOT_OFFERED = {
    "OptimalStepsScheduler": ("ComfyUI", "align_your_steps"),
    "ltx2": ("stable-diffusion.cpp", "simple"),
    "logit_normal": ("stable-diffusion.cpp", "simple"),
    "flux": ("stable-diffusion.cpp", "simple"),
    "flux2": ("stable-diffusion.cpp", "simple"),
}


def rows(table: dict[str, str]) -> list[tuple[str, str]]:
    pairs = [row.split(" = ", 1) for text in table.values() for row in f"{text} ".replace("\n", " ").split(";")]
    return [(name.strip(), meaning.strip()) for name, meaning in pairs]


@pytest.mark.parametrize(("name", "meaning"), rows(SAMPLERS_SENT))
def test_a_sampler_that_a_client_sends(name: str, meaning: str) -> None:
    wanted, _, schedule = meaning.partition(" + ")
    for spelling in (name, name.upper(), name.lower(), name.replace("_", "-"), f" {name} "):
        sampler, implied = sampler_named(spelling, CATALOG.samplers, CATALOG.schedules)
        assert (sampler.name, implied.name if implied else "") == (wanted, schedule)
    method = method_named(name)
    assert method is not None
    assert (method.sampler, method.schedule or "") == (wanted, schedule)


@pytest.mark.parametrize(("name", "wanted"), rows(SCHEDULES_SENT))
def test_a_schedule_that_a_client_sends(name: str, wanted: str) -> None:
    for spelling in (name, name.upper(), name.replace("_", " ")):
        found = schedule_named(spelling, CATALOG.schedules)
        assert (found.name if found else "") == wanted
    assert (schedule_in_table(name) or "") == wanted


@pytest.mark.parametrize("name", NOT_OFFERED)
def test_a_foreign_sampler_is_refused_with_the_nearest(name: str) -> None:
    program, near = NOT_OFFERED[name]
    with pytest.raises(BadInput) as raised:
        sampler_named(name, CATALOG.samplers, CATALOG.schedules)
    assert str(raised.value) == f"pinxit does not offer {name!r}, a sampler of {program}. The nearest it has is {near}."
    assert raised.value.field == "sampler"
    assert near in CATALOG.samplers


@pytest.mark.parametrize("name", SCHEDULES_NOT_OFFERED)
def test_a_foreign_schedule_is_refused_with_the_nearest(name: str) -> None:
    program, near = SCHEDULES_NOT_OFFERED[name]
    with pytest.raises(BadInput) as raised:
        schedule_named(name, CATALOG.schedules)
    assert (
        str(raised.value) == f"pinxit does not offer {name!r}, a schedule of {program}. The nearest it has is {near}."
    )
    assert near in CATALOG.schedules


def test_unknown_names_are_told_with_the_nearest() -> None:
    with pytest.raises(UnknownName, match=r"There is no sampler named 'DPM\+\+ 9M'\. Did you mean 'DPM\+\+ "):
        sampler_named("DPM++ 9M", CATALOG.samplers, CATALOG.schedules)
    with pytest.raises(UnknownName, match=r"There is no schedule named 'karrass'\. Did you mean 'karras'"):
        schedule_named("karrass", CATALOG.schedules)
    with pytest.raises(
        UnknownName, match=r"There is no sampler named 'zzz'\. Known: ddim, ddpm, deis, .*uni_pc_bh2\.$"
    ):
        sampler_named("zzz", CATALOG.samplers, CATALOG.schedules)
    with pytest.raises(UnknownName, match=r"There is no dialect named 'comfi'\. Did you mean 'comfyui' or 'comfy'"):
        dialect_named("comfi")


def test_the_table_names_what_there_is_and_nothing_twice() -> None:
    assert {row.name for row in SAMPLER_NAMES} <= {spec.name for spec in SAMPLERS}
    assert {row.name for row in SCHEDULE_NAMES} == {spec.name for spec in SCHEDULES}
    for table in (SAMPLER_NAMES, SCHEDULE_NAMES):
        owners = [(plain_key(name), row.name) for row in table for name in (row.name, *row.all)]
        assert len({key for key, _ in owners}) == len(set(owners))
    assert len(SAMPLERS) >= 45
    assert len(SCHEDULES) >= 22


@pytest.mark.parametrize("spec", SAMPLERS, ids=lambda spec: spec.name)
def test_a1111_labels_come_back(spec: SamplerOptions) -> None:
    name = spec.name  # pyright: ignore[reportAttributeAccessIssue]
    written = label("sampler", name, "a1111")
    if written is not None:
        assert sampler_named(written, CATALOG.samplers, CATALOG.schedules)[0].name == name


@pytest.mark.parametrize(
    ("names", "schedule"),
    [
        ("dpmpp_2m dpmpp_sde dpmpp_2s_ancestral dpm_2 dpm_2_ancestral restart", "karras"),
        ("dpmpp_2m_sde dpmpp_2m_sde_heun dpmpp_3m_sde", "exponential"),
        ("euler euler_ancestral heun lms dpm_fast dpm_adaptive ddim plms uni_pc", "normal"),
    ],
)
def test_the_automatic_rule_of_a1111(names: str, schedule: str) -> None:
    for name in names.split():
        preferred = CATALOG.samplers.get(name).schedule
        assert automatic(preferred, Epsilon(), A1111.automatic) == schedule
        assert automatic(preferred, Velocity(table=zero_terminal_levels()), A1111.automatic) == "sgm_uniform"
        assert automatic(preferred, Epsilon(), COMFYUI.automatic) == "normal"


def test_what_each_dialect_discards() -> None:
    for spec in SAMPLERS:
        assert A1111.discards_of(spec.name, usual=spec.discard_next_to_last) == (
            spec.name in ("dpmpp_3m_sde", "dpm_2", "dpm_2_ancestral")
        )


@pytest.mark.parametrize("spec", DIALECTS, ids=lambda spec: spec.name)
def test_a_dialect_names_what_there_is(spec: object) -> None:
    from pinxit.prompts.grammar import dialect

    found = dialect_named(spec.name)  # pyright: ignore[reportAttributeAccessIssue]
    assert found is spec
    assert {getattr(found, name) for name in FINER}
    assert dialect(found.emphasis).name == found.emphasis
    assert found.noise in {source.name for source in NOISE_SOURCES}
    assert set(found.options) | (found.discards or set()) <= {sampler.name for sampler in SAMPLERS}
    fields = SamplerOptions.__dataclass_fields__
    assert all(set(options) <= set(fields) for options in found.options.values())
