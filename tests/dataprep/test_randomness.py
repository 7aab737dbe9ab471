import numpy as np
import pytest

from dataprep.randomness import generator

PINNED = [4192566136, 3113905323, 1417003789]


def test_numbers_of_a_sample_do_not_depend_on_what_was_drawn_before() -> None:
    expected = generator(7, 1000, "augment").random(5)
    for ordinal in range(20):
        generator(7, ordinal, "augment").random(ordinal)
    np.testing.assert_array_equal(generator(7, 1000, "augment").random(5), expected)


def test_numbers_are_pinned_for_all_time() -> None:
    """A run that resumes under a later version must see the same samples."""
    np.testing.assert_array_equal(generator(1, 2, "augment").integers(0, 1 << 32, 3), PINNED)


@pytest.mark.parametrize("other", [(8, 3, "augment"), (7, 4, "augment"), (7, 3, "noise")])
def test_seed_ordinal_and_purpose_each_give_another_stream(other: tuple[int, int, str]) -> None:
    assert not np.intersect1d(generator(7, 3, "augment").random(1000), generator(*other).random(1000)).size


def test_first_numbers_of_consecutive_samples_are_uniform_and_uncorrelated() -> None:
    first = np.array([generator(0, ordinal, "augment").random() for ordinal in range(4000)])
    assert abs(first.mean() - 0.5) < 4 / np.sqrt(12 * 4000)
    assert abs(np.corrcoef(first[:-1], first[1:])[0, 1]) < 4 / np.sqrt(4000)


def test_the_whole_range_of_seeds_and_ordinals_is_usable() -> None:
    assert generator(2**64 - 1, 2**64 - 1, "augment").random() != generator(0, 0, "augment").random()


@pytest.mark.parametrize(("seed", "ordinal"), [(-1, 0), (0, -1), (2**64, 0), (0, 2**64)])
def test_numbers_outside_the_range_are_refused(seed: int, ordinal: int) -> None:
    with pytest.raises(ValueError, match=r"must be in \[0, 2\^64\)"):
        generator(seed, ordinal, "augment")
