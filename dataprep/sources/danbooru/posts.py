"""A post of Danbooru's metadata in the words of a candidate, in each spelling in which dumps came.

Danbooru2017 to 2020 give `tags` as [{"id", "name", "category"}] and numbers as text; Danbooru2021 and the later dumps
give `tag_string_general`, `tag_string_artist`, ... and numbers, or `tag_string` alone; gallery-dl writes these beside
each picture. Categories are 0 general, 1 artist, 3 copyright, 4 character, 5 meta. General tags stay plain, the others
become "artist:...", and so on. A parent of "0" is none; a post with children is the parent of its own group.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from dataprep.sources.facts import FactReader, Unreadable, day, flag, is_unknown, number, text, whole
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
# What only posts have. One column of tags is enough, of the others it takes two.
_TAGS_OF_POSTS = frozenset({"tag_string", *_STRINGS})
_OWN = frozenset(
    {"image_width", "image_height", "file_ext", "parent_id", "has_children", "is_deleted", "is_banned", "pool_string"}
)


def is_post(entry: Mapping[str, Any]) -> bool:
    """Whether a JSON object is a Danbooru post rather than a line of an index."""
    return "tag_string" in entry or "tag_string_general" in entry or "image_width" in entry


def columns_of_posts(names: Iterable[str]) -> list[str]:
    """By which of its columns a table is one of posts; none where it is not. Other tables have an `id` too."""
    there = set(names)
    found = sorted(there & _TAGS_OF_POSTS) or sorted(there & _OWN)
    return found if "id" in there and (there & _TAGS_OF_POSTS or len(found) > 1) else []


def post_id(entry: Mapping[str, Any]) -> int | None:
    """The number of the post; None where the dump keeps it back (posts for paying members). Raises Unreadable."""
    return whole(entry.get("id"))


def post_facts(
    entry: Mapping[str, Any],
    where: str,
    reader: FactReader,
    categories: Mapping[str, int] | None = None,
    pool: int | None = None,
) -> Row:
    """The facts of a post as candidate columns; `categories` of tags and its `pool` where other tables of the dump know
    them."""
    post = _Post(entry, where, reader, categories or {})
    tags = post.tags()
    pool_id = pool if pool is not None else post.first_pool()
    parent = post.whole("parent_id")
    own = post.whole("id") if reader.read("has_children", flag, entry.get("has_children"), where) else None
    row: Row = {
        "tags": tags,
        "rating": post.text("rating") or None,
        "score": reader.read("score", number, entry.get("score"), where),
        "width": post.whole("image_width"),
        "height": post.whole("image_height"),
        "date": reader.read("created_at", day, entry.get("created_at"), where),
        "pool": f"pool:{pool_id}" if pool_id else None,
        "parent": f"parent:{parent or own}" if parent or own else None,
        "deleted": reader.read("is_deleted", flag, entry.get("is_deleted"), where),
        "banned": reader.read("is_banned", flag, entry.get("is_banned"), where),
    }
    row["group"] = row["pool"] or row["parent"]
    row["column"] = None if reader.column is None else _column(entry, reader.column, tags)
    return row


class _Post:
    """One post and how its values are read."""

    def __init__(self, entry: Mapping[str, Any], where: str, reader: FactReader, categories: Mapping[str, int]) -> None:
        self._entry, self._where, self._reader, self._categories = entry, where, reader, categories

    def text(self, name: str) -> str | None:
        found: str | None = self._reader.read(name, text, self._entry.get(name), self._where)
        return found

    def whole(self, name: str) -> int | None:
        found: int | None = self._reader.read(name, whole, self._entry.get(name), self._where)
        return found

    def tags(self) -> list[str] | None:
        listed = self._entry.get("tags")
        if isinstance(listed, list) and not (
            listed and isinstance(listed[0], str) and "tag_string_general" in self._entry
        ):
            tags = (self._reader.read("tags", self._tag, tag, self._where) for tag in listed)
            return [tag for tag in tags if tag]
        if "tag_string_general" in self._entry:
            given = ((prefix, name) for name, prefix in _STRINGS.items() if self._entry.get(name))
            return [prefix + tag for prefix, name in given for tag in (self.text(name) or "").split()]
        string = self.text("tag_string")
        return None if string is None else [self._tag(tag) for tag in string.split()]

    def _tag(self, tag: Any) -> str:
        if isinstance(tag, str):
            return CATEGORIES.get(self._categories.get(tag, 0), "") + tag
        if not isinstance(tag, dict) or not isinstance(tag.get("name"), str):
            raise Unreadable
        return CATEGORIES.get(whole(tag.get("category")) or 0, "") + tag["name"]

    def first_pool(self) -> int | None:
        """The oldest pool of a post, whether its pools are numbers, objects or "pool:1 pool:2"."""
        pools = self._entry.get("pools")
        if is_unknown(pools) or not pools:
            pools = self.text("pool_string")
        if isinstance(pools, str):
            pools = [word.rpartition(":")[2] for word in pools.split()]
            pools = [word for word in pools if word.isdecimal()]
        if pools is None:
            return None
        if not isinstance(pools, list):
            self._reader.notes.unreadable("pools", pools, self._where)
            return None
        ids = (pool.get("id") if isinstance(pool, dict) else pool for pool in pools)
        numbers = [self._reader.read("pools", whole, one, self._where) for one in ids]
        return min((one for one in numbers if one), default=None)


def _column(entry: Mapping[str, Any], column: str, tags: list[str] | None) -> str | None:
    """The value of a column; of artist, character and copyright the one tag, where there is exactly one."""
    if column in ("artist", "character", "copyright"):
        found = [tag for tag in tags or () if tag.startswith(f"{column}:")]
        return found[0] if len(found) == 1 else None
    value = entry.get(column)
    return None if is_unknown(value) or value in ("", 0, "0") else str(value)
