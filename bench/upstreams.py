"""Serve the providers and AWS with responses prepared beforehand.

They speak the real protocols, at little cost for the machine.

``python -m bench.upstreams FOLDER SEED`` serves until its standard input ends. Its first line gives two ports: plain
HTTP, then mutual TLS. The seed draws the people of the responses.
"""

import itertools
import json
import random
import sys
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from html.parser import HTMLParser
from pathlib import Path
from socketserver import StreamRequestHandler, ThreadingTCPServer
from threading import Thread
from typing import Any, Final, override
from urllib.parse import urlencode

from sandbox.certificates import Certificates, ensure
from sandbox.simulators import api_secu, ban, caf, svair
from sandbox.town.demarches import SIRET

KEY: Final = "0" * 64
_PAGES: Final = 64


class _ViewState(HTMLParser):
    value = ""

    @override
    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = dict(attrs)
        if attributes.get("name") == "javax.faces.ViewState":
            self.value = attributes["value"] or ""


def _name(draw: random.Random) -> str:
    return "".join(draw.choices("ABCDEFGHIJLMNOPRSTUVÉ", k=draw.randint(3, 14)))


def _declarant(draw: random.Random) -> svair.Declarant:
    return svair.Declarant(
        nom=_name(draw),
        nom_naissance=_name(draw),
        prenoms=" ".join(_name(draw) for _ in range(draw.randint(1, 3))),
        date_naissance=f"{draw.randint(1, 28):02}/{draw.randint(1, 12):02}/{draw.randint(1940, 2004)}",
    )


def _notice(draw: random.Random, number: int) -> svair.Person:
    amount = draw.randint(0, 90_000)
    return svair.Person.model_validate(
        {
            "numero_fiscal": f"269{number:010}",
            "reference_avis": f"26{number:011}",
            "declarant1": _declarant(draw),
            "declarant2": _declarant(draw) if draw.random() < 0.5 else svair.Declarant(),  # noqa: PLR2004 - every second notice
            "adresse": (f"{draw.randint(1, 200)} rue {_name(draw)}", f"{draw.randint(10000, 95999)} {_name(draw)}"),
            "date_recouvrement": "31/07/2026",
            "date_etablissement": "08/07/2026",
            "nombre_parts": draw.randint(2, 12) / 2,
            "situation_famille": draw.choice(["Célibataire", "Marié(e)s", "Pacsé(e)s"]),
            "nombre_personnes_charge": draw.randint(0, 6),
            "revenu_brut_global": amount,
            "revenu_imposable": amount * 9 // 10,
            "impot_revenu_net_avant_corrections": amount // 12,
            "montant_impot": amount // 13,
            "revenu_fiscal_reference": amount * 9 // 10,
        }
    )


def _family(draw: random.Random, number: int) -> caf.Famille:
    def person() -> caf.Personne:
        born = f"{draw.randint(1, 28):02}{draw.randint(1, 12):02}{draw.randint(1970, 2024)}"
        name = f"{_name(draw)} {_name(draw)}"
        return caf.Personne(qualite="MME", nom_prenom=name, date_de_naissance=born, sexe=draw.choice("FM"))

    return caf.Famille(
        numero_allocataire=f"{number:07}",
        code_postal="99148",
        allocataires=[person() for _ in range(draw.randint(1, 2))],
        enfants=[person() for _ in range(draw.randint(0, 6))],
        adresse=caf.Adresse(identite=_name(draw), numero_rue=f"1 rue {_name(draw)}", code_postal_ville="99148 VILLE"),
        quotients=[caf.Quotient(quotient_familial=draw.randint(0, 3000))],
    )


def _raw(response: Any) -> bytes:
    """Return a Flask test client's response as bytes on the wire."""
    head = [f"HTTP/1.1 {response.status}", f"Content-Length: {len(response.data)}"]
    head += [f"{name}: {value}" for name, value in response.headers if name != "Content-Length"]
    content: bytes = response.data
    return "\r\n".join([*head, "", ""]).encode() + content


def _notices(draw: random.Random) -> tuple[bytes, list[bytes]]:
    people = [_notice(draw, number) for number in range(_PAGES)]
    client = svair.app_of(lambda: people).test_client()
    form = client.get("/secavis/")
    state = _ViewState()
    state.feed(form.text)
    pages = []
    for person in people:
        fields = {"j_id_7:spi": person.numero_fiscal, "j_id_7:num_facture": person.reference_avis}
        fields |= {"j_id_7_SUBMIT": "1", "j_id_7:j_id_l": "Valider", "javax.faces.ViewState": state.value}
        pages.append(_raw(client.post("/secavis/faces/commun/index.jsf", data=fields)))
    return _raw(form), pages


def _files(draw: random.Random) -> list[bytes]:
    envelope = (Path(__file__).parent / "request.xml").read_text()
    families = [_family(draw, number) for number in range(_PAGES)]
    client = caf.app_of(lambda: families).test_client()
    return [
        _raw(
            client.post(
                caf.PATH,
                data=envelope.format(matricule=family.numero_allocataire, code_postal=family.code_postal),
                headers={"Content-Type": "text/xml", "SOAPAction": '""'},
            )
        )
        for family in families
    ]


def _quotients(draw: random.Random) -> tuple[bytes, list[bytes]]:
    """Return a token of API-SECU, and quotients with their families."""

    def person() -> api_secu.Proche:
        born = f"{draw.randint(1950, 2024)}-{draw.randint(1, 12):02}-{draw.randint(1, 28):02}"
        return api_secu.Proche(
            nom_naissance=_name(draw), prenoms=_name(draw), date_naissance=born, genre=draw.choice("FM")
        )

    def answer() -> dict[str, Any]:
        parents, children = ([person() for _ in range(draw.randint(low, high))] for low, high in ((1, 2), (0, 6)))
        return {
            "allocataires": [parent.to_answer(with_birthplace=False) for parent in parents],
            "enfants": [child.to_answer(with_birthplace=False) for child in children],
            "adresse": {"identite": _name(draw), "numeroLibelleVoie": f"1 rue {_name(draw)}", "pays": "FRANCE"},
            "quotientFamilial": draw.randint(0, 3000),
            "annee": 2026,
            "mois": 10,
        }

    token = _json({"access_token": "bench", "token_type": "Bearer", "expires_in": 3600})
    fund = f"X-APISECU-FD: {api_secu.FUNDS['CNAF']}\r\n".encode()
    answers = [_json(answer()).replace(b"Content-Type", fund + b"Content-Type", 1) for _ in range(_PAGES)]
    return token, answers


def _json(body: object, *, status: str = "200 OK", version: str = "1.0") -> bytes:
    content = json.dumps(body).encode()
    head = f"HTTP/1.1 {status}\r\nContent-Type: application/x-amz-json-{version}\r\nContent-Length: {len(content)}"
    return f"{head}\r\n\r\n".encode() + content


_NOTHING: Final = _json({})
_UNKNOWN: Final = _json({"__type": "UnknownOperationException"}, status="400 Bad Request")


def _aws(certificates: Certificates) -> dict[bytes, bytes]:
    """Return the response of each AWS operation of a dataset's call, by its target."""
    token = {
        "key_hash": {"S": sha256(KEY.encode()).hexdigest()},
        "id": {"S": "bench"},
        "organisation": {"S": "VILLE EXEMPLE"},
        "siret": {"S": SIRET},
        "scopes": {"L": [{"S": "dgfip_avis_imposition"}, {"S": "cnaf_attestation_droits"}]},
        "state": {"S": "active"},
        "created": {"S": "2026-01-01T00:00:00+00:00"},
        "mac": {"S": "00" * 32},  # this KMS finds it right
    }
    return {
        b"DynamoDB_20120810.GetItem": _json({"Item": token}),
        b"DynamoDB_20120810.PutItem": _NOTHING,
        b"DynamoDB_20120810.UpdateItem": _NOTHING,
        b"TrentService.GenerateMac": _json({"Mac": b64encode(bytes(32)).decode()}, version="1.1"),
        b"TrentService.VerifyMac": _json({"MacValid": True}, version="1.1"),
        b"secretsmanager.GetSecretValue": _json(
            {"SecretString": json.dumps(json.loads(certificates.secret()) | api_secu.client("quotient_familial"))},
            version="1.1",
        ),
    }


class _Responses:
    def __init__(self, folder: Path, seed: int) -> None:
        draw = random.Random(seed)  # noqa: S311 - fictional people
        self.certificates = ensure(folder / "certificates")
        self.form, notices = _notices(draw)
        self.notices, self.files = itertools.cycle(notices), itertools.cycle(_files(draw))
        self.token, quotients = _quotients(draw)
        self.quotients = itertools.cycle(quotients)
        self.aws = _aws(self.certificates)
        query = urlencode({"q": "1 rue Exemple 75001 PARIS", "limit": "1"})
        self.place = _raw(ban.app().test_client().get(f"/search/?{query}"))

    def find(self, method: bytes, path: bytes, target: bytes, body: bytes) -> bytes:
        """Return the response to a request; ``target`` is empty for a provider."""
        if target.endswith(b".GetItem") and b'"tokens"' not in body:
            return _NOTHING  # the token is the only item there is
        if target:
            return self.aws.get(target, _UNKNOWN)
        return self._of_provider(method, path.partition(b"?")[0].split(b"/")[1])

    def _of_provider(self, method: bytes, service: bytes) -> bytes:
        match service:
            case b"search":
                return self.place
            case b"quotient_familial":
                return next(self.quotients)
            case b"token":
                return self.token
            case b"sgmap":
                return next(self.files)
        return self.form if method == b"GET" else next(self.notices)


class _Handler(StreamRequestHandler):
    disable_nagle_algorithm = True
    responses: _Responses

    @override
    def handle(self) -> None:
        for method, path, target, body in iter(self._request, None):
            self.wfile.write(self.responses.find(method, path, target, body))

    def _request(self) -> tuple[bytes, bytes, bytes, bytes] | None:
        try:
            method, path, _ = self.rfile.readline().split()
        except (ValueError, OSError):  # the connection is over
            return None
        headers = dict(self._headers())
        body = self.rfile.read(int(headers.get(b"content-length", b"0")))
        return method, path, headers.get(b"x-amz-target", b""), body

    def _headers(self) -> Iterator[tuple[bytes, bytes]]:
        while line := self.rfile.readline().strip():
            name, _, value = line.partition(b":")
            yield name.lower(), value.strip()


@contextmanager
def serve(folder: Path, seed: int) -> Iterator[tuple[int, int]]:
    """Serve on loopback, from threads; yield the ports of HTTP and of mutual TLS."""
    responses = _Responses(folder, seed)
    handler = type("_ReadyHandler", (_Handler,), {"responses": responses})
    plain, tls = servers = [ThreadingTCPServer(("127.0.0.1", 0), handler) for _ in range(2)]
    tls.socket = responses.certificates.server_context().wrap_socket(tls.socket, server_side=True)
    for server in servers:
        server.daemon_threads = True
        Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield plain.server_address[1], tls.server_address[1]
    finally:
        for server in servers:
            server.shutdown()
            server.server_close()


def main() -> None:
    with serve(Path(sys.argv[1]), int(sys.argv[2])) as ports:
        print(*ports, flush=True)  # noqa: T201 - read by the process that started this one
        sys.stdin.read()


if __name__ == "__main__":
    main()
