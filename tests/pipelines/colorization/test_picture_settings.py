"""Settings of a picture from words: sizes worked by hand, groups of layers, one wrong word is named."""

import json

import pytest

from model.diffusion.sampling_settings import LAYERS, InjectionSettings, SamplingSettings
from pipelines.colorization.picture_settings import (
    MOST_SEED,
    PictureSettings,
    attention_scales,
    picture_settings,
    sampling_settings,
    seeds_of,
    target_size,
)
from pipelines.common.overrides import SettingsError


@pytest.mark.parametrize(
    ("size", "sketch", "wanted"),
    [
        ("original", (1001, 77), (1001, 77)),
        ("autofit", (512, 512), (512, 512)),
        ("autofit", (4000, 1000), (1024, 256)),
        ("autofit", (10, 40), (256, 1024)),
        ("autofit", (100000, 1), (161909, 2)),
        ("640x480", (1000, 1000), (480, 480)),
        ("640x480", (64, 4), (640, 40)),
    ],
)
def test_a_sketch_keeps_its_shape_in_every_size(size: str, sketch: tuple[int, int], wanted: tuple[int, int]) -> None:
    assert target_size(size, sketch, (512, 512)) == wanted


def test_autofit_keeps_the_area_of_training() -> None:
    for sketch in ((300, 700), (1920, 1080), (50, 49)):
        width, height = target_size("autofit", sketch, (768, 512))
        assert width * height == pytest.approx(768 * 512, rel=0.003)
        assert width / height == pytest.approx(sketch[0] / sketch[1], rel=0.003)


@pytest.mark.parametrize("size", ["big", "512", "512x", "x512", "4x4", "512x9000", "-8x64", "8x8x8", "٣٢x٣٢", ""])
def test_a_size_that_is_none_is_refused(size: str) -> None:
    with pytest.raises(ValueError, match="512x768"):
        PictureSettings(size=size)


def test_a_word_of_the_injection_switches_it_on() -> None:
    assert sampling_settings({}).injection is None
    assert sampling_settings({"injection.start": "0.25"}).injection == InjectionSettings(start=0.25)


@pytest.mark.parametrize("switch", [True, "true", "yes"])
def test_the_injection_is_switched_on_and_off_by_its_own_name(switch: bool | str) -> None:
    on = sampling_settings({"injection": switch})
    assert on.injection == InjectionSettings()
    assert sampling_settings({"injection": "true", "injection.start": "0.5"}).injection == InjectionSettings(start=0.5)
    assert sampling_settings({"injection": "no"}, on).injection is None
    with pytest.raises(SettingsError, match=r"injection=0\.5 is not true or false"):
        sampling_settings({"injection": "0.5"})


def test_the_sampler_comes_first_whatever_the_order() -> None:
    words = {"eta": "0.5", "spacing": "trailing", "sampler": "ddim"}
    assert sampling_settings(words) == SamplingSettings(sampler="ddim", eta=0.5, spacing="trailing")


def test_noise_levels_of_a_released_name_leave_with_its_sampler() -> None:
    released = sampling_settings({"sampler": "DPM++ 2M"})
    assert released.sigma_schedule == "karras"
    assert sampling_settings({"sampler": "ddim"}, released) == SamplingSettings(sampler="ddim")
    assert sampling_settings({"steps": "5"}, released).sigma_schedule == "karras"
    both = {"sampler": "euler", "sigma_schedule": "beta"}
    assert sampling_settings(both, released) == SamplingSettings(sampler="euler", sigma_schedule="beta")
    asked = SamplingSettings(sampler="unipc", sigma_schedule="beta")
    assert sampling_settings({"sampler": "euler"}, asked).sigma_schedule == "beta"


@pytest.mark.parametrize(
    ("schedule", "spacing", "levels"),
    [
        ("Automatic", None, "karras"),
        ("Uniform", "linspace", "uniform"),
        ("Karras", None, "karras"),
        ("Exponential", None, "exponential"),
        ("Polyexponential", None, "exponential"),
        ("SGM Uniform", "trailing", "uniform"),
    ],
)
def test_a_released_schedule_means_spacing_and_levels(schedule: str, spacing: str | None, levels: str) -> None:
    settings = sampling_settings({"sampler": "DPM++ 2M", "schedule": schedule})
    assert (settings.sampler, settings.spacing, settings.sigma_schedule) == ("dpmpp_2m", spacing, levels)
    before = SamplingSettings(sampler="dpmpp_2m", spacing="leading", sigma_schedule="uniform")
    assert sampling_settings({"schedule": "Automatic"}, before) == SamplingSettings(sampler="dpmpp_2m")


def test_a_schedule_that_is_none_or_said_twice_or_that_the_sampler_has_not_is_refused() -> None:
    with pytest.raises(SettingsError, match="no schedule 'karras': did you mean Karras"):
        sampling_settings({"schedule": "karras"})
    with pytest.raises(SettingsError, match="'Karras' means a spacing and noise levels: leave out spacing"):
        sampling_settings({"schedule": "Karras", "spacing": "trailing"})
    with pytest.raises(SettingsError, match="euler_a has no sigma_schedule 'karras'"):
        sampling_settings({"sampler": "Euler a", "schedule": "Karras"})


def test_a_spacing_is_taken_with_uniform_levels() -> None:
    words = {"spacing": "trailing", "sigma_schedule": "uniform"}
    assert sampling_settings(words).spacing == "trailing"
    with pytest.raises(SettingsError, match="no spacing under karras noise levels; give sigma_schedule=uniform"):
        sampling_settings({"spacing": "trailing"})


def test_seeds_are_counted_from_a_number_or_from_a_drawn_one() -> None:
    assert list(seeds_of("7", 3)) == [7, 8, 9]
    assert list(seeds_of(str(MOST_SEED))) == [MOST_SEED]
    drawn = [seeds_of("random", 2) for _ in range(4)]
    assert all(len(seeds) == 2 and 0 <= seeds[0] < 2**32 for seeds in drawn)
    assert len({seeds[0] for seeds in drawn}) > 1


@pytest.mark.parametrize("word", ["-1", "1.5", "", "Random", "1_0", "٣", str(MOST_SEED + 1), "9" * 5000])
def test_a_seed_that_is_none_is_refused(word: str) -> None:
    with pytest.raises(SettingsError, match=r"neither random nor a whole number within 0.."):
        seeds_of(word)


def test_the_last_of_the_variations_is_a_seed_too() -> None:
    with pytest.raises(SettingsError, match="--variations 2: the last seed is more than"):
        seeds_of(str(MOST_SEED), 2)


def test_a_wrong_word_is_named_with_the_right_ones() -> None:
    with pytest.raises(SettingsError, match="guidance_scale"):
        sampling_settings({"guidance_scal": "2"})
    with pytest.raises(SettingsError, match="ddim"):
        sampling_settings({"sampler": "dim"})


def test_attention_scales_are_by_layer_or_group_and_the_last_word_counts() -> None:
    scales = dict(zip(LAYERS, attention_scales(["all=0.5", "middle = 2", "semantics=0.25"]), strict=True))
    assert (scales["down0.attn0"], scales["middle"], scales["down2.attn0"]) == (0.5, 2.0, 0.25)


@pytest.mark.parametrize(("word", "said"), [("semantic=1", "semantics"), ("middle", "NAME=NUMBER"), ("all=x", "all=x")])
def test_a_wrong_attention_scale_is_named(word: str, said: str) -> None:
    with pytest.raises(SettingsError, match=said):
        attention_scales([word])


@pytest.mark.parametrize(
    "settings",
    [
        PictureSettings(),
        PictureSettings(SamplingSettings("ddim", eta=0.5, injection=InjectionSettings(0.1, 0.2, 0.3)), size="64x128"),
        PictureSettings(SamplingSettings(attention_scales=(0.1,) * 16, no_guidance_window=(0.0, 1.0)), levels=False),
        PictureSettings(extract="manga_line", keep_lines=True),
    ],
)
def test_settings_survive_json(settings: PictureSettings) -> None:
    assert picture_settings(json.loads(json.dumps(settings.document()))) == settings


def test_a_picture_that_records_no_extraction_was_read_as_line_art() -> None:
    document = {name: value for name, value in PictureSettings().document().items() if name != "extract"}
    assert picture_settings(document).extract == ""


def test_a_style_that_is_none_and_what_extracted_lines_leave_no_room_for_are_refused() -> None:
    with pytest.raises(ValueError, match="did you mean xdog"):
        PictureSettings(extract="xdgo")
    with pytest.raises(SettingsError, match="polarity"):
        picture_settings({"extract": "xdog", "polarity": "light"})
    with pytest.raises(SettingsError, match=r"valid are: anime2sketch, .*xdog_simplified"):
        picture_settings({"extract": "drawn"})
