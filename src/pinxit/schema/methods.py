"""The names by which the field's programs know our samplers and schedules: one table for every door.

A row holds our name and, for each program, its names: the one it writes first, further ones after a bar. Names are
compared without case, spaces and punctuation, and `+` counts as `p`: `DPM++ 2M`, `dpmpp_2m` and `dpm++2m` are one name.
`FOREIGN` lists what others offer and we do not, each with the nearest that we do.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, fields
from functools import lru_cache

AUTOMATIC = ("automatic", "auto", "default")
"""Words for a schedule that is left to the rule of the sampler and the model."""


@dataclass(frozen=True, slots=True)
class Names:
    """One of our methods under the names of others. A1111's stand for Forge too, `more` belongs to nobody special."""

    name: str
    a1111: str = ""
    comfyui: str = ""
    invokeai: str = ""
    diffusers: str = ""
    sdcpp: str = ""
    fooocus: str = ""
    stability: str = ""
    sdnext: str = ""
    more: str = ""

    def of(self, program: str) -> tuple[str, ...]:
        """The names that one program (a field of this class) has for it, the one it writes first."""
        return _split(getattr(self, program))

    @property
    def all(self) -> tuple[str, ...]:
        """Every other spelling, once."""
        found = (name for entry in fields(self)[1:] for name in self.of(entry.name))
        return tuple(dict.fromkeys(name for name in found if name != self.name))


@dataclass(frozen=True, slots=True)
class Foreign:
    """A method of another program that has no equal here. `names` also stand for longer names that begin with them."""

    names: str
    program: str
    nearest: str

    def explains(self, key: str) -> bool:
        return any(key.startswith(plain_key(name)) for name in _split(self.names))


def _split(names: str) -> tuple[str, ...]:
    return tuple(names.split("|")) if names else ()


_IGNORED = re.compile(r"[\W_]+")


def plain_key(name: str) -> str:
    """What decides whether two spellings are one name: letters and digits, without case, `+` as `p`."""
    return _IGNORED.sub("", name.casefold().replace("+", "p"))


SAMPLER_NAMES: tuple[Names, ...] = (
    Names(
        "euler",
        a1111="Euler|k_euler",
        comfyui="euler|sample_euler",
        invokeai="euler",
        diffusers="EulerDiscreteScheduler|FlowMatchEulerDiscreteScheduler|EDMEulerScheduler|EulerDiscrete",
        sdcpp="euler",
        stability="K_EULER",
        sdnext="Euler|Euler FlowMatch|Euler EDM|DPM++ 1S",
    ),
    Names(
        "euler_ancestral",
        a1111="Euler a|k_euler_a|k_euler_ancestral",
        comfyui="euler_ancestral|sample_euler_ancestral",
        invokeai="euler_a",
        diffusers="EulerAncestralDiscreteScheduler|EulerAncestralDiscrete",
        sdcpp="euler_a",
        stability="K_EULER_ANCESTRAL",
        sdnext="Euler a",
    ),
    Names("euler_cfg_pp", a1111="DDIM CFG++|ddim_cfgpp", comfyui="euler_cfg_pp|k_euler_cfg_pp", sdcpp="euler_cfg_pp"),
    Names("euler_ancestral_cfg_pp", comfyui="euler_ancestral_cfg_pp", sdcpp="euler_a_cfg_pp"),
    Names(
        "heun",
        a1111="Heun|k_heun",
        comfyui="heun|sample_heun",
        invokeai="heun",
        diffusers="HeunDiscreteScheduler|FlowMatchHeunDiscreteScheduler|HeunDiscrete",
        sdcpp="heun",
        stability="K_HEUN",
        sdnext="Heun|Heun FlowMatch",
    ),
    Names("heunpp2", a1111="HeunPP2|Heun++", comfyui="heunpp2"),
    Names(
        "dpm_2",
        a1111="DPM2|k_dpm_2",
        comfyui="dpm_2|sample_dpm_2",
        invokeai="kdpm_2",
        diffusers="KDPM2DiscreteScheduler|KDPM2Discrete",
        sdcpp="dpm2",
        stability="K_DPM_2",
        sdnext="KDPM2",
    ),
    Names(
        "dpm_2_ancestral",
        a1111="DPM2 a|k_dpm_2_a",
        comfyui="dpm_2_ancestral|sample_dpm_2_ancestral",
        invokeai="kdpm_2_a",
        diffusers="KDPM2AncestralDiscreteScheduler|KDPM2AncestralDiscrete",
        stability="K_DPM_2_ANCESTRAL",
        sdnext="KDPM2 a",
    ),
    Names(
        "lms",
        a1111="LMS|k_lms",
        comfyui="lms|sample_lms",
        invokeai="lms",
        diffusers="LMSDiscreteScheduler|LMSDiscrete",
        sdcpp="lms",
        stability="K_LMS",
        sdnext="LMSD",
    ),
    Names("dpm_fast", a1111="DPM fast|k_dpm_fast", comfyui="dpm_fast|sample_dpm_fast"),
    Names("dpm_adaptive", a1111="DPM adaptive|k_dpm_ad|k_dpm_adaptive", comfyui="dpm_adaptive|sample_dpm_adaptive"),
    Names(
        "dpmpp_2s_ancestral",
        a1111="DPM++ 2S a|k_dpmpp_2s_a",
        comfyui="dpmpp_2s_ancestral|sample_dpmpp_2s_ancestral",
        sdcpp="dpm++2s_a",
        stability="K_DPMPP_2S_ANCESTRAL",
    ),
    Names("dpmpp_2s_ancestral_cfg_pp", comfyui="dpmpp_2s_ancestral_cfg_pp"),
    Names(
        "dpmpp_2s",
        invokeai="dpmpp_2s",
        diffusers="DPMSolverSinglestepScheduler|DPMSolverSinglestep",
        sdnext="DPM++ 2S",
        more="k_dpmpp_2s",
    ),
    Names(
        "dpmpp_sde",
        a1111="DPM++ SDE|k_dpmpp_sde",
        comfyui="dpmpp_sde|dpmpp_sde_gpu|sample_dpmpp_sde",
        invokeai="dpmpp_sde",
        diffusers="DPMSolverSDEScheduler|DPMSolverSDE",
        sdnext="DPM SDE",
    ),
    Names(
        "dpmpp_2m",
        a1111="DPM++ 2M|k_dpmpp_2m",
        comfyui="dpmpp_2m|sample_dpmpp_2m",
        invokeai="dpmpp_2m",
        diffusers="DPMSolverMultistepScheduler|EDMDPMSolverMultistepScheduler|DPMSolverMultistep",
        sdcpp="dpm++2m",
        stability="K_DPMPP_2M",
        sdnext="DPM++ 2M|DPM++ 2M EDM|DPM++ EDM",
    ),
    Names("dpmpp_2m_v2", sdcpp="dpm++2mv2"),
    Names("dpmpp_2m_cfg_pp", comfyui="dpmpp_2m_cfg_pp"),
    Names(
        "dpmpp_2m_sde",
        a1111="DPM++ 2M SDE|k_dpmpp_2m_sde",
        comfyui="dpmpp_2m_sde|dpmpp_2m_sde_gpu|sample_dpmpp_2m_sde",
        invokeai="dpmpp_2m_sde",
        sdcpp="dpm++2m_sde|dpm++2m_sde_bt",
        sdnext="DPM++ 2M SDE",
    ),
    Names(
        "dpmpp_2m_sde_heun",
        a1111="DPM++ 2M SDE Heun|k_dpmpp_2m_sde_heun",
        comfyui="dpmpp_2m_sde_heun|dpmpp_2m_sde_heun_gpu",
    ),
    Names(
        "dpmpp_3m_sde",
        a1111="DPM++ 3M SDE|k_dpmpp_3m_sde",
        comfyui="dpmpp_3m_sde|dpmpp_3m_sde_gpu|sample_dpmpp_3m_sde",
    ),
    Names("dpmpp_3m", invokeai="dpmpp_3m", sdnext="DPM++ 3M", more="k_dpmpp_3m"),
    Names("restart", a1111="Restart|restart", fooocus="restart", more="k_restart"),
    Names(
        "ddim",
        a1111="DDIM|ddim",
        comfyui="ddim",
        invokeai="ddim",
        diffusers="DDIMScheduler|DDIMParallelScheduler",
        stability="DDIM",
        sdnext="DDIM",
        more="k_ddim",
    ),
    Names(
        "ddpm",
        a1111="DDPM",
        comfyui="ddpm",
        invokeai="ddpm",
        diffusers="DDPMScheduler|DDPMParallelScheduler",
        stability="DDPM",
        more="k_ddpm",
    ),
    Names("plms", a1111="PLMS|plms", invokeai="pndm", sdnext="PNDM", more="k_plms"),
    Names("pndm_prk", diffusers="PNDMScheduler"),
    Names("uni_pc", a1111="UniPC|unipc", comfyui="uni_pc", invokeai="unipc", sdnext="UniPC", more="uni_pc_bh1"),
    Names("uni_pc_bh2", comfyui="uni_pc_bh2", diffusers="UniPCMultistepScheduler|UniPCMultistep"),
    Names(
        "lcm",
        a1111="LCM|k_lcm",
        comfyui="lcm",
        invokeai="lcm",
        diffusers="LCMScheduler|FlowMatchLCMScheduler",
        sdcpp="lcm",
        sdnext="LCM|LCM FlowMatch",
    ),
    Names("tcd", invokeai="tcd", diffusers="TCDScheduler", sdcpp="tcd", fooocus="tcd", sdnext="TCD", more="k_tcd"),
    Names("ipndm", a1111="IPNDM", comfyui="ipndm", diffusers="IPNDMScheduler", sdcpp="ipndm", sdnext="IPNDM"),
    Names("ipndm_v", a1111="IPNDM_V", comfyui="ipndm_v", sdcpp="ipndm_v"),
    Names(
        "deis",
        a1111="DEIS",
        comfyui="deis",
        invokeai="deis",
        diffusers="DEISMultistepScheduler|DEISMultistep",
        sdnext="DEIS",
    ),
    Names("res_multistep", comfyui="res_multistep", sdcpp="res_multistep", sdnext="RES 2M", more="RES"),
    Names("res_multistep_cfg_pp", comfyui="res_multistep_cfg_pp"),
    Names("res_multistep_ancestral", comfyui="res_multistep_ancestral"),
    Names("res_multistep_ancestral_cfg_pp", comfyui="res_multistep_ancestral_cfg_pp"),
    Names("res_2s", sdcpp="res_2s", sdnext="RES 2S"),
    Names("gradient_estimation", comfyui="gradient_estimation", sdcpp="euler_ge", more="GE"),
    Names("gradient_estimation_cfg_pp", comfyui="gradient_estimation_cfg_pp"),
    Names("er_sde", comfyui="er_sde", invokeai="er_sde", sdcpp="er_sde", sdnext="ER-SDE 3M"),
    Names("er_sde_1", sdnext="ER-SDE 1M"),
    Names("er_sde_2", sdnext="ER-SDE 2M"),
    Names("seeds_2", comfyui="seeds_2"),
    Names("seeds_3", comfyui="seeds_3"),
    Names("sa_solver", comfyui="sa_solver", diffusers="SASolverScheduler", sdnext="SA Solver"),
    Names("sa_solver_pece", comfyui="sa_solver_pece"),
)

SCHEDULE_NAMES: tuple[Names, ...] = (
    Names("karras", a1111="Karras", comfyui="karras|KarrasScheduler", sdcpp="karras", fooocus="edm_playground_v2.5"),
    Names(
        "exponential", a1111="Exponential", comfyui="exponential|ExponentialScheduler", sdcpp="exponential", more="lu"
    ),
    Names("polyexponential", a1111="Polyexponential", comfyui="PolyexponentialScheduler"),
    Names("normal", a1111="Normal|Uniform", comfyui="normal", diffusers="linspace", sdcpp="discrete", more="model"),
    Names("sgm_uniform", a1111="SGM Uniform|SGMUniform", comfyui="sgm_uniform", sdcpp="sgm_uniform"),
    Names("simple", a1111="Simple", comfyui="simple", sdcpp="simple"),
    Names("trailing", diffusers="trailing"),
    Names("leading", diffusers="leading"),
    Names("ddim_uniform", a1111="DDIM", comfyui="ddim_uniform"),
    Names("beta", a1111="Beta", comfyui="beta|BetaSamplingScheduler", sdcpp="beta"),
    Names("beta57", comfyui="beta57"),
    Names("linear_quadratic", comfyui="linear_quadratic"),
    Names("kl_optimal", a1111="KL Optimal", comfyui="kl_optimal", sdcpp="kl_optimal"),
    Names("laplace", comfyui="LaplaceScheduler"),
    Names("vp", comfyui="VPScheduler"),
    Names("turbo", a1111="Turbo", comfyui="SDTurboScheduler|SDTurbo", fooocus="turbo", more="SD Turbo"),
    Names("lcm", sdcpp="lcm", fooocus="lcm|tcd"),
    Names("smoothstep", sdcpp="smoothstep"),
    Names("bong_tangent", sdcpp="bong_tangent", comfyui="bong_tangent"),
    Names(
        "align_your_steps",
        a1111="Align Your Steps|align_your_steps_11|Align Your Steps 11",
        comfyui="AlignYourStepsScheduler|AYS",
        sdcpp="ays",
        fooocus="align_your_steps",
    ),
    Names("align_your_steps_32", a1111="Align Your Steps 32", more="AYS 32"),
    Names("gits", a1111="Align Your Steps GITS|align_your_steps_GITS", comfyui="GITSScheduler", sdcpp="gits"),
)

FOREIGN_SAMPLERS: tuple[Foreign, ...] = (
    Foreign("Flux Realistic|[Forge] Flux Realistic", "Forge", "euler"),
    Foreign("DDIMInverseScheduler|BDIA-DDIM", "diffusers", "ddim"),
    Foreign("DPMSolverMultistepInverseScheduler|DPM++ Inverse|DPM++ 2M Inverse", "diffusers", "dpmpp_2m"),
    Foreign("CosineDPMSolverMultistepScheduler|CosineDPM|DPM++ Cosine", "diffusers", "dpmpp_2m_sde"),
    Foreign("SCMScheduler|CMStochasticIterativeScheduler|ConsistencyDecoderScheduler|CMSI", "diffusers", "lcm"),
    Foreign("UnCLIPScheduler|RePaintScheduler|VDM", "diffusers", "ddpm"),
    Foreign("DC Solver", "SD.Next", "uni_pc"),
    Foreign("TDD|PeRFlow", "SD.Next", "tcd"),
    Foreign("UFOGen", "SD.Next", "lcm"),
    Foreign("ABNorsett|Lawson|RES 3M", "RES4LYF", "res_multistep"),
    Foreign("ETD-RK|RES 3S|RES 5S|RES 6S|RES 4S|RES 8S|RES 10S|RES 16S", "RES4LYF", "res_2s"),
    Foreign("RK44|RK57|RK67|Lobatto|Radau IIA|Gauss-Legendre", "RES4LYF", "heunpp2"),
)
FOREIGN_SCHEDULES: tuple[Foreign, ...] = (
    Foreign("OptimalStepsScheduler|optimal_steps", "ComfyUI", "align_your_steps"),
    Foreign("ltx2|logit_normal|flux2|flux", "stable-diffusion.cpp", "simple"),
)


@lru_cache(maxsize=1)
def _rows() -> dict[tuple[str, str], Names]:
    tables = {"sampler": SAMPLER_NAMES, "schedule": SCHEDULE_NAMES}
    return {
        (kind, plain_key(name)): row for kind, rows in tables.items() for row in rows for name in (row.name, *row.all)
    }


def sampler_aliases(name: str) -> tuple[str, ...]:
    """What other programs call our sampler `name`; empty for a plugin's."""
    row = _rows().get(("sampler", plain_key(name)))
    return row.all if row is not None and row.name == name else ()


def schedule_aliases(name: str) -> tuple[str, ...]:
    """The same for a schedule."""
    row = _rows().get(("schedule", plain_key(name)))
    return row.all if row is not None and row.name == name else ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Method:
    """Our sampler and the schedule that a name stands for; a schedule of None is left to the usual rule."""

    sampler: str
    schedule: str | None = None


def method_named(name: str) -> Method | None:
    """The built-in sampler of that name, with the schedule that the name implies; None for a name not in the table.

    `DPM++ 2M Karras` and `dpmpp_2m_karras` end in a schedule's name, InvokeAI's `dpmpp_2m_k` in a `k` for karras.
    """
    found = _rows().get(("sampler", plain_key(name)))
    if found is not None:
        return Method(sampler=found.name)
    for front, last in endings(name):
        sampler, schedule = _rows().get(("sampler", plain_key(front))), schedule_named(last)
        if sampler is not None and schedule is not None:
            return Method(sampler=sampler.name, schedule=schedule)
    return None


def endings(name: str) -> list[tuple[str, str]]:
    """Every way of cutting a name at a space, a dash or a low line: (front, last word or words), shortest end first."""
    cuts = [match.start() for match in re.finditer(r"[ _\-]+", name)]
    return [(name[:cut], name[cut:].strip(" _-")) for cut in reversed(cuts) if cut]


def schedule_named(name: str) -> str | None:
    """The built-in schedule of that name; None for a name not in the table. A lone `k` is InvokeAI's karras."""
    if name.casefold() == "k":
        return "karras"
    row = _rows().get(("schedule", plain_key(name)))
    return None if row is None else row.name


def label(kind: str, name: str, program: str) -> str | None:
    """What `program` writes for our method, None when it has no name for it. `kind` is sampler or schedule."""
    row = _rows().get((kind, plain_key(name)))
    known = row.of(program) if row is not None else ()
    return known[0] if known else None
