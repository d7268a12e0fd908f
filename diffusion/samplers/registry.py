"""The samplers by name, each with the conventions its reference implementations have."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Final

from diffusion.samplers import multistep, single, two_stage
from diffusion.samplers.coroutine import Noise, Sampling, Start, StirredStart, X
from diffusion.samplers.tracing import asked_levels
from diffusion.schedules.levels import Levels


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampler:
    """A sampler and the conventions it comes with.

    algorithm: the coroutine; stirred: the same where it takes the amount of fresh noise (eta, or
    TCD's gamma). variance_preserving: it starts from x_t as pure noise. multistep: it spaces its
    timesteps as DPM++ does. whole_timesteps: it visits whole timesteps only. needs_noise: it draws
    on its way.
    rounded, truncated: the spacings whose fractional timesteps it rounds or cuts before asking.
    end: which word of the checkpoint's schedule decides where it ends: "zero" (none, at 0),
    "alpha" (set_alpha_to_one), "sigma" (final_sigmas_type), "table" (always the lowest level).
    consistency: its own spacing is the grid consistency models were distilled on. own_levels: a
    checkpoint's wish for Karras or exponential levels is meant for it.
    """

    name: str
    algorithm: Start
    stirred: StirredStart | None = None
    variance_preserving: bool = False
    multistep: bool = False
    whole_timesteps: bool = False
    needs_noise: bool = False
    rounded: frozenset[str] = frozenset()
    truncated: frozenset[str] = frozenset()
    end: str = "zero"
    consistency: bool = False
    own_levels: bool = False

    def start(
        self, x: X, levels: Levels, noise: Noise[X], *, eta: float | None = None
    ) -> Sampling[X]:
        """Start it on x at the first of `levels`.

        eta: 0 is no fresh noise, None the reference's default; samplers without a choice ignore it.
        """
        if eta is None or self.stirred is None:
            return self.algorithm(x, levels, noise)
        return self.stirred(x, levels, noise, eta=eta)

    def asked(self, levels: Levels) -> tuple[float, ...]:
        """Return the noise level of every evaluation, in order."""
        return asked_levels(self.algorithm, levels)

    def evaluations(self, levels: Levels) -> int:
        """Return how often the network is asked."""
        return len(self.asked(levels))


def _discrete(
    name: str,
    algorithm: Start,
    *,
    stirred: StirredStart | None = None,
    end: str = "zero",
    needs_noise: bool = False,
) -> Sampler:
    return Sampler(
        name=name,
        algorithm=algorithm,
        stirred=stirred,
        variance_preserving=True,
        whole_timesteps=True,
        needs_noise=needs_noise,
        end=end,
    )


def _consistency(
    name: str, algorithm: Start, *, stirred: StirredStart | None = None, end: str
) -> Sampler:
    made = _discrete(name, algorithm, stirred=stirred, end=end, needs_noise=True)
    return replace(made, consistency=True)


def _multistep(
    name: str, algorithm: Start, *, stirred: StirredStart | None = None, end: str
) -> Sampler:
    return Sampler(
        name=name,
        algorithm=algorithm,
        stirred=stirred,
        variance_preserving=True,
        multistep=True,
        needs_noise=stirred is not None,
        rounded=frozenset({"karras"}),
        truncated=frozenset({"exponential"}),
        end=end,
        own_levels=True,
    )


def _karras_family(
    name: str,
    algorithm: Start,
    *,
    stirred: StirredStart | None = None,
    end: str = "zero",
    rounded: frozenset[str] = frozenset(),
    own_levels: bool = True,
) -> Sampler:
    return Sampler(
        name=name,
        algorithm=algorithm,
        stirred=stirred,
        needs_noise=stirred is not None,
        rounded=rounded,
        end=end,
        own_levels=own_levels,
    )


_KARRAS: Final = frozenset({"karras"})
_SAMPLERS: Final = (
    _discrete("ddpm", single.ddpm, needs_noise=True),
    _discrete("ddim", single.ddim, stirred=single.ddim, end="alpha"),
    _discrete("plms", multistep.plms, end="alpha"),
    _karras_family("euler", single.euler, end="sigma"),
    _karras_family("euler_a", single.euler_a, stirred=single.euler_a, own_levels=False),
    _karras_family("heun", two_stage.heun),
    _karras_family("lms", multistep.lms),
    _karras_family("dpm2", two_stage.dpm2, rounded=_KARRAS),
    _karras_family("dpm2_a", two_stage.dpm2_a, stirred=two_stage.dpm2_a, rounded=_KARRAS),
    _karras_family("dpmpp_2s_a", two_stage.dpmpp_2s_a, stirred=two_stage.dpmpp_2s_a),
    _multistep("dpmpp_2m", multistep.dpmpp_2m, end="sigma"),
    _karras_family("dpmpp_sde", two_stage.dpmpp_sde, stirred=two_stage.dpmpp_sde),
    _multistep("dpmpp_2m_sde", multistep.dpmpp_2m_sde, stirred=multistep.dpmpp_2m_sde, end="sigma"),
    _multistep("dpmpp_3m_sde", multistep.dpmpp_3m_sde, stirred=multistep.dpmpp_3m_sde, end="sigma"),
    _multistep("unipc", multistep.unipc, end="sigma"),
    _multistep("deis", multistep.deis, end="table"),
    _consistency("lcm", single.lcm, end="zero"),
    _consistency("tcd", single.tcd, stirred=single.tcd, end="table"),
)
SAMPLERS: Final[Mapping[str, Sampler]] = MappingProxyType({one.name: one for one in _SAMPLERS})
