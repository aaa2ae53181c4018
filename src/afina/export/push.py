"""Upload an adapter or an export to the Hugging Face hub: only when asked, in one commit, private unless told.

All that can be known is asked before: who is logged in, whether the name is free or holds an earlier upload, who can see it.
"""

import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from afina import hub
from afina.card.blocks import parse
from afina.card.write import CARD
from afina.errors import AfinaError, UsageError, shown
from afina.export.parcel import parcel_of

__all__ = ["HubPlace", "Pushed", "place_for", "push"]

_ALWAYS_THERE = {".gitattributes", CARD}


@dataclass(frozen=True)
class HubPlace:
    """Says where something is to go: a name on the hub that is this person's, and what is there already."""

    name: str
    """The repository, with its owner: `ana/tickets`."""
    private: bool
    commit: str | None = None
    """The last commit, None where nothing is there yet."""
    files: tuple[str, ...] = ()
    card: str | None = None


@dataclass(frozen=True)
class Pushed:
    """Says what was uploaded."""

    name: str
    url: str
    private: bool
    files: tuple[str, ...]
    stays: tuple[str, ...]
    """Files of the folder that did not go: of a kind that may hold rows or predictions."""
    left: tuple[str, ...]
    """Files that were there and are not the folder's."""
    note: str | None = None
    """A note on the parts of the card there that a person wrote, and that stay."""

    def __repr__(self) -> str:
        who = "private" if self.private else "public"
        return f"Pushed('{self.name}', {who}, {len(self.files)} files: {self.url})"


def place_for(name: str, *, public: bool = False) -> HubPlace:
    """Ask the hub about a name before any work.

    Raises `UsageError` where nobody is logged in, for a name that cannot be, is somebody else's, or holds what Afina did not
    write, and for one that all can see where `public` was not said; `AfinaError` where the hub cannot be reached.
    """
    from huggingface_hub import HfApi, constants, get_token
    from huggingface_hub.errors import HFValidationError, RepositoryNotFoundError
    from huggingface_hub.utils._validators import validate_repo_id

    try:
        validate_repo_id(name)
    except HFValidationError:
        raise UsageError(f"{shown(name)} is no name on the hub; one is ana/tickets, or tickets alone.") from None
    # Asked for by whoever set it: no network at all.
    if constants.is_offline_mode():
        raise UsageError("HF_HUB_OFFLINE is set, and so nothing is uploaded; unset it to push.")
    if get_token() is None:
        raise UsageError("Nobody is logged in to the hub here; run `hf auth login` first, or set HF_TOKEN.")
    api = HfApi()
    if not hub.reachable():
        raise AfinaError(f"The hub ({api.endpoint}) cannot be reached; look at the network and try again.")
    with _sentences(name):
        user = str(api.whoami()["name"])
        name = name if "/" in name else f"{user}/{name}"
        try:
            repository = api.model_info(name)
        except RepositoryNotFoundError:
            return HubPlace(name, private=not public)

    # Before anything is written: what would be refused in the end is refused now.
    files = tuple(sorted(entry.rfilename for entry in repository.siblings or ()))
    with _sentences(name):
        card = _card_there(api, name) if CARD in files else None
    _check_there(name, files, card, private=bool(repository.private), public=public)
    return HubPlace(name, bool(repository.private), repository.sha, files, card)


def _check_there(name: str, files: tuple[str, ...], card: str | None, *, private: bool, public: bool) -> None:
    """Raise `UsageError` for a name that holds another's work, or that others see than was said."""
    # A repository that Afina did not write is never written over, whoever owns it.
    if set(files) - {".gitattributes"}:
        try:
            ours = card is not None and parse(card).is_ours
        except UsageError:
            ours = False
        if not ours:
            raise UsageError(
                f"{name} is taken: what is there has no card of Afina's, and is not written over; choose another name."
            )
    if not private and not public:
        raise UsageError(f"{name} is there already, and public; say --public to upload where all can see it.")
    if private and public:
        raise UsageError(
            f"{name} is there already, and private; leave --public out, or make it public on the hub first."
        )


def _card_there(api: Any, name: str) -> str:
    """Return the card that is on the hub now, whatever a cache may hold of it."""
    # A cache could hold the card of an earlier upload.
    with tempfile.TemporaryDirectory() as cache:
        path = api.hf_hub_download(name, CARD, cache_dir=cache)
        return Path(path).read_bytes().decode("utf-8", "replace")


def push(folder: Path, place: HubPlace, *, tell: Callable[[str], None] = lambda what: None) -> Pushed:
    """Upload what of a folder goes to a hub, in one commit: all of it is there then, or nothing new.

    Raises `AfinaError` in one sentence where the hub refuses or cannot be reached; the folder is as it was.
    """
    from huggingface_hub import CommitOperationAdd, HfApi

    parcel = parcel_of(folder, place.name, place.card)

    # One commit of all files, on top of the commit that was looked at: what came meanwhile makes the hub refuse.
    adding = [
        CommitOperationAdd(inside, own if isinstance(own, bytes) else str(own)) for inside, own in parcel.files.items()
    ]
    api = HfApi()
    tell(f"uploading to {place.name}")
    with (
        _sentences(place.name, f"the folder is as it was, and `afina push {folder} {place.name}` tries again"),
        _silent(),
    ):
        if place.commit is None:
            api.create_repo(place.name, private=place.private)
        made = api.create_commit(
            place.name, adding, commit_message="Upload by Afina", parent_commit=place.commit,
        )  # fmt: skip

    # Files that an earlier upload left are named and not removed: a person may have put them there.
    left = tuple(sorted(set(place.files) - set(parcel.files) - _ALWAYS_THERE))
    url = f"{api.endpoint}/{place.name}"
    return Pushed(place.name, str(made.repo_url) if made.repo_url else url, place.private, tuple(sorted(parcel.files)),
                  parcel.stays, left, parcel.note)  # fmt: skip


@contextmanager
def _silent() -> Iterator[None]:
    """Keep the client's own bars from the terminal, which has ours."""
    from huggingface_hub.utils.tqdm import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars

    # As it was before, as a notebook may have switched them off itself.
    before = are_progress_bars_disabled()
    if not before:
        disable_progress_bars()
    try:
        with warnings.catch_warnings():
            # Its LFS uploads give httpx bytes as httpx did not mean to be given them: nobody here can mend that.
            warnings.filterwarnings("ignore", "Use 'content=<...>'", DeprecationWarning)
            yield
    finally:
        if not before:
            enable_progress_bars()


_WHY = {
    401: "the hub does not know your login; run `hf auth login` again",
    403: "your login may not write there: choose a name of your own, or a token that may write",
    404: "it is not there, or your login may not see it",
    409: "the name is taken, or it was changed meanwhile; try again, or choose another name",
    413: "it is too large for the hub",
    429: "the hub was asked too often; wait a while",
}


@contextmanager
def _sentences(name: str, then: str = "nothing was uploaded") -> Iterator[None]:
    """Make one sentence of whatever goes wrong between here and the hub."""
    from huggingface_hub.errors import HfHubHTTPError

    try:
        yield
    except AfinaError:
        raise
    except Exception as error:  # the client speaks through several libraries, each with errors of its own
        first = error

        # The first cause says what happened; what is wrapped around it says where in the client.
        while isinstance(first.__cause__, Exception) and not isinstance(first, HfHubHTTPError):
            first = first.__cause__
        if isinstance(first, HfHubHTTPError):
            status = first.response.status_code
            message = " ".join(str(first.server_message or "").split())[:200].rstrip(".")
            # Numbers of HTTP are no sentence; those above 500 are the hub's own trouble.
            why = _WHY.get(status, "the hub failed; try later" if status >= 500 else "the hub refused it")
            why += f" ({status}: {message})" if message else f" ({status})"
        else:
            why = f"{type(first).__name__}: {' '.join(str(first).split())[:200].rstrip('.')}"
        raise AfinaError(f"{name} was not uploaded: {why}; {then}.") from None
