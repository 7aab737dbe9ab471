"""Tar and zip shards: what belongs together, one range read a member, and archives that mean harm."""

import io
import json
import struct
import tarfile
import tempfile
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dataprep.errors import DataError
from dataprep.limits import Limiter, LimitSettings
from dataprep.plan.scan import scan
from dataprep.sources import RefusedItem, archives, list_batches, read_item
from dataprep.sources import items as source_items
from dataprep.storage import store as storage
from tests.dataprep.sources.source_helpers import counts, items, listed, notes, png, short, tar_bytes, write, zip_bytes

SHARD = {
    "a/0001.txt": b"a girl\n",
    "a/0001.jpg": png(1),
    "a/0001.json": b'{"tags": ["smile", "hat"], "rating": "g", "score": 4, "group": "ann", "scene": 7}',
    "a/0001.sketch.png": png(2),
    "b/0001.PNG": png(3),
    "Ünï cöde 1.v2.webp": png(4),
    "a/0001.mask.png": png(5),
    "only.txt": b"no picture of this name",
    "c.cls": b"3",
    "c.png": png(6),
}


@pytest.fixture(params=["disk", pytest.param("s3", marks=pytest.mark.s3)])
def base(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return str(tmp_path / "store") if request.param == "disk" else request.getfixturevalue("s3_prefix")


@pytest.mark.parametrize(
    ("name", "pack"),
    [
        ("x.tar", tar_bytes),
        ("x.zip", zip_bytes),
        ("stored.ZIP", lambda members: zip_bytes(members, zipfile.ZIP_STORED)),
    ],
)
def test_members_of_one_name_are_one_row_with_its_facts_and_drawings(
    base: str, name: str, pack: Callable[[dict[str, bytes]], bytes]
) -> None:
    uri = storage.join(base, name)
    storage.write_whole(uri, pack(SHARD))
    found = items(base)
    pictures = [member for member in SHARD if member in ("a/0001.jpg", "b/0001.PNG", "Ünï cöde 1.v2.webp", "c.png")]
    assert [item.uri for item in found] == [f"{uri}#{member}" for member in pictures]
    assert items(uri) == found
    first, second, third, fourth = found
    assert (first.tags, first.rating, first.score, first.group) == (("smile", "hat"), "g", 4.0, "ann")
    assert (first.caption, first.kind) == ("a girl", "member")
    data = read_item(first)
    assert (data.data, data.drawn_sketch, data.mask) == (png(1), png(2), png(5))
    assert read_item(second) == source_items.SourceData(png(3))
    assert read_item(third).data == png(4)
    assert (fourth.tags, read_item(fourth).data) == (("class:3",), png(6))


def test_a_member_is_read_by_one_range_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, pack in (("x.tar", tar_bytes), ("x.zip", zip_bytes)):
        write(tmp_path / name, pack({f"{number}.png": png(number, 40) for number in range(5)}))
    found = items(tmp_path)
    reads: list[tuple[int, int]] = []
    read_range = storage.read_range

    def counted(uri: str, at: int, size: int) -> bytes:
        reads.append((at, size))
        return read_range(uri, at, size)

    monkeypatch.setattr(storage, "read_range", counted)
    for item in found:
        read_item(item)
    assert len(reads) == len(found)
    assert max(size for _, size in reads[:-1]) < 2 * len(png(0, 40))


def test_listing_a_tar_reads_its_headers_and_not_its_pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    size = 600
    write(tmp_path / "x.tar", tar_bytes({f"{number}.png": png(number, size) for number in range(6)}))
    read: list[int] = []
    read_range = storage.read_range

    def counted(uri: str, at: int, size: int) -> bytes:
        read.append(size)
        return read_range(uri, at, size)

    monkeypatch.setattr(storage, "read_range", counted)
    assert len(items(tmp_path)) == 6
    assert sum(read) < 0.15 * (tmp_path / "x.tar").stat().st_size


def test_a_shard_of_corpus_export_is_read_back_without_its_derived_columns(tmp_path: Path) -> None:
    members = {
        "f00.color.jpg": png(1),
        "f00.sketch_xdog.png": png(2),
        "f00.sketch_drawn.png": png(3),
        "f00.region_map.png": png(4),
        "f00.mask.png": png(5),
        "f00.json": json.dumps({"id": "f00", "group": "g", "tags": ["t"], "width": 8, "errors": {}}).encode(),
    }
    (item,) = items(write(tmp_path / "x.tar", tar_bytes(members)))
    assert (item.group, item.tags) == ("g", ("t",))
    assert read_item(item) == source_items.SourceData(png(1), drawn_sketch=png(3), mask=png(5))


def test_archives_and_plain_pictures_of_one_tree_come_in_the_order_of_their_addresses(tmp_path: Path) -> None:
    for name in ("a.png", "c.png"):
        write(tmp_path / name, png())
    for name in ("b.tar", "d/e.tar"):
        write(tmp_path / name, tar_bytes({"z.png": png(), "y.png": png()}))
    assert short(items(tmp_path)) == ["a.png", "b.tar#z.png", "b.tar#y.png", "c.png", "e.tar#z.png", "e.tar#y.png"]


def test_a_changed_archive_changes_the_keys_of_its_members(tmp_path: Path) -> None:
    path = write(tmp_path / "x.tar", tar_bytes({"a.png": png(1)}))
    before = [entry.key for entry in listed(path)]
    assert [entry.key for entry in listed(path)] == before
    write(path, tar_bytes({"a.png": png(2)}) + bytes(512))
    assert [entry.key for entry in listed(path)] != before


def test_side_files_that_say_something_else_do_not_change_the_key(tmp_path: Path) -> None:
    """What the source says comes from the listing: only what decides the bytes may make a picture be read again."""
    index = write(tmp_path / "i.jsonl", '{"path": "/p/a.png", "score": 1}\n')
    (before,) = listed(index)
    write(index, '{"path": "/p/a.png", "score": 2, "tags": ["new"]}\n')
    (after,) = listed(index)
    assert (before.key, before.item.score) == (after.key, 1.0)
    assert (after.item.score, after.item.tags) == (2.0, ("new",))


# ---- archives that mean harm, or are broken -------------------------------------------------------------------------


def refusals(source: Path) -> dict[str, str]:
    """Name -> why, of the items that become rejects when they are read; each is checked to be one."""
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        limiter = Limiter(LimitSettings(), folder)
        records = [(entry, scan(entry, limiter)) for entry in listed(source)]
    for entry, record in records:
        if record.get("reason") is not None:
            assert (record["reason"], record.get("id")) == ("refused", None)
            with pytest.raises(RefusedItem):
                read_item(entry.item)
            found[entry.item.uri.removeprefix(str(source)).lstrip("#")] = record["message"]
    return found


def tar_of(infos: list[tarfile.TarInfo]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for info in infos:
            info.size = info.size if info.isreg() else 0
            tar.addfile(info, io.BytesIO(png()[: info.size].ljust(info.size, b"\0")))
    return out.getvalue()


def entry(name: str, kind: bytes = tarfile.REGTYPE, target: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.size = kind, target, len(png())
    return info


def test_a_tar_member_that_is_no_plain_file_inside_the_archive_is_refused_by_name(tmp_path: Path) -> None:
    hostile = [
        entry("../up.png"),
        entry("/etc/absolute.png"),
        entry("a/../../b.png"),
        entry("C:\\win.png"),
        entry("soft.png", tarfile.SYMTYPE, "/etc/passwd"),
        entry("hard.png", tarfile.LNKTYPE, "good.png"),
        entry("device.png", tarfile.CHRTYPE),
        entry("pipe.png", tarfile.FIFOTYPE),
        entry("good.png"),
        entry("..fine.png"),
    ]
    path = write(tmp_path / "evil.tar", tar_of(hostile))
    told = refusals(path)
    assert {name: why for name, why in told.items() if "leaves the archive" in why}.keys() == {
        "../up.png",
        "/etc/absolute.png",
        "a/../../b.png",
        "C:\\win.png",
    }
    assert told["soft.png"] == told["hard.png"] == "a link, not a plain file"
    assert told["device.png"] == told["pipe.png"] == "a device or pipe, not a plain file"
    assert len(told) == 8
    assert [read_item(item).data for item in items(path) if item.uri.endswith(("#good.png", "#..fine.png"))] == [
        png()
    ] * 2
    assert sorted(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("cut", [100, 512 + 300, 3 * 512 + 10])
def test_a_truncated_tar_gives_its_whole_members_and_says_where_it_ends(tmp_path: Path, cut: int) -> None:
    whole = tar_bytes({"a.png": png(1), "b.png": png(2), "c.png": png(3)})
    members_end = 3 * (512 + 512)
    assert len(png(1)) <= 512
    path = write(tmp_path / "x.tar", whole[: members_end - cut])
    write(tmp_path / "other.png", png(9))
    told = refusals(tmp_path)
    assert any("cut or damaged at byte" in why or "not a whole tar" in why for why in told.values())
    readable = [item for item in items(tmp_path) if "refused" not in item.detail and item.kind == "member"]
    assert (
        short(readable)
        == [f"{path.name}#{name}.png" for name in "abc"[: (members_end - cut) // 1024 + (cut == 100)]][: len(readable)]
    )
    assert [read_item(item).data for item in readable] == [png(number + 1) for number in range(len(readable))]


def test_a_tar_cut_between_two_members_is_not_taken_for_a_whole_one(tmp_path: Path) -> None:
    path = write(tmp_path / "x.tar", tar_bytes({"a.png": png(1), "b.png": png(2)})[:1024])
    assert list(refusals(path).values()) == ["the tar archive is cut or damaged at byte 1,024; what follows is lost"]


def test_a_tar_with_rubbish_after_a_member_says_so(tmp_path: Path) -> None:
    data = bytearray(tar_bytes({"a.png": png(1), "b.png": png(2)}))
    data[1024:1536] = b"x" * 512
    assert "damaged at byte 1,024" in next(iter(refusals(write(tmp_path / "x.tar", bytes(data))).values()))


def patched_tar(size_field: bytes) -> bytes:
    """A tar whose second member states another size, with a right checksum."""
    data = bytearray(tar_bytes({"a.png": png(1), "b.png": png(2)}))
    header = data[1024:1536]
    header[124:136] = size_field
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    data[1024:1536] = header
    return bytes(data)


@pytest.mark.parametrize(
    "size_field",
    [
        b"\x80" + (1 << 60).to_bytes(11, "big"),  # an exabyte
        b"\xff" + (-512).to_bytes(11, "big", signed=True),  # the same header for ever
        b"77777777777\0",
    ],
)
def test_a_member_of_an_absurd_size_is_refused_without_being_read(tmp_path: Path, size_field: bytes) -> None:
    path = write(tmp_path / "x.tar", patched_tar(size_field))
    told = refusals(path)
    assert told
    assert [read_item(item).data for item in items(path) if item.uri.endswith("#a.png")] == [png(1)]


def test_a_zip_bomb_is_inflated_no_further_than_it_states(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bomb = zip_bytes({"bomb.png": bytes(50 << 20), "good.png": png(1)})
    assert len(bomb) < 100_000
    lying = bytearray(bomb)
    directory = lying.rindex(b"PK\x01\x02", 0, lying.rindex(b"PK\x01\x02"))
    struct.pack_into("<I", lying, directory + 24, 1000)  # the stated size
    path = write(tmp_path / "x.zip", bytes(lying))
    grown: list[int] = []
    inflate = archives._inflated

    def measured(*arguments: Any) -> Any:
        out = inflate(*arguments)
        grown.append(len(out))
        return out

    monkeypatch.setattr(archives, "_inflated", measured)
    told = refusals(path)
    assert list(told) == ["bomb.png"]
    assert "not what the zip directory states" in told["bomb.png"]
    assert max(grown) <= 1001


def test_a_member_larger_than_what_is_read_is_refused_by_its_header(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archives, "MOST_BYTES", 1000)
    for name, pack in (("x.tar", tar_bytes), ("x.zip", zip_bytes)):
        path = write(tmp_path / name, pack({"large.png": bytes(2000), "good.png": png(1)}))
        told = refusals(path)
        assert list(told) == ["large.png"]
        assert "2,000 bytes, more than the 1,000" in told["large.png"]


def test_overlapping_zip_members_are_refused(tmp_path: Path) -> None:
    data = bytearray(zip_bytes({"a.png": png(1), "b.png": png(2)}, zipfile.ZIP_STORED))
    first = data.index(b"PK\x01\x02")
    second = data.index(b"PK\x01\x02", first + 4)
    struct.pack_into("<I", data, second + 42, struct.unpack_from("<I", data, first + 42)[0])
    told = refusals_or_error(write(tmp_path / "x.zip", bytes(data)))
    assert "overlaps" in told


def refusals_or_error(path: Path) -> str:
    try:
        return " ".join(refusals(path).values())
    except DataError as error:
        return str(error)


def encrypted_zip() -> bytes:
    data = bytearray(zip_bytes({"a.png": png(1)}))
    for mark, at in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        data[data.index(mark) + at] |= 1
    return bytes(data)


def zip_with_link() -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        info = zipfile.ZipInfo("link.png")
        info.external_attr = 0o120777 << 16
        archive.writestr(info, "/etc/passwd")
    return out.getvalue()


@pytest.mark.parametrize(
    ("name", "data", "says"),
    [
        ("cut.zip", zip_bytes({"a.png": png(1)})[:-30], "not a whole zip"),
        ("empty.zip", b"", "not a whole zip"),
        ("empty.tar", b"", "not a whole tar"),
        ("text.tar", b"hello" * 1000, "not a whole tar"),
        ("x.tar.gz", b"\x1f\x8b", "unpack it to a plain .tar"),
        ("secret.zip", encrypted_zip(), "encrypted"),
        ("link.zip", zip_with_link(), "a link"),
        ("up.zip", zip_bytes({"../a.png": png(1)}), "leaves the archive"),
        ("packed.zip", zip_bytes({"a.png": png(1)}, zipfile.ZIP_LZMA), "packed by method 14"),
    ],
)
def test_an_archive_without_one_usable_member_is_an_error_that_says_why(
    tmp_path: Path, name: str, data: bytes, says: str
) -> None:
    path = write(tmp_path / name, data)
    with pytest.raises(DataError, match=says):
        items(path)
    write(tmp_path / "good.png", png())
    assert says in " ".join(refusals(tmp_path).values())  # among other pictures it is a reject


def test_a_flipped_bit_of_a_zip_member_is_seen(tmp_path: Path) -> None:
    data = bytearray(zip_bytes({"a.png": png(1), "b.png": png(2)}, zipfile.ZIP_STORED))
    data[80] ^= 1
    assert list(refusals(write(tmp_path / "x.zip", bytes(data)))) == ["a.png"]


@pytest.mark.parametrize(
    ("side", "fact", "says"),
    [
        ({"a.json": b"not json"}, ".json file", "Expecting value"),
        ({"a.json": b"[1, 2]"}, ".json file", "a JSON object is needed"),
        ({"a.json": b""}, ".json file", "Expecting value"),
        ({"a.json": b'{"score": "high"}'}, "score", "'high'"),
        ({"a.json": b"[" * 100_000}, ".json file", "nested too deeply"),
        ({"a.txt": bytes(2 << 20)}, ".txt file", "a side file of 2,097,152 bytes"),
    ],
)
def test_a_side_file_that_cannot_be_read_is_counted_and_its_picture_taken(
    tmp_path: Path, side: dict[str, bytes], fact: str, says: str
) -> None:
    path = write(tmp_path / "x.tar", tar_bytes({"a.png": png(1), **side, "b.png": png(2)}))
    assert [read_item(item).data for item in items(path)] == [png(1), png(2)]
    found = notes(path)
    assert found.unread_facts == {fact: 1}
    assert says in found.examples[fact]
    assert f"{path}#a." in found.examples[fact]


def test_an_archive_of_many_members_comes_in_batches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source_items, "BATCH_ROWS", 10)
    path = write(tmp_path / "x.tar", tar_bytes({f"{number}.png": b"x" for number in range(25)}))
    assert [len(table) for table in list_batches(str(path))] == [10, 10, 5]
    assert counts(path) == {}


def test_headers_that_ask_for_too_much_at_once_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A pax header states its own size, which would be read into memory."""
    monkeypatch.setattr(archives, "_MOST_AT_ONCE", 10_000)
    info = entry("a.png")
    info.pax_headers = {"comment": "x" * 20_000}
    path = write(tmp_path / "x.tar", tar_of([info]))
    assert "headers ask for" in refusals_or_error(path)


# ---- keys that come again, archives that were joined ----------------------------------------------------------------


Members = list[tuple[str, bytes]]


def tar_in_order(members: Members) -> bytes:
    """A tar in which a name may come more than once."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return out.getvalue()


def zip_in_order(members: Members) -> bytes:
    out = io.BytesIO()
    with warnings.catch_warnings(action="ignore"), zipfile.ZipFile(out, "w") as archive:
        for name, data in members:
            archive.writestr(name, data)
    return out.getvalue()


def sample(key: str, number: int, kinds: str = "csj", suffix: str = "png") -> Members:
    """Colour, sketch, json, txt, mask of one sample; `number` tells samples of one key apart."""
    files = {
        "c": (f"{key}.{suffix}", png(10 * number)),
        "s": (f"{key}.sketch.png", png(10 * number + 1)),
        "m": (f"{key}.mask.png", png(10 * number + 2)),
        "j": (f"{key}.json", json.dumps({"group": f"g{number}"}).encode()),
        "t": (f"{key}.txt", f"caption {number}".encode()),
    }
    return [files[kind] for kind in kinds]


def sample_numbers(path: Path) -> list[dict[str, int]]:
    """For each picture which sample its files are of: every one of them must be of the same."""
    found = []
    numbers = {png(10 * number + kind): number for number in range(5) for kind in range(3)}
    for item in items(path):
        if "refused" in item.detail:
            continue
        data = read_item(item)
        parts = {"c": data.data, "s": data.drawn_sketch, "m": data.mask}
        one = {kind: numbers[part] for kind, part in parts.items() if part is not None}
        one |= {"j": int(item.group[1:])} if item.group else {}
        one |= {"t": int(item.caption[-1])} if item.caption else {}
        found.append(one)
    return found


PACKS = pytest.mark.parametrize(("name", "pack"), [("x.tar", tar_in_order), ("x.zip", zip_in_order)])
Pack = Callable[[Members], bytes]


@PACKS
@pytest.mark.parametrize(
    "members",
    [
        sample("0", 1, "csjtm") + sample("0", 2, "csjtm"),  # side by side: cut where everything begins anew
        sample("0", 1, "cs") + sample("9", 3, "c") + sample("0", 2, "csj"),  # two runs
        sample("0", 1, "sc") + sample("0", 2, "sc", "jpg") + sample("0", 3, "sc", "webp"),
        sample("0", 1, "c") + sample("9", 3, "cj") + sample("0", 2, "cj", "jpg"),  # not the json of the other run
    ],
)
def test_a_key_that_comes_again_is_another_sample_and_never_shares_its_files(
    tmp_path: Path, name: str, pack: Pack, members: Members
) -> None:
    found = sample_numbers(write(tmp_path / name, pack(members)))
    assert len(found) == sum(member.endswith((".jpg", ".webp", "0.png", "9.png")) for member, _ in members)
    assert all(len({*one.values()}) == 1 for one in found)
    assert sum(len(one) for one in found) == len(members)


@PACKS
@pytest.mark.parametrize(
    "members",
    [
        sample("0", 1, "csj") + sample("0", 2, "sc"),  # whose is the second sketch?
        sample("0", 1, "cj") + sample("9", 3, "c") + sample("0", 2, "j"),
        [*sample("0", 1, "cs"), ("0.sketch.jpg", png(21))],
        sample("0", 1, "c") + sample("9", 3, "c") + sample("0", 2, "c") + sample("8", 4, "c") + sample("0", 2, "s"),
    ],
)
def test_a_key_whose_files_cannot_be_told_apart_is_refused_with_the_archive(
    tmp_path: Path, name: str, pack: Pack, members: Members
) -> None:
    path = write(tmp_path / name, pack([*members, *sample("good", 4, "csj")]))
    told = [json.loads(item.detail)["refused"] for item in items(path) if item.uri.endswith("#0.png")]
    assert told
    assert all("under the key 0; which files belong together cannot be known" in why for why in told)
    good = [item for item in items(path) if item.uri.endswith("#good.png")]
    assert read_item(good[0]).drawn_sketch == png(41)


@PACKS
def test_one_key_in_two_shards_or_two_folders_of_an_archive_are_two_samples(
    tmp_path: Path, name: str, pack: Pack
) -> None:
    write(tmp_path / "one" / name, pack(sample("0", 1, "csj") + sample("deep/0", 2, "csj")))
    write(tmp_path / "two" / name, pack(sample("0", 3, "csj")))
    write(tmp_path / "zwei" / name, pack(sample("0", 4, "c")))
    assert [{*one.values()} for one in sample_numbers(tmp_path)] == [{1}, {2}, {3}, {4}]
    assert len(sample_numbers(tmp_path)[3]) == 1


@pytest.mark.parametrize("between", [b"", bytes(512), bytes(512 * 40), bytes(1 << 20)])
def test_tars_joined_end_to_end_are_read_to_the_last_one(tmp_path: Path, between: bytes) -> None:
    parts = [tar_in_order(sample("0", number, "csj")) for number in (1, 2, 3)]
    path = write(tmp_path / "x.tar", between.join(parts))
    assert sample_numbers(path) == [{"c": number, "s": number, "j": number} for number in (1, 2, 3)]
    assert refusals(path) == {}


def test_zero_blocks_inside_a_tar_end_nothing(tmp_path: Path) -> None:
    one, two = (tar_in_order([(f"{name}.png", png(1))])[:1024] for name in "ab")
    path = write(tmp_path / "x.tar", one + bytes(512) + two + bytes(1024))
    assert short(items(path)) == ["x.tar#a.png", "x.tar#b.png"]
    assert refusals(path) == {}


@pytest.mark.parametrize("rubbish", [b"rubbish", b"x" * 5000, b"\0" * 511 + b"x"])
def test_what_stands_behind_the_end_of_a_tar_and_is_none_is_named_with_its_byte(tmp_path: Path, rubbish: bytes) -> None:
    whole = tar_bytes({"a.png": png(1)})
    path = write(tmp_path / "x.tar", whole + rubbish)
    assert [read_item(item).data for item in items(path)[:1]] == [png(1)]
    assert list(refusals(path).values()) == [
        f"what stands behind its end, from byte {len(whole):,} on, is no tar archive and is not read"
    ]


def test_a_joined_tar_that_is_cut_says_where(tmp_path: Path) -> None:
    first, second = tar_bytes({"a.png": png(1)}), tar_bytes({"b.png": png(2), "c.png": png(3)})
    path = write(tmp_path / "x.tar", first + second[: 512 + 512 + 512 + 100])
    told = refusals(path)
    assert [item.uri.rpartition("#")[2] for item in items(path) if "refused" not in item.detail] == ["a.png", "b.png"]
    assert told["c.png"] == "the archive ends inside this member"
    assert "what follows byte" in told[""]


def test_zeros_without_end_behind_a_tar_are_not_gone_through(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives, "_MOST_ZEROS", 4 << 20)
    whole = tar_bytes({"a.png": png(1)})
    path = write(tmp_path / "x.tar", whole)
    with path.open("r+b") as file:
        file.truncate(1 << 40)  # a terabyte that takes no room
    assert "more than 4 MiB of zeros" in next(iter(refusals(path).values()))


@pytest.mark.parametrize("magic", [b"\x1f\x8b\x08", b"BZh9", b"\xfd7zXZ\0", b"\x28\xb5\x2f\xfd"])
def test_a_compressed_tar_under_the_name_of_a_plain_one_is_named(tmp_path: Path, magic: bytes) -> None:
    with pytest.raises(DataError, match=r"unpack it to a plain \.tar"):
        items(write(tmp_path / "x.tar", magic + bytes(600)))


def test_zips_joined_end_to_end_are_read_from_the_first_on(tmp_path: Path) -> None:
    parts = [zip_in_order(sample("0", number, "csj")) for number in (1, 2, 3)]
    path = write(tmp_path / "x.zip", b"".join(parts))
    assert sample_numbers(path) == [{"c": number, "s": number, "j": number} for number in (1, 2, 3)]


def test_a_zip_behind_a_program_or_with_folders_first_is_a_whole_one(tmp_path: Path) -> None:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("deep/", b"")
        archive.writestr("deep/a.png", png(1))
    for before in (b"", b"MZ" + b"program" * 100):
        path = write(tmp_path / "x.zip", before + out.getvalue() + bytes(100))
        assert [read_item(item).data for item in items(path)] == [png(1)]
        assert refusals(path) == {}


@pytest.mark.parametrize(
    ("before", "behind", "says"),
    [
        (zip_bytes({"lost.png": png(2)})[:-10], b"", "no whole zip archive and is not read"),
        (b"", zip_bytes({"lost.png": png(2)})[:-60], "what stands behind its end, from byte"),
    ],
)
def test_a_damaged_zip_joined_to_a_whole_one_is_named(tmp_path: Path, before: bytes, behind: bytes, says: str) -> None:
    path = write(tmp_path / "x.zip", before + zip_bytes({"a.png": png(1)}) + behind)
    told = refusals(path)
    assert says in " ".join(told.values())
    assert [read_item(item).data for item in items(path) if item.uri.endswith("#a.png")] == [png(1)]
