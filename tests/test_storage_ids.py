import pytest

from storage.ids import JOB_ID_LENGTH, is_job_id, new_job_id


def test_ids_are_thirteen_safe_characters_and_never_meet() -> None:
    ids = {new_job_id() for _ in range(2000)}
    assert len(ids) == 2000
    assert all(len(one) == JOB_ID_LENGTH and is_job_id(one) for one in ids)


def test_ids_use_all_their_bits() -> None:
    ids = [new_job_id() for _ in range(2000)]
    for place in range(JOB_ID_LENGTH - 1):
        assert len({one[place] for one in ids}) == 32
    assert len({one[-1] for one in ids}) == 16


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a" * 12,
        "a" * 14,
        "A" * 13,
        "a" * 12 + "1",
        "a" * 12 + "b",
        "../../etc/pas",
        "a" * 13 + "\n",
    ],
)
def test_what_no_id_looks_like(text: str) -> None:
    assert not is_job_id(text)
