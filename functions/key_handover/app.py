"""The page that a one-time link opens, and the key that it shows once.

The link's secret is after ``#`` in its address: it reaches nobody but the page's own script, which sends it when the
person asks for the key, and not before.
"""

import hashlib
from base64 import b64encode
from datetime import UTC, datetime
from typing import Any, Final

from pydantic import BaseModel, Field, ValidationError

from api_particulier import handover, responses
from api_particulier.calls import Request, serve_without_key
from api_particulier.errors import BadRequest, LinkExpired, LinkOpened, UnknownLink
from api_particulier.gateway import Gateway
from api_particulier.register import Register
from api_particulier.responses import Response
from api_particulier.routes import Route

_STYLE: Final = """
body { font: 1.1rem/1.5 system-ui, sans-serif; max-width: 40rem; margin: 3rem auto; padding: 0 1rem; }
output { display: block; font-family: monospace; overflow-wrap: anywhere; margin: 1.5rem 0; }
button { font: inherit; padding: .5rem 1rem; }
"""
_SCRIPT: Final = """
const secret = location.hash.slice(1);
history.replaceState(null, "", location.pathname);
const button = document.querySelector("button"), shown = document.querySelector("output");
button.addEventListener("click", async () => {
  button.disabled = true;
  try {
    const answer = await fetch(location.pathname, {
      method: "POST", headers: {"Content-Type": "application/json"}, body: JSON.stringify({lien: secret}),
    });
    const said = await answer.json();
    shown.textContent = answer.ok ? said.cle : said.message;
    button.hidden = answer.ok || answer.status === 410;
  } catch {
    shown.textContent = "Le service ne répond pas, veuillez réessayer.";
  }
  button.disabled = false;
});
"""
_PAGE: Final = """<!DOCTYPE html>
<html lang="fr">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<meta name="robots" content="noindex">
<title>API Particulier : votre clé d'accès</title>
<style>{style}</style>
</head>
<body>
<main>
<h1>Votre clé d'accès à API Particulier</h1>
<p>Elle ne sera montrée qu'une fois. Soyez prêt à la mettre là où votre logiciel la lira, et nulle part ailleurs.</p>
<button type="button">Afficher la clé</button>
<output aria-live="polite"></output>
<noscript><p>Cette page a besoin de JavaScript.</p></noscript>
</main>
<script>{script}</script>
</body>
</html>
""".replace("{style}", _STYLE).replace("{script}", _SCRIPT)


def _hash(text: str) -> str:
    return f"'sha256-{b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


_POLICY: Final = (
    f"default-src 'none'; script-src {_hash(_SCRIPT)}; style-src {_hash(_STYLE)}; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


_MALFORMED: Final = 'Le corps de la requête doit être {"lien": "…"}, en JSON.'


class Ouverture(BaseModel):
    """Le lien reçu."""

    lien: str = Field(min_length=1, max_length=256, repr=False, description="Ce qui suit # dans l'adresse du lien")


class CleRemise(BaseModel):
    """La clé, montrée une seule fois."""

    cle: str = Field(description="La clé, à mettre dans l'en-tête X-API-Key")
    jeton: str = Field(description="Identifiant du jeton")
    organisation: str = Field(description="Administration à qui la clé est remise")
    expire: datetime | None = Field(description="Quand elle cessera de fonctionner ; null si elle n'a pas de fin")


ROUTES = (
    Route(
        name="page_cle",
        path=handover.ROUTE,
        summary="La page d'un lien à usage unique",
        answer=str,
        example="<!DOCTYPE html>…",
        media_type="text/html",
    ),
    Route(
        name="remettre_cle",
        path=handover.ROUTE,
        method="POST",
        summary="Montrer, une seule fois, la clé d'un lien",
        body=Ouverture,
        body_example={"lien": "0" * 43},
        answer=CleRemise,
        example={
            "cle": "0" * 64,
            "jeton": "0123456789abcdef",
            "organisation": "Ville de Fictive",
            "expire": "2027-11-25T00:00:00+00:00",
        },
        errors=(BadRequest(_MALFORMED), UnknownLink, LinkOpened, LinkExpired),
    ),
)


def lambda_handler(event: dict[str, Any], _context: object) -> Response:
    """Answer ``GET`` with the page, and ``POST`` with the key."""
    if event["httpMethod"] == "GET":
        return responses.page(_PAGE, _POLICY, Request.of(event).id)
    return serve_without_key(event, "key_handover", _show)


def _show(request: Request) -> dict[str, str | None]:
    try:
        secret = Ouverture.model_validate_json(request.body).lien
    except ValidationError:
        raise BadRequest(_MALFORMED) from None
    shown = handover.open_link(Register.of_function(), Gateway.of_function(), secret, datetime.now(UTC))
    return {
        "cle": shown.key,
        "jeton": shown.token,
        "organisation": shown.organisation,
        "expire": shown.expires.isoformat() if shown.expires else None,
    }
