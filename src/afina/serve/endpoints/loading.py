"""Load and unload adapters while the server runs, as vLLM has it; for an admin's key alone."""

from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, StringConstraints

from afina.errors import UsageError
from afina.serve.adapters import NoSuchAdapter
from afina.serve.http.bodies import Body
from afina.serve.http.call import Call
from afina.serve.http.endpoint import ServerEndpoint, endpoint
from afina.serve.http.refusals import no_model, wrong

__all__ = ["LoadAdapter", "UnloadAdapter"]

AdapterName = Annotated[str, StringConstraints(pattern=r"^[\w][\w.~+@ -]{0,199}$")]


class LoadBody(Body):
    """Names an adapter and its folder on the server's machine."""

    lora_name: AdapterName
    lora_path: Annotated[str, Field(min_length=1, max_length=4000)]
    load_inplace: bool = False
    """Replace an adapter that has this name."""


class UnloadBody(Body):
    """Names an adapter that is to go."""

    lora_name: AdapterName
    lora_int_id: int | None = None
    """vLLM's number of it, which says nothing here."""


@endpoint("/v1/load_lora_adapter")
class LoadAdapter(ServerEndpoint):
    """Takes up an adapter of any method, and loads it."""

    body, admin = LoadBody, True

    @classmethod
    async def answer(cls, call: Call, body: LoadBody) -> dict[str, Any]:
        shelf, path = call.house.shelf, body.lora_path
        if "\0" in path:
            raise wrong("lora_path holds a NUL.", "lora_path")

        def load() -> None:
            # In the one thread that loads: of two who load a name at one time the second would replace the first's.
            if body.lora_name in shelf.names() and not body.load_inplace:
                what = f"There is a model '{body.lora_name}' already; say load_inplace to have this one in its place."
                raise wrong(what, "lora_name")
            shelf.put(body.lora_name, Path(path).expanduser())

        try:
            await call.house.loaded(load)
        except (UsageError, NoSuchAdapter) as error:
            raise wrong(str(error), "lora_path") from None
        except (OSError, RuntimeError) as error:  # a name too long, a home that is nobody's
            raise wrong(f"lora_path cannot be read: {error}.", "lora_path") from None
        call.adapter = body.lora_name
        return {"status": "ok", "model": body.lora_name}


@endpoint("/v1/unload_lora_adapter")
class UnloadAdapter(ServerEndpoint):
    """Lets go of an adapter; requests that run are answered by it to their end."""

    body, admin = UnloadBody, True

    @classmethod
    async def answer(cls, call: Call, body: UnloadBody) -> dict[str, Any]:
        try:
            call.house.shelf.drop(body.lora_name)
        except NoSuchAdapter as error:
            raise no_model(str(error)) from None
        return {"status": "ok", "model": body.lora_name}
