"""What people read in lists of what this server has, and how each thing is typed.

Promises what `bot.texts` promises. Names come from an admin's files and are escaped all the same.
"""

from collections.abc import Sequence
from types import MappingProxyType
from typing import Final

from bot.config_models import PresetConfig
from bot.escape import ALT_LIMIT, MESSAGE_LIMIT, code, cut_utf16, escape, plain
from bot.language import mark, tr
from bot.presets import in_template
from bot.prompt.samplers import sampler_label, schedule_label
from diffusion import ModelInfo

EXAMPLE: Final = "a red fox"

_HEADS: Final = MappingProxyType(
    {
        "models": mark("**Models**; ask for one with `--model`:"),
        "loras": mark("**LoRAs and embeddings**; they stand among the words of a prompt:"),
        "presets": mark("**Style templates**; ask for one with `--preset`:"),
    }
)
_NONE: Final = MappingProxyType(
    {
        "models": mark("This server has no models."),
        "loras": mark(
            "This server has no LoRAs and no embeddings. Its admin names a folder of them in the "
            "settings."
        ),
        "presets": mark(
            "This server has no style templates. Its admin writes them into the settings."
        ),
    }
)


def page(which: str, lines: Sequence[str], *, search: str, page: int, pages: int) -> str:
    """Show one page of a list."""
    if not lines and search:
        return tr("Nothing here is called {search}.", search=code(search, 80))
    if not lines:
        return tr(_NONE[which])
    foot = [] if pages == 1 else [tr("Page {page} of {pages}", page=page, pages=pages)]
    return cut_utf16("\n".join([tr(_HEADS[which]), *lines, *foot]), MESSAGE_LIMIT)


def no_such_list() -> str:
    """Answer a button of a list that there is not."""
    return tr("There is no such list here any more.")


def model_line(alias: str, info: ModelInfo, *, is_default: bool) -> str:
    """Show a model: how it is typed, what it is, its size."""
    line = tr(
        "{typed} {name}, {width} × {height}",
        typed=code(f"--model {alias}", 60),
        name=escape(info.name, 80),
        width=info.native_width,
        height=info.native_height,
    )
    return tr("{line} · what a prompt without --model gets", line=line) if is_default else line


def model_about(alias: str, info: ModelInfo) -> str:
    """Show all about a model."""
    defaults = info.defaults
    lines = [
        model_line(alias, info, is_default=False),
        tr("Family: {family}", family=escape(info.family, 80)),
        tr(
            "Its own settings: {steps} steps, guidance {guidance}, {sampler}, {schedule}",
            steps=defaults.steps,
            guidance=f"{defaults.guidance_scale:.12g}",
            sampler=sampler_label(defaults.sampler),
            schedule=schedule_label(defaults.schedule),
        ),
        tr("For example: {example}", example=code(f"/imagine {EXAMPLE} --model {alias}", 120)),
    ]
    if info.sha256 is not None:
        lines.insert(2, tr("SHA-256: {hash}", hash=code(info.sha256, 64)))
    return cut_utf16("\n".join(lines), MESSAGE_LIMIT)


def lora_line(name: str, model: str) -> str:
    """Show a LoRA: how it is typed, and for which model."""
    typed = code(f"{EXAMPLE} <lora:{name}:0.8>", 120)
    return tr("{typed} for {model}", typed=typed, model=code(model, 40))


def embedding_line(name: str, model: str) -> str:
    """Show an embedding: how it is typed, and for which model."""
    typed = code(f"{EXAMPLE}, embedding:{name}", 120)
    return tr("{typed} for {model}", typed=typed, model=code(model, 40))


def preset_line(name: str, template: str, *, about: str) -> str:
    """Show a style template: how it is typed, and what it does to a prompt."""
    what = code(template, 120) if not about else f"{escape(about, 100)} · {code(template, 80)}"
    return f"{code(f'--preset {name}', 60)} {what}"


def preset_about(name: str, preset: PresetConfig) -> str:
    """Show all about a style template, with what it makes of an example."""
    made = in_template(preset.prompt, EXAMPLE)
    lines = [
        preset_line(name, preset.prompt, about=preset.about),
        tr("It makes {made} of {prompt}.", made=code(made, 700), prompt=code(EXAMPLE)),
    ]
    if preset.negative:
        lines.append(tr("It keeps out: {negative}", negative=code(preset.negative, 400)))
    if preset.flags:
        lines.append(tr("It sets: {flags}", flags=code(preset.flags, 200)))
    lines.append(
        tr("For example: {example}", example=code(f"/imagine {EXAMPLE} --preset {name}", 120))
    )
    return cut_utf16("\n".join(lines), MESSAGE_LIMIT)


def preview_alt(name: str) -> str:
    """Describe the picture beside a model or an add-on."""
    return cut_utf16(tr("A preview of {name}", name=plain(name, 200)), ALT_LIMIT)
