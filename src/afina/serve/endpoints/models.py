"""Say which models can be asked: the base and the adapters, each with its parent, as OpenAI lists them."""

import asyncio
from typing import Any

from afina.serve.adapters import Does
from afina.serve.http.call import Call
from afina.serve.http.endpoint import ServerEndpoint, endpoint
from afina.serve.http.house import House
from afina.serve.http.refusals import not_here

__all__ = ["Model", "Models"]


@endpoint("/v1/models")
class Models(ServerEndpoint):
    """Lists what the caller may ask."""

    method = "GET"

    @classmethod
    async def answer(cls, call: Call, body: None) -> dict[str, Any]:
        house = call.house
        names = [name for name in (house.bases.name, *house.shelf.names()) if call.caller.may(name)]
        return {"object": "list", "data": await _all_told(house, names)}


@endpoint("/v1/models/{model:path}")
class Model(ServerEndpoint):
    """Describes one of them."""

    method = "GET"

    @classmethod
    async def answer(cls, call: Call, body: None) -> dict[str, Any]:
        name, house = call.request.path_params["model"], call.house
        if not call.caller.may(name) or name not in (house.bases.name, *house.shelf.names()):
            raise not_here(name)
        return (await _all_told(house, [name]))[0]


async def _all_told(house: House, names: list[str]) -> list[dict[str, Any]]:
    """Return what is known of models; folders are read on another thread."""
    return await asyncio.get_running_loop().run_in_executor(None, lambda: [_told(house, name) for name in names])


def _told(house: House, name: str) -> dict[str, Any]:
    """Return what is known of a model; of an adapter that nobody has asked for yet, what it does."""
    is_base = name == house.bases.name
    does = Does(house.writes, False) if is_base else house.shelf.does(name)
    about: dict[str, Any] = {
        "id": name, "object": "model", "created": int(house.since), "owned_by": "afina", "root": name,
        "parent": None if is_base else house.bases.name, "writes": does.writes, "classifies": does.labels,
    }  # fmt: skip
    version = None if is_base else house.shelf.current(name)
    if version is not None and (predictor := version.predictor) is not None:
        task = predictor.task
        labels = None if task.label_names is None else list(task.label_names)
        about |= {"method": predictor.record.method, "task": task.name, "labels": labels, "version": version.number}
    return about
