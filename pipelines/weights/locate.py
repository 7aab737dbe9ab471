"""Where a weight file and its companions are found: a folder on disk or S3, or a repository of the Hugging Face hub.

What can be said of an address before anything heavy is imported is said here.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote, urlsplit

from dataprep.storage.store import exists, file_entry, is_s3, join
from model.weights.catalogue import Published
from pipelines.common.errors import PipelineError
from pipelines.common.overrides import SettingsError
from pipelines.weights.checkpoints import find_checkpoint
from pipelines.weights.packages import ARCHIVES
from pipelines.weights.store import download

FORMATS = (".pth", ".pt", ".ckpt", ".bin", ".safetensors")
_HUB = "hf://"
_OF_A_FOLDER = ("config.json", "unet", "vae")  # one of these is in a checkpoint, or in a folder of diffusers


@dataclass(frozen=True)
class Found:
    """A weight file on this machine, and its companions by their published names. `source` is where it is from."""

    source: str
    path: Path
    companions: Mapping[str, Path] = field(default_factory=dict)


def find(entry: Published, address: str, scratch: Path) -> Found:
    """The file at `address`, or the published one in the folder there; remote ones are copied to `scratch`.

    Raises SettingsError for an address of another form, PipelineError or DataError for one where nothing is.
    """
    folder, file, bring = place(address, scratch)
    source, path = _first(folder, (file,) if file else entry.files, bring)
    if path.name.endswith(ARCHIVES):
        return Found(source, path)
    return Found(source, path, {name: _first(folder, (name,), bring)[1] for name in entry.companions})


def place(address: str, scratch: Path) -> tuple[str, str, Callable[[str], Path | None]]:
    """(folder, file or "" where the address is a folder's, name in that folder -> its file on this machine or None).

    Raises SettingsError for an address of another form.
    """
    folder, file = _folder_and_file(address)
    return folder, file, _bring(folder, scratch)


def check_there(address: str) -> None:
    """Raises SettingsError for an address of another form, PipelineError where it is seen at once that nothing is there
    (of the hub it is not asked)."""
    folder, file = _folder_and_file(address)
    if folder.startswith(_HUB):
        return
    if file and file_entry(f"{folder}/{file}") is None:
        raise PipelineError(f"{folder}/{file}: there is no such file")
    if not file and not is_s3(folder) and not any((Path(folder) / name).exists() for name in _OF_A_FOLDER):
        raise nothing_in(folder)


def nothing_in(folder: str) -> PipelineError:
    """For a folder without weights."""
    return PipelineError(
        f"{folder}: no checkpoint (config.json, model.safetensors), and no folder of diffusers "
        "(unet/diffusion_pytorch_model.safetensors)"
    )


def check_new_checkpoint(out: str) -> None:
    """Raises SettingsError for an address that is no path and not on S3, PipelineError where something is there."""
    _check_form(out)
    if exists(join(out, "config.json")):
        raise PipelineError(f"{out} holds a checkpoint already; choose another --out")
    if not is_s3(out) and (path := Path(out)).exists() and (not path.is_dir() or any(path.iterdir())):
        raise PipelineError(f"{out} is there and not empty; choose another --out")


def check_new_file(out: str) -> None:
    """The same for a file in the released layout."""
    _check_form(out)
    if not out.endswith(".safetensors"):
        raise SettingsError(f"--out {out}: the released layout is a .safetensors file")
    if exists(out) if is_s3(out) else Path(out).exists():
        raise PipelineError(f"{out} is there already; choose another --out")


def _check_form(out: str) -> None:
    if "://" in out and not is_s3(out):
        raise SettingsError(f"--out {out}: a path or an s3:// address is needed")


def _folder_and_file(address: str) -> tuple[str, str]:
    """("s3://bucket/folder", "a.pth"); no file where the address is a folder's."""
    if address.startswith("file://"):
        address = unquote(urlsplit(address).path)
    remote = is_s3(address) or address.startswith(_HUB)
    if not remote and "://" in address:
        raise SettingsError(f"{address}: a path, file://, s3:// or hf:// is needed; download other files first")
    address = address.rstrip("/") if remote else str(Path(address).expanduser().absolute())
    known_form = address.endswith((*FORMATS, *ARCHIVES))
    below = "/" in address.partition("://")[2] if remote else not Path(address).is_dir()
    if not below or (remote and not known_form):
        within = None if address.startswith(_HUB) else find_checkpoint(address)  # also in the output of a training
        return within or address, ""
    if not known_form:
        raise SettingsError(
            f"{address}: a folder, or a file that ends in {', '.join((*FORMATS, *ARCHIVES))}, is needed"
        )
    folder, _, file = address.rpartition("/")
    return folder, file


def _first(folder: str, names: Iterable[str], bring: Callable[[str], Path | None]) -> tuple[str, Path]:
    """(address, local file) of the first of `names` that is there."""
    for name in names:
        path = bring(name)
        if path is not None:
            return f"{folder}/{name}", path
    raise PipelineError(f"{folder}: there is no {' or '.join(names)}")


def _bring(folder: str, scratch: Path) -> Callable[[str], Path | None]:
    """name -> the local file of that name in `folder`, None where there is none."""
    if folder.startswith(_HUB):
        return lambda name: _from_hub(folder, name)
    if is_s3(folder):
        return lambda name: _from_s3(f"{folder}/{name}", scratch / name)
    return lambda name: path if (path := Path(folder) / name).is_file() else None


def _from_s3(uri: str, path: Path) -> Path | None:
    if file_entry(uri) is None:
        return None
    path.parent.mkdir(parents=True, exist_ok=True)
    download(uri, path)
    return path


def _from_hub(folder: str, name: str) -> Path | None:
    """A file of hf://OWNER/REPOSITORY[@REVISION][/FOLDER], in the hub client's own cache."""
    from huggingface_hub import hf_hub_download, logging
    from huggingface_hub.errors import EntryNotFoundError, HfHubHTTPError, LocalEntryNotFoundError

    owner, _, rest = folder.removeprefix(_HUB).partition("/")
    repository, _, inside = rest.partition("/")
    repository, _, revision = repository.partition("@")
    if not owner or not repository:
        raise SettingsError(f"{folder}: an address on the hub is hf://OWNER/REPOSITORY/FILE")
    logging.set_verbosity_error()
    try:
        path = hf_hub_download(f"{owner}/{repository}", name, subfolder=inside or None, revision=revision or None)
    except LocalEntryNotFoundError as error:
        raise PipelineError(
            f"{folder}: the Hugging Face hub does not answer, and {name} is not in its cache here"
        ) from error
    except EntryNotFoundError:
        return None
    except (HfHubHTTPError, ValueError, OSError) as error:
        raise PipelineError(f"{folder}: the hub gave no {name}: {' '.join(str(error).split())[:200]}") from error
    return Path(path)
