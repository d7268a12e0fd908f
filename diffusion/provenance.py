"""What a picture says about itself: how to paint it again, and that a machine painted it.

Promises: the `parameters` text is the one AUTOMATIC1111 writes and the whole field reads, and
`parse_params` gives back exactly the params that `parameters_text` was given, whatever Unicode the
prompt holds. The mark is IPTC's `DigitalSourceType = trainedAlgorithmicMedia` in an XMP packet.
Never imports torch; never names the requester.

## Why `Prompt length`
A prompt may itself hold a line that begins with `Negative prompt:`; then the text is ambiguous, and
only then a setting says how long the prompt is. Other readers ignore it.
"""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from types import MappingProxyType
from typing import Final
from xml.sax.saxutils import quoteattr

from diffusion.errors import ParamsError
from diffusion.names import SAMPLER_LABELS, SCHEDULE_LABELS, parse_sampler, parse_schedule
from diffusion.params import Params

SOURCE_TYPE: Final = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"

_NEGATIVE: Final = "Negative prompt: "
_SETTING: Final = re.compile(r'\s*(\w[\w \-/]+):\s*("(?:\\.|[^\\"])+"|[^,]*)(?:,|$)')
# A1111's own rule: fewer settings than this and the last line belongs to the prompt.
_FEWEST_SETTINGS: Final = 3


def software_name() -> str:
    """Return `Easel` and its version."""
    try:
        return f"Easel {version('easel')}"
    except PackageNotFoundError:
        return "Easel"


@dataclass(frozen=True, slots=True, kw_only=True)
class Provenance:
    """Where a picture comes from. index: 0 is the grid, from 1 on a tile."""

    params: Params
    job_id: str
    index: int
    model_name: str
    model_sha256: str | None
    software: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ParametersText:
    """A `parameters` text taken apart; settings as they stand there, by their A1111 names."""

    prompt: str
    negative_prompt: str
    settings: Mapping[str, str]


def parameters_text(provenance: Provenance) -> str:
    """Return the A1111 text: the prompt, the negative prompt, and one line of settings."""
    params = provenance.params
    settings = _settings(provenance)
    text = _join(params, settings)
    if parse_parameters(text) != _taken_apart(params, settings):
        settings["Prompt length"] = str(len(params.prompt))
        text = _join(params, settings)
    return text


def parse_parameters(text: str) -> ParametersText:
    """Take a `parameters` text apart, ours or A1111's; what is no setting is prompt."""
    body, _, last = text.rpartition("\n")
    found = _SETTING.findall(last)
    if len(found) < _FEWEST_SETTINGS:
        body, found = text, []
    settings = MappingProxyType({key: _unquoted(value) for key, value in found})
    length = settings.get("Prompt length", "")
    if length.isascii() and length.isdigit() and int(length[:9]) <= len(body):
        prompt, rest = body[: int(length[:9])], body[int(length[:9]) :]
    else:
        start = 0 if body.startswith(_NEGATIVE) else body.find("\n" + _NEGATIVE)
        prompt, rest = (body, "") if start < 0 else (body[:start], body[start:])
    negative = rest.removeprefix("\n").removeprefix(_NEGATIVE)
    return ParametersText(prompt=prompt, negative_prompt=negative, settings=settings)


def parse_params(text: str) -> Params:
    """Read a `parameters` text back into Params; a setting that is not there takes its default.

    A tile's text gives the params that paint this tile alone, or where `Params.alone` has none,
    those of its grid. Raises ParamsError, naming the field,
    when a setting is beyond what Easel takes.
    """
    parsed = parse_parameters(text)
    settings = parsed.settings
    values: dict[str, object] = {
        "prompt": parsed.prompt,
        "negative_prompt": parsed.negative_prompt,
        "images": 1,
    }
    for name, (label, read) in _READERS.items():
        if label in settings:
            try:
                values[name] = read(settings[label])
            except ValueError as error:
                raise ParamsError(name, settings[label], f"not readable as {label}") from error
    values |= _sampler_and_schedule(settings)
    if settings.get("Version", "").startswith("Easel"):
        # Elsewhere "Model" names a file of somebody's disk, here it is a model of this bot.
        values["model"] = settings.get("Alias", settings.get("Model"))
    if "Size" in settings:
        values |= _size(settings["Size"])
    if "init_image" not in values:
        values.pop("strength", None)
    if "hires" not in values:
        values.pop("hires_strength", None)
    # Params checks every value's type and limits.
    return Params(**values)  # type: ignore[arg-type]


def xmp_packet(provenance: Provenance) -> str:
    """Return the XMP packet that marks a picture as made by a trained algorithm."""
    return (
        '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>'
        '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF'
        ' xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description rdf:about=""'
        ' xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/"'
        ' xmlns:xmp="http://ns.adobe.com/xap/1.0/"'
        f" Iptc4xmpExt:DigitalSourceType={quoteattr(SOURCE_TYPE)}"
        f" xmp:CreatorTool={quoteattr(provenance.software)}/>"
        '</rdf:RDF></x:xmpmeta><?xpacket end="w"?>'
    )


def _settings(provenance: Provenance) -> dict[str, str]:
    index, params = provenance.index, provenance.params
    # What paints a tile by itself, where anything does.
    own = params.alone(index - 1) if index else params
    settings = {
        "Steps": str(params.steps),
        "Sampler": SAMPLER_LABELS[params.sampler],
        "Schedule type": SCHEDULE_LABELS[params.schedule],
        "CFG scale": _number(params.guidance_scale),
        "Seed": str(own.seed),
        "Size": f"{params.width}x{params.height}",
    }
    if provenance.model_sha256 is not None:
        settings["Model hash"] = provenance.model_sha256[:10]
    settings["Model"] = provenance.model_name
    if params.init_image is not None:
        settings["Denoising strength"] = _number(params.strength)
        settings["Init image"] = params.init_image
    if params.tile:
        settings["Tiling"] = "True"
    if params.stop != 100:
        settings["Stop"] = str(params.stop)
    settings |= _rare_settings(own)
    settings["Job"] = provenance.job_id
    settings["Index"] = str(index)
    if own is params:
        settings["Images"] = str(params.images)
    settings["Version"] = provenance.software
    if params.model != provenance.model_name:
        settings["Alias"] = params.model
    return settings


def _rare_settings(params: Params) -> dict[str, str]:
    """Return the settings that differ from their defaults, by A1111's names where it has them."""
    settings: dict[str, str] = {}
    if params.mask is not None:
        settings["Mask"] = params.mask
    if params.clip_skip:
        # A1111 counts the layer that is used, from the end.
        settings["Clip skip"] = str(params.clip_skip + 1)
    if params.guidance_rescale:
        settings["CFG Rescale"] = _number(params.guidance_rescale)
    if params.eta is not None:
        settings["Eta"] = _number(params.eta)
    if params.zero_negative is not None:
        settings["Zero negative"] = str(params.zero_negative)
    if params.hires != 1:
        settings["Hires upscale"] = _number(params.hires)
        settings["Hires strength"] = _number(params.hires_strength)
    if params.variation_seed is not None:
        settings["Variation seed"] = str(params.variation_seed)
        settings["Variation seed strength"] = _number(params.variation_strength)
    if params.controls:
        controls = [asdict(control) for control in params.controls]
        settings["Controls"] = json.dumps(controls, separators=(",", ":"), ensure_ascii=False)
    if params.chaos:
        settings["Chaos"] = str(params.chaos)
    if params.same_seed:
        settings["Same seed"] = "True"
    if params.morph:
        settings["Morph"] = json.dumps(params.morph, separators=(",", ":"), ensure_ascii=False)
    return settings


def _join(params: Params, settings: Mapping[str, str]) -> str:
    lines = [params.prompt]
    if params.negative_prompt:
        lines.append(_NEGATIVE + params.negative_prompt)
    lines.append(", ".join(f"{name}: {_quoted(value)}" for name, value in settings.items()))
    return "\n".join(lines)


def _taken_apart(params: Params, settings: Mapping[str, str]) -> ParametersText:
    return ParametersText(
        prompt=params.prompt,
        negative_prompt=params.negative_prompt,
        settings=MappingProxyType(dict(settings)),
    )


def _number(value: float) -> str:
    short = f"{value:g}"
    return short if float(short) == value else repr(value)


def _quoted(value: str) -> str:
    # A1111 quotes as JSON what its own line could not be read back from.
    if value and not re.search(r'[,:\n"\\]', value) and value == value.strip():
        return value
    return json.dumps(value, ensure_ascii=False)


def _unquoted(value: str) -> str:
    if len(value) > 1 and value[0] == value[-1] == '"':
        try:
            return str(json.loads(value))
        except ValueError:
            return value
    return value.strip()


def _sampler_and_schedule(settings: Mapping[str, str]) -> dict[str, object]:
    values: dict[str, object] = {}
    if "Sampler" in settings:
        label = settings["Sampler"]
        found = parse_sampler(label)
        if found is None:
            raise ParamsError("sampler", label, f"known are {', '.join(SAMPLER_LABELS.values())}")
        values["sampler"] = found[0]
        if found[1] is not None:
            values["schedule"] = found[1]
    label = settings.get("Schedule type", "Automatic")
    if label != "Automatic":
        schedule = parse_schedule(label)
        if schedule is None:
            known = ", ".join(SCHEDULE_LABELS.values())
            raise ParamsError("schedule", label, f"known are {known}")
        values["schedule"] = schedule
    return values


def _size(text: str) -> dict[str, object]:
    match = re.fullmatch(r"(\d{1,6})x(\d{1,6})", text, re.ASCII)
    if match is None:
        raise ParamsError("width", text, "Size must be written as 512x512")
    return {"width": int(match[1]), "height": int(match[2])}


def _whole(text: str) -> int:
    if not re.fullmatch(r"\d{1,20}", text, re.ASCII):
        raise ValueError(text)
    return int(text)


def _skipped(text: str) -> int:
    return _whole(text) - 1


def _listed(text: str) -> object:
    # Params checks what it says.
    return json.loads(text)


def _flag(text: str) -> bool:
    if text not in ("True", "False"):
        raise ValueError(text)
    return text == "True"


_READERS: Final[Mapping[str, tuple[str, Callable[[str], object]]]] = MappingProxyType(
    {
        "steps": ("Steps", _whole),
        "guidance_scale": ("CFG scale", float),
        "seed": ("Seed", _whole),
        "strength": ("Denoising strength", float),
        "init_image": ("Init image", str),
        "tile": ("Tiling", _flag),
        "stop": ("Stop", _whole),
        "images": ("Images", _whole),
        "mask": ("Mask", str),
        "clip_skip": ("Clip skip", _skipped),
        "guidance_rescale": ("CFG Rescale", float),
        "eta": ("Eta", float),
        "zero_negative": ("Zero negative", _flag),
        "hires": ("Hires upscale", float),
        "hires_strength": ("Hires strength", float),
        "variation_seed": ("Variation seed", _whole),
        "variation_strength": ("Variation seed strength", float),
        "controls": ("Controls", _listed),
        "chaos": ("Chaos", _whole),
        "same_seed": ("Same seed", _flag),
        "morph": ("Morph", _listed),
    }
)
