"""The table of flags: complete, without clashes, and told in one voice."""

from bot.prompt import FLAGS, LATER
from bot.prompt.flags import FLAG_BY_NAME, LATER_BY_NAME

NEEDED = "ar aspect no seed steps cfg sampler schedule quality q stop tile repeat r model v"
COMING = "chaos stylize iw hires video weird draft style sref cref sameseed niji fast relax"


def test_the_flags_of_this_version_are_there() -> None:
    assert set(FLAG_BY_NAME) >= set(NEEDED.split())


def test_the_flags_people_bring_along_are_known() -> None:
    assert set(LATER_BY_NAME) >= set(COMING.split())


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
