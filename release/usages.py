"""The use cases of the API, from ``website/usages.toml``: what each one asks for, and the words for it.

The request form, the guides, the fictional town's portal and the citizen's access log take them from here.
"""

import tomllib
from functools import lru_cache
from typing import Final, Literal

from pydantic import BaseModel, ConfigDict

from api_particulier.scopes import fields_of
from ops.functions import datasets
from ops.template import ROOT

TABLE: Final = ROOT / "website/usages.toml"

type Source = Literal["impots", "caf", "identite"]


class Demande(BaseModel):
    """One request of a use case: its route, its scopes, and what its response is for."""

    model_config = ConfigDict(frozen=True)

    source: Source
    route: str
    portees: tuple[str, ...]
    pour: str

    @property
    def chemin(self) -> str:
        """The path of its route: those by number stand under ``/api``."""
        return self.route if self.source == "identite" else f"/api{self.route}"


class Usage(BaseModel):
    """A use case; ``usages.toml`` documents each field."""

    model_config = ConfigDict(frozen=True)

    id: str
    nom: str
    guide: str
    finalite: str
    demandes: tuple[Demande, ...]

    @property
    def portees(self) -> tuple[str, ...]:
        """The scopes of all requests, each one once."""
        return tuple(dict.fromkeys(scope for demande in self.demandes for scope in demande.portees))


class _Table(BaseModel):
    jeux: dict[str, str]
    donnees: dict[str, str]
    usage: tuple[Usage, ...]


@lru_cache(maxsize=1)
def _table() -> _Table:
    return _Table.model_validate(tomllib.loads(TABLE.read_text()))


def usages() -> tuple[Usage, ...]:
    """Return every use case, in the order of the table."""
    return _table().usage


def jeux() -> dict[str, str]:
    """Return the name in French of each dataset; one that has none is shown by its own name."""
    return {dataset.name: _table().jeux.get(dataset.name, dataset.name) for dataset in datasets()}


def donnees() -> dict[str, str]:
    """Return the name in French of what each scope opens."""
    return dict(_table().donnees)


def fields() -> dict[str, dict[str, str]]:
    """Return the name in French of each field, by dataset; a field of a scope without a name has none."""
    names = donnees()
    return {
        dataset.name: {
            field: names[scope]
            for model in dataset.routes.values()
            for field, scope in fields_of(model)
            if scope in names
        }
        for dataset in datasets()
    }


def guide(page: str, name: str) -> str:
    """Return a guide whose section "Ce qu'il faut demander" lists the requests of its use cases."""
    cases = [usage for usage in usages() if usage.guide == name]
    if not cases:
        return page
    before, rest = page.split(_HEADING, 1)
    _, after = rest.split(_AFTER, 1)
    asked = "\n\n".join(_asked(usage, titled=len(cases) > 1) for usage in cases)
    return f"{before}{_HEADING}\n\n{asked}\n\n{_AFTER}{after}"


_HEADING: Final = "## Ce qu'il faut demander"
_AFTER: Final = "Ne demandez rien de plus"


def _asked(usage: Usage, *, titled: bool) -> str:
    lines = [f"**{usage.nom}**", ""] if titled else []
    for demande in usage.demandes:
        *others, last = (f"`{scope}`" for scope in demande.portees)
        scopes = f"les scopes {', '.join(others)} et {last}" if others else f"le scope {last}"
        lines.append(f"- `GET {demande.route}`, avec {scopes} : {demande.pour}.")
    return "\n".join(lines)
