"""Where weight files are found: paths, file://, S3, and a hub, which here is a server of the same answers."""

import threading
from collections.abc import Iterator
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from huggingface_hub import constants

from dataprep.storage.store import write_whole
from model.weights.catalogue import CATALOGUE
from pipelines.common.errors import PipelineError
from pipelines.common.overrides import SettingsError
from pipelines.weights.locate import find
from tests.pipelines.weights.weight_helpers import HEAD, TAGGER

TAG_FILES = ("model.safetensors", "config.json", "selected_tags.csv")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "with space"
    made.mkdir()
    for name in TAG_FILES:
        (made / name).write_text(name)
    return made


@pytest.mark.parametrize("form", ["{}", "{}/", "{}/model.safetensors", "file://{}", "file://{}/model.safetensors"])
def test_a_file_or_its_folder_is_found_with_its_companions(folder: Path, tmp_path: Path, form: str) -> None:
    address = form.format(folder) if "file" not in form else form.format(folder).replace(" ", "%20")
    found = find(CATALOGUE[TAGGER], address, tmp_path)
    assert found.path == folder / "model.safetensors"
    assert found.companions == {name: folder / name for name in TAG_FILES[1:]}
    assert found.source == str(folder / "model.safetensors")


def test_of_a_folder_the_first_published_name_is_taken(tmp_path: Path) -> None:
    (tmp_path / "isnetis.safetensors").touch()
    assert find(CATALOGUE["isnetis"], str(tmp_path), tmp_path).path.name == "isnetis.safetensors"
    (tmp_path / "isnetis.ckpt").touch()
    assert find(CATALOGUE["isnetis"], str(tmp_path), tmp_path).path.name == "isnetis.ckpt"


@pytest.mark.parametrize(
    ("address", "error", "said"),
    [
        ("https://example.org/model.pth", SettingsError, "download other files first"),
        ("model.zip", SettingsError, "a file that ends in .pth, .pt"),
        ("hf://model.pth", SettingsError, "hf://OWNER/REPOSITORY/FILE"),
        ("hf://owner/model.pth", SettingsError, "hf://OWNER/REPOSITORY/FILE"),
        ("nowhere/model.pth", PipelineError, "nowhere: there is no model.pth"),
    ],
)
def test_other_addresses_are_refused(tmp_path: Path, address: str, error: type, said: str) -> None:
    with pytest.raises(error, match=said):
        find(CATALOGUE[HEAD], address, tmp_path)


@pytest.mark.s3
@pytest.mark.parametrize("form", ["{}", "{}/model.safetensors"])
def test_files_on_s3_are_copied(s3_prefix: str, tmp_path: Path, form: str) -> None:
    for name in TAG_FILES:
        write_whole(f"{s3_prefix}/{name}", name.encode())
    found = find(CATALOGUE[TAGGER], form.format(s3_prefix), tmp_path)
    assert found.source == f"{s3_prefix}/model.safetensors"
    assert {path.read_text() for path in (found.path, *found.companions.values())} == set(TAG_FILES)
    with pytest.raises(PipelineError, match=r"there is no other\.pth"):
        find(CATALOGUE[HEAD], f"{s3_prefix}/other.pth", tmp_path)


class Hub(BaseHTTPRequestHandler):
    """Answers /OWNER/REPOSITORY/resolve/REVISION/FILE as the Hugging Face hub does."""

    files: dict[str, bytes] = {}  # noqa: RUF012 (filled by a test)

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_GET(self) -> None:
        self._answer(body=True)

    def _answer(self, body: bool) -> None:
        data = self.files.get(self.path)
        self.send_response(404 if data is None else 200)
        if data is None:
            self.send_header("X-Error-Code", "EntryNotFound")
        self.send_header("X-Repo-Commit", "0" * 40)
        self.send_header("ETag", f'"{sha256(data or b"").hexdigest()}"')
        self.send_header("Content-Length", str(len(data or b"")))
        self.end_headers()
        if body and data:
            self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def hub() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Hub) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
    Hub.files.clear()


@pytest.fixture
def hub_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """The hub's client, which reads its environment but once, with a cache of its own."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    return monkeypatch


def test_files_of_a_hub_repository_are_brought(
    hub: str, hub_settings: pytest.MonkeyPatch, folder: Path, tmp_path: Path
) -> None:
    hub_settings.setattr(constants, "ENDPOINT", hub)
    hub_settings.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", hub + "/{repo_id}/resolve/{revision}/{filename}")
    for name in TAG_FILES:
        Hub.files[f"/owner/tagger/resolve/main/sub/{name}"] = b"old"
        Hub.files[f"/owner/tagger/resolve/v3/{name}"] = name.encode()
    found = find(CATALOGUE[TAGGER], "hf://owner/tagger/sub/model.safetensors", tmp_path)
    assert found.path.read_bytes() == b"old"
    found = find(CATALOGUE[TAGGER], "hf://owner/tagger@v3", tmp_path)
    assert found.source == "hf://owner/tagger@v3/model.safetensors"
    assert {path.read_text() for path in (found.path, *found.companions.values())} == set(TAG_FILES)
    with pytest.raises(PipelineError, match=r"^hf://owner/tagger: there is no other\.pth$"):
        find(CATALOGUE[TAGGER], "hf://owner/tagger/other.pth", tmp_path)


def test_a_hub_that_does_not_answer_is_told(hub_settings: pytest.MonkeyPatch, tmp_path: Path) -> None:
    hub_settings.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(PipelineError, match=r"hub does not answer, and a\.pth is not in its cache here"):
        find(CATALOGUE[HEAD], "hf://owner/heads/a.pth", tmp_path)
