"""The table of flags: complete, without clashes, and told in one voice."""

from bot.prompt import FLAGS, LATER
from bot.prompt.flags import FLAG_BY_NAME, LATER_BY_NAME

# What people may type, by every name: the table of what Midjourney's and A1111's users bring along.
NEEDED = """
ar aspect no negative seed sameseed chaos c stylize s style raw quality q stop iw strength sref sw
cref cw tile repeat r model v version niji preset hires draft fast relax turbo video weird sampler
schedule scheduler steps cfg clip vae
"""
ELSEWHERE = "oref ow profile p public private stealth width height"
RANGES = {
    "seed": (0, 4294967295),
    "chaos": (0, 100),
    "stylize": (0, 1000),
    "stop": (10, 100),
    "iw": (0, 3),
    "strength": (0, 1),
    "sw": (0, 1000),
    "cw": (0, 100),
    "repeat": (2, 10),
    "hires": (1, 2),
    "weird": (0, 3000),
}
CARRIED = "ar no stop tile video"
LEFT = "chaos iw quality seed sameseed stylize"


def test_the_flags_of_this_version_are_there() -> None:
    assert set(FLAG_BY_NAME) >= set(NEEDED.split())


def test_the_flags_people_bring_along_are_known() -> None:
    assert set(LATER_BY_NAME) >= set(ELSEWHERE.split())


def test_ranges_are_those_of_the_specification() -> None:
    found = {name: (FLAG_BY_NAME[name].minimum, FLAG_BY_NAME[name].maximum) for name in RANGES}
    assert found == RANGES


def test_what_a_variation_takes_over() -> None:
    assert all(FLAG_BY_NAME[name].carries for name in CARRIED.split())
    assert not any(FLAG_BY_NAME[name].carries for name in LEFT.split())


def test_no_name_means_two_things() -> None:
    names = [name for flag in FLAGS for name in flag.names]
    names += [name for later in LATER for name in later.names]
    assert len(names) == len(set(names))


def test_every_flag_explains_itself() -> None:
    for flag in FLAGS:
        assert flag.help.endswith(".")
        assert flag.default
        assert (flag.minimum is None) == (flag.maximum is None)
        assert flag.name == flag.name.lower()
    for later in LATER:
        assert later.about
