"""Error responses of an operation: one for each status, with an example for each of its cases.

An example is the real body: that of the error class, the text of the CAF, or the gateway's response in the template.
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any, Final

from pydantic import BaseModel, Field

from api_particulier import errors
from api_particulier.api.dataset import Dataset
from api_particulier.api.openapi import OF_PROVIDER
from api_particulier.api.parameters import Parameters
from api_particulier.api.request import MALFORMED_CONSENT
from api_particulier.api.response import in_xml
from api_particulier.errors import ApiError
from api_particulier.providers import caf
from api_particulier.scopes import scopes_of
from ops.template import resources
from release.openapi.examples import examples


class Erreur(BaseModel):
    """Une réponse qui n'est pas une donnée."""

    error: str = Field(
        description="Code de l'erreur, pour un programme",
        examples=sorted({error.code for error in vars(errors).values() if hasattr(error, "code")}),
    )
    reason: str = Field(description="Cause, pour qui lit un journal")
    message: str = Field(description="Explication en français, pour une personne")


@dataclass(frozen=True)
class Case:
    """A reason for an error response."""

    name: str
    status: int
    when: str
    body: Mapping[str, object]
    retry_after: bool = False
    json_only: bool = False
    """JSON even for a caller that asks for XML: a response of the gateway, or of a refused format."""

    @classmethod
    def from_error(cls, error: ApiError, name: str = "") -> "Case":
        name = name or type(error).__name__
        return cls(
            name,
            error.status,
            error.__doc__ or "",
            examples()["errors"].get(name, error.body),
            retry_after=error.retry_after is not None,
            json_only=isinstance(error, errors.NotAcceptable),
        )


_GATEWAY: Final = {
    "THROTTLED": "Plus de 20 appels en une seconde avec le même jeton, ou trop d'appels d'une route sans jeton.",
    "INTEGRATION_TIMEOUT": "Le service n'a pas répondu en 29 secondes.",
    "DEFAULT_4XX": "Le corps de la requête dépasse 10 Mo.",
}
"""Responses of the gateway itself, with their reason; the last one exists only for a request with a body."""
_TOO_LARGE: Final = HTTPStatus.CONTENT_TOO_LARGE
_WITH_KEY: Final = (errors.AccessDenied, errors.AddressNotAllowed, errors.AuditUnavailable)


_EXAMPLES: Final[Mapping[type[ApiError], ApiError]] = {
    errors.CircuitOpen: errors.CircuitOpen(retry_after=30),
    errors.ProviderInMaintenance: errors.ProviderInMaintenance(
        datetime(2026, 11, 28, 5, tzinfo=UTC), "mise à jour annuelle"
    ),
    errors.TooManyAttempts: errors.TooManyAttempts(retry_after=1800),
}
"""Examples of the errors whose body depends on the moment."""


def _example(error: ApiError | type[ApiError]) -> ApiError:
    """Return an instance of an error."""
    return error if isinstance(error, ApiError) else _EXAMPLES.get(error) or error()


def of_service(
    declared: Iterable[ApiError | type[ApiError]], *, key: bool, body: bool, xml: bool
) -> dict[int, dict[str, Any]]:
    """Return the error responses of a service by status, without the schema of their body, which is ``Erreur``."""
    return _responses(
        [*(Case.from_error(_example(error)) for error in declared), *_common(key=key, body=body)], xml=xml
    )


def of_dataset(dataset: Dataset[Parameters], path: str, *, is_v2: bool) -> dict[int, dict[str, Any]]:
    """Return the error responses of a route of a dataset, in the same form."""
    cases = [
        Case.from_error(errors.InsufficientScopes(scopes_of(dataset.routes[path]))),
        Case.from_error(errors.EnumerationSuspected()),
        *_bad_parameters(dataset.parameters),
        Case.from_error(errors.BadRequest(MALFORMED_CONSENT), "Malformed_X-Consent"),
    ]
    if not is_v2:
        cases.append(Case.from_error(errors.NotAcceptable()))
    if dataset.provider == "dgfip":
        cases += [Case.from_error(errors.UnknownNotice()), Case.from_error(errors.UnavailableYear())]
    else:
        cases += [Case.from_error(caf.refusal(code), f"Caf{code}") for code in (*caf.NOT_FOUND, *caf.BAD_REQUEST)]
        cases.append(Case.from_error(errors.ProviderError()))
    cases += [Case.from_error(_example(error)) for error in OF_PROVIDER]
    return _responses([*cases, *_common(key=True, body=False)], xml=not is_v2)


def _bad_parameters(parameters: type[Parameters]) -> Iterator[Case]:
    """Yield the refusals of a missing parameter, and of each malformed parameter."""
    good = {parameter.name: [str(examples()["parameters"][parameter.name])] for parameter in parameters.documented}
    trials: dict[str, dict[str, list[str]]] = {"Missing": {}}
    trials |= {f"Malformed_{name}": good | {name: ["?"]} for name in good}
    for name, query in trials.items():
        try:
            parameters.parse(query)
        except errors.BadRequest as error:
            yield Case.from_error(error, name)


def _common(*, key: bool, body: bool) -> Iterator[Case]:
    if key:
        yield from (Case.from_error(error()) for error in _WITH_KEY)
    yield Case.from_error(errors.InternalError())
    api = resources("AWS::Serverless::Api")["Api"]
    for kind, when in _GATEWAY.items():
        if kind == "DEFAULT_4XX" and not body:
            continue
        response = api["GatewayResponses"][kind]
        retry_after = "Retry-After" in response["ResponseParameters"]["Headers"]
        text = json.loads(response["ResponseTemplates"]["application/json"])
        status = response.get("StatusCode", _TOO_LARGE)
        yield Case(_camel(kind), status, when, text, retry_after=retry_after, json_only=True)


def _camel(kind: str) -> str:
    return re.sub("_?([A-Z0-9])([A-Z0-9]*)", lambda word: word[1] + word[2].lower(), kind)


def _responses(cases: list[Case], *, xml: bool) -> dict[int, dict[str, Any]]:
    return {
        status: _response([case for case in cases if case.status == status], xml=xml)
        for status in sorted({case.status for case in cases})
    }


def headers(*names: str) -> dict[str, Any]:
    """Return the headers of a response, as references to the shared definitions."""
    return {name: {"$ref": f"#/components/headers/{name}"} for name in names}


def _response(cases: list[Case], *, xml: bool) -> dict[str, Any]:
    retry_after = ["Retry-After"] if any(case.retry_after for case in cases) else []
    codes = " ou ".join(f"`{code}`" for code in dict.fromkeys(str(case.body["error"]) for case in cases))
    whens = "\n".join(f"- {when}" for when in dict.fromkeys(case.when for case in cases))
    content: dict[str, Any] = {
        "application/json": {
            "examples": {case.name: {"summary": case.when, "value": dict(case.body)} for case in cases},
        }
    }
    with_xml = [case for case in cases if not case.json_only]
    if xml and with_xml:
        text = in_xml("error", with_xml[0].body)
        content["application/xml"] = {"examples": {with_xml[0].name: {"value": text}}}
    return {"description": f"{codes}\n\n{whens}", "headers": headers("X-Request-Id", *retry_after), "content": content}
