"""How a call of `irodori colorize` runs: what does not decide the pictures. Nothing heavy is imported here."""

from dataclasses import asdict, dataclass
from typing import Any

from model.diffusion.sampling_settings import SEPARATION
from model.setting import check_ranges, setting
from pipelines.colorization.picture_settings import MACHINE, OUTPUT

_STORED_NAMES = {"provenance": "told"}  # by which documents call a setting, where that is not its name


@dataclass(frozen=True)
class RunSettings:
    """The device as torch names it, or "auto"; which files are written, and which that are there are replaced.

    overwrite: see `jobs.check_targets`. Raises ValueError for a batch_size below 1.
    """

    device: str = setting(
        "auto", help="auto (a GPU where there is one), cpu, cuda, cuda:1, ...", panel=MACHINE, metavar="DEVICE"
    )
    batch_size: int = setting(4, help="Pictures of one size that are coloured together", panel=MACHINE, least=1)
    compile: bool = setting(False, help="Compile the network first: for many pictures of few sizes", panel=MACHINE)
    layers: bool = setting(False, help="Also write colour, lines and mask as files of their own", panel=OUTPUT)
    masks: bool = setting(
        False, help="Also write the masks that part figure from ground, and the background shown", panel=SEPARATION
    )
    provenance: bool = setting(True, help="Record in each PNG how it was made", panel=OUTPUT)
    overwrite: bool = setting(False, help="Also replace PNGs that do not record that irodori made them", panel=OUTPUT)
    again: bool = setting(False, help="Make all anew, also what is there and would not differ", panel=OUTPUT)

    def __post_init__(self) -> None:
        check_ranges(self)

    def document(self) -> dict[str, Any]:
        """As JSON takes it."""
        return {_STORED_NAMES.get(name, name): value for name, value in asdict(self).items()}
