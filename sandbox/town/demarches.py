"""Read the services of the fictional town and their prices: ``demarches.toml``."""

import tomllib
from pathlib import Path
from typing import Final

from pydantic import BaseModel

from release.usages import Demande, Source, Usage, usages

TOWN: Final = Path(__file__).parent / "demarches.toml"
ORGANISATION: Final = "Ville de Fictive"
SIRET: Final = "21000015400018"


class Tranche(BaseModel):
    """A price band of the town, up to a monthly quotient."""

    jusqua: int | None = None
    prix: float


class Demarche(BaseModel):
    """A service of the town; ``demarches.toml`` documents each field."""

    chemin: str
    usage: str
    nom: str
    phrase: str
    image: str
    unite: str = ""
    grille: list[Tranche] = []

    def tranche(self, quotient: float) -> Tranche:
        """Return the price band of a monthly quotient."""
        return next(band for band in self.grille if band.jusqua is None or quotient <= band.jusqua)

    @property
    def cas(self) -> Usage:
        """The use case; raises ``StopIteration`` when the table has none of this id."""
        return next(usage for usage in usages() if usage.id == self.usage)

    @property
    def finalite(self) -> str:
        return self.cas.finalite

    @property
    def sources(self) -> list[Source]:
        """The sources that the town asks, each one once."""
        return list(dict.fromkeys(demande.source for demande in self.cas.demandes))

    def demandes(self, source: Source) -> list[Demande]:
        """Return what the town asks of a source."""
        return [demande for demande in self.cas.demandes if demande.source == source]

    def portees_de(self, source: Source) -> list[str]:
        """Return the scopes that the town needs of a source."""
        return list(dict.fromkeys(scope for demande in self.demandes(source) for scope in demande.portees))

    @property
    def portees(self) -> frozenset[str]:
        """The scopes of the town's key for this service."""
        return frozenset(self.cas.portees)


def demarches(path: Path = TOWN) -> list[Demarche]:
    """Read the town's services."""
    return [Demarche.model_validate(fields) for fields in tomllib.loads(path.read_text())["demarche"]]
