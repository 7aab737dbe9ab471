"""The command `irodori weights list`."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from jobs.options import Json, Store
from jobs.output import print_json, print_result

if TYPE_CHECKING:
    from pipelines.weights.store import StoredWeights


def command(store: Store = None, json_: Json = False) -> None:
    """Every network of the catalogue: whether the store holds it, its licence, and the command that brings it."""
    from pipelines.common.addresses import check_buckets
    from pipelines.weights.store import all_stored, store_address

    address = store_address(store)
    check_buckets(address)
    held = all_stored(store)
    networks = _documents(held, store)
    if json_:
        print_json({"store": address, "networks": networks})
        return
    lines = [f"{address} holds {len(held)} of the networks below"]
    for network in networks:
        lines.append(f"{network['name']:<22}{network['what']} [{network['licence']}]")
        lines.append(" " * 22 + _state(network))
    print_result("\n".join(lines))


def _documents(held: dict[str, "StoredWeights"], store: str | None) -> list[dict[str, Any]]:
    from model.weights.catalogue import CATALOGUE
    from pipelines.weights.store import command_to_get

    return [
        {
            "name": name,
            "what": entry.what,
            "licence": entry.licence,
            "stored": asdict(held[name]) if name in held else None,
            "command": command_to_get(name, store),
        }
        for name, entry in CATALOGUE.items()
    ]


def _state(network: dict[str, Any]) -> str:
    stored = network["stored"]
    if stored is None:
        return f"not there: {network['command']}"
    other = " (NOT the published file)" if stored["known_sha256"] is False else ""
    return f"sha256 {stored['sha256'][:12]}… from {stored['source']}{other}"
