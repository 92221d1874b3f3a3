"""What the fictional town of the sandbox offers, asks for and charges: ``demarches.toml``."""

import tomllib
from pathlib import Path
from typing import Final, Literal

from pydantic import BaseModel

TOWN: Final = Path(__file__).parent / "demarches.toml"
ORGANISATION: Final = "Ville de Fictive"
SIRET: Final = "21000015400018"

type Source = Literal["impots", "caf"]


class Tranche(BaseModel):
    """A band of the town's grid."""

    jusqua: int | None = None
    prix: float


class Asked(BaseModel):
    """What the town asks of a source."""

    route: str
    portees: list[str]


class Demarche(BaseModel):
    """A service of the town; ``demarches.toml`` tells of each key."""

    chemin: str
    nom: str
    phrase: str
    image: str
    finalite: str
    unite: str
    sources: dict[Source, Asked]
    grille: list[Tranche]

    def tranche(self, quotient: float) -> Tranche:
        """Return the band of a monthly quotient."""
        return next(one for one in self.grille if one.jusqua is None or quotient <= one.jusqua)

    @property
    def portees(self) -> frozenset[str]:
        return frozenset(scope for source in self.sources.values() for scope in source.portees)


def demarches(path: Path = TOWN) -> list[Demarche]:
    """Read the town's services."""
    return [Demarche.model_validate(one) for one in tomllib.loads(path.read_text())["demarche"]]
