"""Read the services of the fictional town and their prices: ``demarches.toml``."""

import tomllib
from pathlib import Path
from typing import Final, Literal

from pydantic import BaseModel

TOWN: Final = Path(__file__).parent / "demarches.toml"
ORGANISATION: Final = "Ville de Fictive"
SIRET: Final = "21000015400018"

type Source = Literal["impots", "caf"]


class Tranche(BaseModel):
    """A price band of the town, up to a monthly quotient."""

    jusqua: int | None = None
    prix: float


class SourceRoute(BaseModel):
    """The route that the town calls for a source, and the scopes of its key."""

    route: str
    portees: list[str]


class Demarche(BaseModel):
    """A service of the town; ``demarches.toml`` documents each field."""

    chemin: str
    nom: str
    phrase: str
    image: str
    finalite: str
    unite: str
    sources: dict[Source, SourceRoute]
    grille: list[Tranche]

    def tranche(self, quotient: float) -> Tranche:
        """Return the price band of a monthly quotient."""
        return next(band for band in self.grille if band.jusqua is None or quotient <= band.jusqua)

    @property
    def portees(self) -> frozenset[str]:
        return frozenset(scope for source in self.sources.values() for scope in source.portees)


def demarches(path: Path = TOWN) -> list[Demarche]:
    """Read the town's services."""
    return [Demarche.model_validate(fields) for fields in tomllib.loads(path.read_text())["demarche"]]
