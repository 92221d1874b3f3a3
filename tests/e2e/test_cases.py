"""Inputs that real pages, senders and clients brought, by other values, on the deployed stack and local providers."""

import json
import random
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any, Final

import pytest
import requests
from werkzeug.wrappers import Request
from werkzeug.wrappers import Response as WireResponse

from api_particulier.providers.health import key_of
from sandbox.simulators import impot_particulier
from tests.support.caf import FAMILY, Caf, drt_document, envelope, multipart
from tests.support.datapass import datapass_event, signature
from tests.support.impot_particulier import PATH, PERSON, SITUATION, ImpotParticulier
from tests.support.stack import Stack
from tests.support.svair import COUPLE, render_notice
from tests.support.tax_service import FORM_PAGE
from tests.support.wire import serve

NUMBERS: Final = {"numeroFiscal": "2690000000001", "referenceAvis": "2690000000001"}
FAMILY_NUMBERS: Final = {"numeroAllocataire": FAMILY.numero_allocataire, "codePostal": FAMILY.code_postal}
TAX = ("dgfip_avis_imposition", "dgfip_adresse")
NOTICE = render_notice(COUPLE)
LABEL = "Adresse déclarée au 1er janvier 2026"


@dataclass
class Scripted:
    """A provider that gives every question the response of a test; it keeps the questions."""

    answer: Callable[[Request], WireResponse]
    asked: list[Request] = field(default_factory=list)

    def __call__(self, environ: Any, start: Any) -> Any:
        request = Request(environ)
        request.get_data()
        self.asked.append(request)
        return self.answer(request)(environ, start)


def page(content: str, status: int = 200, **headers: str) -> WireResponse:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return WireResponse(content, status, named, content_type="text/html;charset=UTF-8")


def place(score: float) -> dict[str, Any]:
    properties = {"label": "4 Rue du Puits 35000 Rennes", "score": score, "id": "35238_1", "type": "housenumber"}
    properties |= {"name": "4 Rue du Puits", "postcode": "35000", "citycode": "35238", "city": "Rennes"}
    properties |= {"context": "35, Ille-et-Vilaine, Bretagne", "importance": 0.5, "housenumber": "4"}
    return {"type": "Feature", "geometry": {"type": "Point", "coordinates": [-1.6, 48.1]}, "properties": properties}


@dataclass
class Providers:
    """The four providers, on loopback, which a function of the stack each asks."""

    stack: Stack
    caf: Caf = field(default_factory=Caf)
    shown: WireResponse = field(default_factory=lambda: page(NOTICE))
    """What the tax service answers to numbers."""
    places: list[dict[str, Any]] = field(default_factory=lambda: [place(0.9)])
    keys: dict[tuple[str, ...], str] = field(default_factory=dict)
    tax: Scripted = field(init=False)
    geocoder: Scripted = field(init=False)
    impot: ImpotParticulier = field(init=False)

    def __post_init__(self) -> None:
        self.tax = Scripted(lambda request: page(FORM_PAGE) if request.method == "GET" else self.shown)
        self.geocoder = Scripted(
            lambda _: WireResponse(json.dumps({"type": "FeatureCollection", "features": self.places}))
        )
        self.impot = ImpotParticulier(impot_particulier.app_of(lambda: [PERSON]))

    def key(self, *scopes: str) -> str:
        """Return a key of these scopes, issued once."""
        asked = scopes or TAX
        if asked not in self.keys:
            self.keys[asked] = str(self.stack.issue_key(*asked)["key"])
        return self.keys[asked]

    def avis(self, key: str, route: str = "/v2/avis-imposition", **headers: str) -> requests.Response:
        url = f"{self.stack.api_url}{route}"
        return requests.get(url, NUMBERS, headers={"X-API-Key": key, **headers}, timeout=60)


@contextmanager
def reading_secrets(stack: Stack, function: str) -> Iterator[None]:
    """Give a function the right that a stack deployed for the other provider gives it."""
    iam, role = stack.client("iam"), stack.function(function)["Role"].rsplit("/", 1)[-1]
    statement = {"Effect": "Allow", "Action": "secretsmanager:GetSecretValue", "Resource": "*"}
    policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    iam.put_role_policy(RoleName=role, PolicyName="test-cases", PolicyDocument=policy)
    yield
    iam.delete_role_policy(RoleName=role, PolicyName="test-cases")


@pytest.fixture(scope="module")
def _providers(stack: Stack) -> Iterator[Providers]:
    played = Providers(stack)
    with ExitStack() as opened:
        tax, geocoder, impot = (opened.enter_context(serve(app)) for app in (played.tax, played.geocoder, played.impot))
        caf = opened.enter_context(played.caf.serve(None))
        for function, variables in {
            "AvisImposition": {"DGFIP_SVAIR_URL": tax},
            "AdresseFiscale": {"DGFIP_SVAIR_URL": tax, "BAN_URL": geocoder},
            "QuotientFamilial": {"CAF_URL": caf, "ENUMERATION_SLOWED_AT": "8", "ENUMERATION_SUSPENDED_AT": "16"},
            "CompositionFamiliale": {"CAF_URL": caf},
            "Declarants": {"DGFIP_PROVIDER": "impot_particulier", "IMPOT_PARTICULIER_URL": impot},
        }.items():
            opened.enter_context(stack.with_variables(function, **variables))
        opened.enter_context(reading_secrets(stack, "Declarants"))
        yield played
        stats = stack.client("dynamodb")  # other tests must find no failure of these providers
        for provider in ("dgfip", "caf"):
            key = {name: {"S": value} for name, value in key_of(provider).items()}
            stats.delete_item(TableName=stack.description["tables"]["stats"], Key=key)


@pytest.fixture
def providers(_providers: Providers) -> Providers:
    """Return the providers, each as it answers by default."""
    _providers.shown, _providers.places, _providers.caf.override = page(NOTICE), [place(0.9)], None
    _providers.impot.overrides.clear()
    return _providers


# ── 1, 6: people who are known, and cells that a token does not open ─────────────────────────────────────────────────


def test_families_known_to_the_caf_are_no_unknown_people(providers: Providers) -> None:
    key = providers.key("cnaf_quotient_familial")
    providers.caf.respond_with(multipart(envelope("", "161")))
    statuses = []
    # Three times what would slow the key down, were they unknown; at no constant step, which is a walk.
    for family in random.sample(range(3_000_000, 9_000_000), 24):
        numbers = {"numeroAllocataire": f"{family}", "codePostal": "35000"}
        statuses.append(providers.stack.get("/v2/quotient-familial", key=key, **numbers).status_code)
    assert set(statuses) == {404}
    assert providers.stack.get("/introspect", key=key).status_code == 200


def test_what_a_token_does_not_open_cannot_fail_its_answer(providers: Providers) -> None:
    providers.shown = page(render_notice(COUPLE.model_copy(update={"nombre_parts": "deux", "montant_impot": "voir"})))
    answer = providers.avis(providers.key("dgfip_declarant2_prenoms"))
    assert (answer.status_code, answer.json()) == (200, {"declarant2": {"prenoms": "Ève Rose"}})
    quotients = "<quotients><QFMOIS><QUOTIENTF>1 023,9</QUOTIENTF></QFMOIS></quotients>"
    providers.caf.respond_with(multipart(envelope(drt_document(quotients))))
    key = providers.key("cnaf_adresse")
    answer = providers.stack.get("/v2/composition-familiale", key=key, **FAMILY_NUMBERS)
    assert (answer.status_code, answer.json()) == (200, {"adresse": {}})


# ── 2, 13: DataPass ──────────────────────────────────────────────────────────────────────────────────────────────────


def send(stack: Stack, body: bytes) -> requests.Response:
    signed = {"X-Hub-Signature-256": signature(body, str(stack.description["datapass_secret"]))}
    headers = {"Content-Type": "application/json", **signed}
    return requests.post(f"{stack.api_url}/datapass/v2/api_particulier/webhook", body, headers=headers, timeout=60)


def test_an_approval_without_its_optional_texts_makes_a_key(stack: Stack) -> None:
    event = datapass_event(at=int(time.time()), model_id=27_000_000 + int(time.time()) % 1_000_000)
    event["data"]["form_uid"] = None
    event["data"]["applicant"] |= {"family_name": None, "phone_number": None, "job_title": None}
    event["data"]["organization"] |= {"name": None}
    event["data"]["data"] |= {"contact_technique_phone": None, "contact_metier_given_name": None, "description": None}
    answer = send(stack, json.dumps(event).encode())
    assert answer.status_code == 200
    assert stack.run_cli("keys", "show", answer.json()["token_id"])["state"] == "active"


@pytest.mark.parametrize("body", [b"", b'{"event": "approve"}\0', b"\0\0", b"[" * 40, b'"' + b"y" * 300_000 + b'"'])
def test_what_datapass_signs_gets_an_answer(stack: Stack, body: bytes) -> None:
    assert send(stack, body).status_code in {200, 400, 413}


# ── 3, 5: pages of the tax service ───────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("markup", "text"),
    [
        ("Avis remplacé<br/>le <b>3</b> mai", "Avis remplacé le 3 mai"),
        ("<ol><li>un</li><li>deux</li></ol>", "un deux"),
        ("<div>un</div>\n\t<p>deux<br>trois</p>", "un deux trois"),
    ],
)
def test_what_breaks_a_line_is_one_space(providers: Providers, markup: str, text: str) -> None:
    providers.shown = page(NOTICE.replace("<div id='erreurCorrectif'>", f"<div id='erreurCorrectif'>{markup}"))
    assert providers.avis(providers.key()).json()["erreurCorrectif"] == text


def test_the_address_is_that_of_the_first_declarants_column(providers: Providers) -> None:
    rows = (
        f"<tr><td>{LABEL}</td><td>RES LES ORMES</td><td>14 QUAI EST</td></tr>"
        "<tr><td></td><td>4 RUE DU PUITS</td><td>BP 3</td></tr><tr><td></td><td>35000 RENNES</td><td></td></tr>"
    )
    providers.shown = page(render_notice(COUPLE, rows))
    expected = "RES LES ORMES 4 RUE DU PUITS 35000 RENNES"
    assert providers.avis(providers.key()).json()["foyerFiscal"]["adresse"] == expected
    providers.avis(providers.key(), "/v2/adresse-fiscale")
    assert providers.geocoder.asked[-1].args["q"] == expected


# ── 4, 14: outages ───────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("shown", "wait"),
    [
        (page("<form><input name='javax.faces.ViewState' value='a'></form><p class='indisponibilite'>Revenez</p>"), 10),
        (page("", 302, Location="/page_maintenance.html"), 10),
        (page("", 503, Retry_After="75"), 75),
        (page("", 429, Retry_After="4000"), 600),
    ],
    ids=["a mark", "a redirection", "a wait", "a long wait"],
)
def test_an_outage_is_503_with_the_providers_wait(providers: Providers, shown: WireResponse, wait: int) -> None:
    providers.shown = shown
    answer = providers.avis(providers.key())
    assert (answer.status_code, int(answer.headers["Retry-After"])) == (503, wait)
    providers.shown = page(NOTICE)
    assert providers.avis(providers.key()).status_code == 200


# ── 7: a key that is reported ────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("pasted", ["«{key}»\r\n", "X-Api-Key = {key};", "API_PARTICULIER_CLE='{key}'"])
def test_a_reported_key_no_longer_works(stack: Stack, pasted: str) -> None:
    key = str(stack.issue_key("dgfip_nombre_parts")["key"])
    report = {"key": pasted.format(key=key)}
    assert requests.post(f"{stack.api_url}/keys/compromised", json=report, timeout=60).status_code == 200
    assert stack.get("/introspect", key=key).status_code == 401


def test_what_cannot_be_a_key_is_refused(stack: Stack) -> None:
    for text in ("voici ma clef", "f" * 63, "g" * 64):
        answer = requests.post(f"{stack.api_url}/keys/compromised", json={"key": text}, timeout=60)
        assert answer.status_code == 400


# ── 8, 9, 12, 16: clients ────────────────────────────────────────────────────────────────────────────────────────────

PUBLIC = ["api/stats/details", "api/caf/ping", "api/dss/ping", "api/errors", "documentation", "guide/identite-cantine"]


@pytest.mark.parametrize("path", PUBLIC)
def test_head_is_the_head_of_get(stack: Stack, path: str) -> None:
    url, plain = f"{stack.description['site_url']}{path}", {"Accept-Encoding": "identity"}
    got, head = requests.get(url, headers=plain, timeout=60), requests.head(url, headers=plain, timeout=60)
    assert (head.status_code, head.content) == (got.status_code, b"")
    for name in ("Content-Type", "Content-Length", "Cache-Control"):
        assert head.headers.get(name) == got.headers.get(name)


def test_a_page_of_another_site_may_read_what_is_public(stack: Stack) -> None:
    for path in ("status", "stats/details", "errors"):
        asked = {"Origin": "https://ville.exemple.fr", "Access-Control-Request-Method": "GET"}
        answer = requests.options(f"{stack.api_url}/{path}", headers=asked, timeout=60)
        assert (answer.status_code, answer.headers["Access-Control-Allow-Origin"]) == (204, "*")


@pytest.mark.parametrize(
    ("encoding", "compressed"),
    [("gzip;q=0.0", False), ("X-GZIP", True), ("br;q=1, gzip;q=0.4", True), ("deflate", False), ("*;q=0.1", True)],
)
def test_a_page_is_compressed_as_the_client_asks(stack: Stack, encoding: str, *, compressed: bool) -> None:
    headers = {"Accept-Encoding": encoding, "Accept": "text/html"}
    answer = requests.get(stack.description["site_url"], headers=headers, timeout=60, stream=True)
    assert ("Content-Encoding" in answer.headers) is compressed


def test_a_client_without_accept_reads_html(stack: Stack) -> None:
    headers = {"Accept": None, "Accept-Encoding": "gzip"}
    for path in ("", "statut", "guide/ccas"):
        answer = requests.get(f"{stack.description['site_url']}{path}", headers=headers, timeout=60)
        assert answer.text.startswith("<!DOCTYPE html>")


@pytest.mark.parametrize(
    ("query", "accept", "media_type"),
    [
        ("&format=", "*/*", "application/json"),
        ("&format=Xml", "application/json", "application/xml"),
        ("", "application/json;q=0, application/*", "application/xml"),
        ("", "text/html, */*;q=0.1", "application/json"),
    ],
)
def test_v1_answers_in_the_format_that_the_caller_prefers(
    providers: Providers, query: str, accept: str, media_type: str
) -> None:
    route = f"/impots/svair?{query.removeprefix('&')}"
    answer = providers.avis(providers.key(), route, Accept=accept)
    assert (answer.status_code, answer.headers["Content-Type"].split(";")[0]) == (200, media_type)


# ── 10: the portal ───────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("accord", ["", "0", "no", "null", "OFF"])
def test_a_value_that_is_no_agreement_is_refused(stack: Stack, accord: str) -> None:
    url = f"{stack.description['portal_url']}activites-periscolaires/caf"
    answer = requests.post(url, FAMILY_NUMBERS | {"accord": accord}, timeout=60)
    assert answer.status_code == 400


# ── 11, 17: the geocoder ─────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("printed", "asked"),
    [
        ("(CHEZ M Y) 4 RUE DU PUITS 35000 RENNES", "CHEZ M Y) 4 RUE DU PUITS 35000 RENNES"),
        ("** APT 3, 4 RUE DU PUITS 35000 RENNES", "APT 3, 4 RUE DU PUITS 35000 RENNES"),
        ("A" * 60 + " " + "B" * 150 + " 4 RUE DU PUITS 35000 RENNES", None),
    ],
    ids=["a parenthesis", "stars", "long"],
)
def test_the_geocoder_is_asked_what_it_takes(providers: Providers, printed: str, asked: str | None) -> None:
    providers.shown = page(render_notice(COUPLE, f"<tr><td>{LABEL}</td><td colspan=2>{printed}</td></tr>"))
    answer = providers.avis(providers.key(), "/v2/adresse-fiscale").json()
    assert (answer["adresse"], answer["score"]) == (printed, 0.9)
    question = providers.geocoder.asked[-1].args["q"]
    assert question == (asked or printed[-200:].strip())


def test_v1_has_every_candidate_of_the_geocoder(providers: Providers) -> None:
    providers.places = [place(score) for score in (0.4, 0.2, 0.1)]
    found = providers.avis(providers.key(), "/impots/adress").json()["adresses"]
    assert [candidate["adresse"]["score"] for candidate in found] == [0.4, 0.2, 0.1]
    assert providers.avis(providers.key(), "/v2/adresse-fiscale").json()["score"] is None


# ── 15: the second provider ──────────────────────────────────────────────────────────────────────────────────────────


def test_the_second_provider_answers_as_a_notice_does(providers: Providers) -> None:
    key = providers.key()
    providers.impot.answer_with({name: value for name, value in SITUATION.items() if name != "nmUsaDec2"})
    assert providers.avis(key, "/v2/declarants").json()["declarant2"]["nom"] == "ORME"
    providers.impot.overrides[PATH] = 403, b'{"erreur": {"message": "non", "code": "4030"}}'
    answer = providers.avis(key, "/v2/declarants")
    assert (answer.status_code, answer.json()["error"]) == (404, "not_found")
