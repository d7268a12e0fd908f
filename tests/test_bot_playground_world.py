"""Who may do what, when things happen, and what is drawn: the playground's small parts."""

from __future__ import annotations

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from bot.playground.cdn import Look, clean_name, look_at
from bot.playground.errors import ApiError, Problems, Refusal
from bot.playground.ledger import Ledger
from bot.playground.page_files import is_loopback
from bot.playground.people import draw_face
from bot.playground.permissions import Overwrite, Permission, combine, ordinary
from bot.playground.ratelimits import Limit, RateLimits
from bot.playground.wire import Clock, ManualClock, Snowflakes, iso, snowflake_time
from bot.playground.world import World
from tests.test_bot_playground_support import png


def test_timers_fire_in_order_and_cancelled_ones_never() -> None:
    clock = ManualClock(100.0)
    fired: list[tuple[str, float]] = []
    clock.call_later(2.0, lambda: fired.append(("late", clock.now())))
    clock.call_later(1.0, lambda: fired.append(("early", clock.now())))
    clock.call_later(1.5, lambda: fired.append(("never", 0.0))).cancel()
    clock.advance(0.9)
    assert fired == []
    clock.advance(5.0)
    assert fired == [("early", 101.0), ("late", 102.0)]
    assert clock.now() == 105.9


def test_a_timer_set_by_a_timer_fires_in_the_same_advance() -> None:
    clock = ManualClock(0.0)
    fired: list[float] = []

    def again() -> None:
        clock.call_later(1.0, lambda: fired.append(clock.now()))

    clock.call_later(1.0, again)
    clock.advance(3.0)
    assert fired == [2.0]


@given(st.lists(st.integers(min_value=0, max_value=3), max_size=50))
def test_ids_always_grow_and_tell_their_time(steps: list[int]) -> None:
    clock = ManualClock(1_800_000_000.0)
    ids = Snowflakes(clock)
    made: list[int] = []
    for step in steps:
        clock.advance(step / 1000)
        made.append(ids.next())
        assert abs(snowflake_time(made[-1]) - clock.now()) < 0.002
    assert made == sorted(set(made))


def test_moments_are_written_as_discord_writes_them() -> None:
    assert iso(0.5) == "1970-01-01T00:00:00.500000+00:00"


def overwrite(target: int, kind: int, **bits: Permission) -> Overwrite:
    nothing = Permission(0)
    return Overwrite(
        target_id=target,
        kind=kind,
        allow=bits.get("allow", nothing),
        deny=bits.get("deny", nothing),
    )


@pytest.mark.parametrize(
    ("overwrites", "may"),
    [
        ([], True),
        ([overwrite(1, 0, deny=Permission.SEND_MESSAGES)], False),
        (
            [
                overwrite(1, 0, deny=Permission.SEND_MESSAGES),
                overwrite(2, 0, allow=Permission.SEND_MESSAGES),
            ],
            True,
        ),
        (
            [
                overwrite(2, 0, allow=Permission.SEND_MESSAGES),
                overwrite(9, 1, deny=Permission.SEND_MESSAGES),
            ],
            False,
        ),
        ([overwrite(3, 0, deny=Permission.SEND_MESSAGES)], True),
    ],
)
def test_overwrites_apply_in_discords_order(overwrites: list[Overwrite], may: bool) -> None:
    granted = combine(ordinary(), overwrites, guild_id=1, roles={1, 2}, user=9)
    assert (Permission.SEND_MESSAGES in granted) is may


def test_an_administrator_may_everything() -> None:
    denied = [overwrite(1, 0, deny=Permission.SEND_MESSAGES)]
    granted = combine(Permission.ADMINISTRATOR, denied, guild_id=1, roles={1}, user=9)
    assert Permission.MANAGE_GUILD in granted


def test_the_people_of_the_world() -> None:
    world = World(Clock(), Ledger())
    rights = {name: world.home.permissions(person) for name, person in world.people.items()}
    managers = {name for name, granted in rights.items() if Permission.MANAGE_GUILD in granted}
    assert managers == {"carol"}
    assert Permission.ADMINISTRATOR not in world.home.permissions(world.bot)
    assert len({person.avatar for person in world.accounts}) == 4
    assert world.token.count(".") == 2


def test_faces_are_pictures() -> None:
    world = World(Clock(), Ledger())
    with Image.open(io.BytesIO(draw_face(world.people["alice"]))) as face:
        assert face.size == (128, 128)
        assert len(face.getcolors(100_000) or []) > 2


def test_files_are_looked_at_not_believed() -> None:
    assert look_at(png(3, 4)) == Look(size=(3, 4), media_type="image/png")
    assert look_at(b"<svg/>") == Look()
    assert look_at(png()[:20]) == Look()


@pytest.mark.parametrize(
    ("name", "clean"),
    [("my cat.png", "my_cat.png"), ("../a/b", "..ab"), ("", "unknown"), ("猫", "unknown")],
)
def test_names_are_cleaned(name: str, clean: str) -> None:
    assert clean_name(name) == clean


@pytest.mark.parametrize(
    ("host", "ours"),
    [
        ("127.0.0.1:80", True),
        ("localhost", True),
        ("[::1]:8090", True),
        ("[::1]", True),
        ("127.0.0.1.evil.example", False),
        ("evil.example:127", False),
        ("", False),
    ],
)
def test_hosts(host: str, ours: bool) -> None:
    assert is_loopback(host) is ours


def test_a_window_opens_again() -> None:
    now = [0.0]
    limits = RateLimits(monotonic=lambda: now[0])
    limit = Limit(name="x", requests=2, window=5.0)
    waits = [limits.hit(limit, "1", counts_globally=False).retry_after for _ in range(3)]
    assert waits == [None, None, 5.0]
    now[0] = 4.0
    assert limits.hit(limit, "1", counts_globally=False).retry_after == 1.0
    assert limits.hit(limit, "2", counts_globally=False).retry_after is None
    now[0] = 5.0
    verdict = limits.hit(limit, "1", counts_globally=False)
    assert verdict.headers["X-RateLimit-Remaining"] == "1"
    assert verdict.headers["X-RateLimit-Reset-After"] == "5.000"


def test_the_whole_has_a_limit_too() -> None:
    now = [0.0]
    limits = RateLimits(monotonic=lambda: now[0])
    scopes = [limits.hit(None, "", counts_globally=True).scope for _ in range(51)]
    assert scopes.count("global") == 1
    now[0] = 1.0
    assert limits.hit(None, "", counts_globally=True).retry_after is None
    off = RateLimits(enabled=False)
    assert all(off.hit(None, "", counts_globally=True).retry_after is None for _ in range(99))


def test_problems_become_a_tree_of_leaves() -> None:
    problems = Problems()
    problems.add("a.0.b", "CODE", "deep")
    problems.add("a", "OTHER", "shallow")
    problems.add("c", "MORE", "beside")
    with pytest.raises(ApiError) as raised:
        problems.check()
    assert raised.value.errors == {
        "a": {"_errors": [{"code": "OTHER", "message": "shallow"}]},
        "c": {"_errors": [{"code": "MORE", "message": "beside"}]},
    }
    Problems().check()


def test_every_refusal_is_its_own() -> None:
    assert len({item.error().code for item in Refusal}) == len(Refusal)
