"""A post of Danbooru's metadata in the words of a candidate, in each spelling in which dumps came.

Danbooru2017 to 2020 give `tags` as [{"id", "name", "category"}] and numbers as text; Danbooru2021 and the later dumps
give `tag_string_general`, `tag_string_artist`, ... and numbers, or `tag_string` alone. Categories are 0 general,
1 artist, 3 copyright, 4 character, 5 meta. General tags stay plain, the others become "artist:...", and so on. A parent
of "0" is none; a post with children is the parent of its own group.
"""

from collections.abc import Mapping
from typing import Any

from dataprep.errors import DataError
from dataprep.sources.facts import MOST_WHOLE, day, flag, text
from dataprep.sources.items import Row

CATEGORIES = {0: "", 1: "artist:", 3: "copyright:", 4: "character:", 5: "meta:"}
_STRINGS = {
    "tag_string_general": "",
    "tag_string_artist": "artist:",
    "tag_string_copyright": "copyright:",
    "tag_string_character": "character:",
    "tag_string_meta": "meta:",
}
COLUMNS = (  # of a metadata table, where one is read column by column
    *("id", "score", "rating", "image_width", "image_height", "created_at", "file_ext", "parent_id", "has_children"),
    *("is_deleted", "is_banned", "pools", "pool_string", "tags", "tag_string", *_STRINGS),
)


def is_post(entry: Mapping[str, Any]) -> bool:
    """Whether a JSON object is a Danbooru post rather than a line of an index."""
    return "tag_string" in entry or "tag_string_general" in entry or "image_width" in entry


def post_id(entry: Mapping[str, Any], where: str) -> int | None:
    """The number of the post; None where the dump keeps it back (posts for paying members)."""
    return whole_number(entry.get("id"), "id", where)


def post_facts(
    entry: Mapping[str, Any],
    where: str,
    column: str | None,
    categories: Mapping[str, int] | None = None,
    pool: int | None = None,
) -> Row:
    """The facts of a post as candidate columns; `categories` of tags and its `pool` where other tables of the dump know
    them."""
    tags = _tags(entry, where, categories or {})
    pool_id = pool if pool is not None else _first_pool(entry, where)
    parent = whole_number(entry.get("parent_id"), "parent_id", where)
    own = whole_number(entry.get("id"), "id", where) if flag(entry.get("has_children")) else None
    row: Row = {
        "tags": tags,
        "rating": text(entry.get("rating"), "rating", where) or None,
        "score": whole_number(entry.get("score"), "score", where),
        "width": whole_number(entry.get("image_width"), "image_width", where),
        "height": whole_number(entry.get("image_height"), "image_height", where),
        "date": day(entry.get("created_at")),
        "pool": f"pool:{pool_id}" if pool_id else None,
        "parent": f"parent:{parent or own}" if parent or own else None,
        "deleted": flag(entry.get("is_deleted")),
        "banned": flag(entry.get("is_banned")),
    }
    row["group"] = row["pool"] or row["parent"]
    row["column"] = None if column is None else _column(entry, column, tags)
    return row


def _tags(entry: Mapping[str, Any], where: str, categories: Mapping[str, int]) -> list[str] | None:
    listed = entry.get("tags")
    if isinstance(listed, list):
        return [_tag(tag, where, categories) for tag in listed]
    if "tag_string_general" in entry:
        given = ((prefix, name) for name, prefix in _STRINGS.items() if entry.get(name))
        return [prefix + tag for prefix, name in given for tag in _split(entry[name], name, where)]
    if entry.get("tag_string") is None:
        return None
    return [_tag(tag, where, categories) for tag in _split(entry["tag_string"], "tag_string", where)]


def _tag(tag: Any, where: str, categories: Mapping[str, int]) -> str:
    if isinstance(tag, str):
        return CATEGORIES.get(categories.get(tag, 0), "") + tag
    if not isinstance(tag, dict) or not isinstance(tag.get("name"), str):
        raise DataError(f"{where}: a tag must be a word or have a name, not {tag!r}.")
    return CATEGORIES.get(whole_number(tag.get("category"), "category", where) or 0, "") + tag["name"]


def _split(value: Any, name: str, where: str) -> list[str]:
    return (text(value, name, where) or "").split()


def _first_pool(entry: Mapping[str, Any], where: str) -> int | None:
    """The oldest pool of a post, whether its pools are numbers, objects or "pool:1 pool:2"."""
    pools = entry.get("pools")
    if not pools and not entry.get("pool_string"):
        return None
    if not isinstance(pools, list):
        pools = [word.rpartition(":")[2] for word in _split(entry.get("pool_string"), "pool_string", where)]
        pools = [word for word in pools if word.isdecimal()]
    numbers = [whole_number(pool.get("id") if isinstance(pool, dict) else pool, "pools", where) for pool in pools]
    return min((number for number in numbers if number), default=None)


def _column(entry: Mapping[str, Any], column: str, tags: list[str] | None) -> str | None:
    """The value of a column; of artist, character and copyright the one tag, where there is exactly one."""
    if column in ("artist", "character", "copyright"):
        found = [tag for tag in tags or () if tag.startswith(f"{column}:")]
        return found[0] if len(found) == 1 else None
    value = entry.get(column)
    return None if value in (None, "", 0, "0") else str(value)


def whole_number(value: Any, name: str, where: str) -> int | None:
    """A whole number, which some dumps write as text."""
    if value is None or value == "":
        return None
    try:
        number = int(value)
        if isinstance(value, bool) or abs(number) > MOST_WHOLE:
            raise ValueError
        return number
    except (ValueError, TypeError, OverflowError) as error:
        raise DataError(f"{where}: {name} must be a whole number, not {value!r}.") from error
