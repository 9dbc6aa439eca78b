"""Back-off: doubled up to a bound, for hours."""

from processor.background import back_off_s


def test_back_off_doubles_up_to_a_bound() -> None:
    """0.05 s, 0.1 s, … and never over 10 s; also after more waits than a float can be doubled."""
    assert [0.05, 0.1, 0.2] == [back_off_s(times, first_s=0.05, longest_s=10) for times in range(3)]
    assert 10 == back_off_s(5_000, first_s=0.05, longest_s=10)
