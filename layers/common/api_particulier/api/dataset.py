"""A dataset, declared in ``functions/<dataset>/app.py``, and the story of one request for it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from time import monotonic
from typing import Any

from pydantic import BaseModel

from api_particulier.api import enumeration
from api_particulier.api.handler import Call, serve
from api_particulier.api.parameters import Parameters
from api_particulier.api.response import Response
from api_particulier.audit import pseudonyms
from api_particulier.audit.record import DATASET, AuditRecord
from api_particulier.errors import InsufficientScopes
from api_particulier.scopes import ProviderData, allowed_fields, mask


@dataclass(frozen=True)
class Question[P: Parameters]:
    """What a dataset is asked: about whom, and for which fields."""

    parameters: P
    opened: frozenset[str]
    """Dotted paths of the fields that the token opens: what nobody may see need not be asked."""
    notes: list[str] = field(default_factory=list)
    """What the audit must say of the answer, in words of ours: why a part of it is missing."""


@dataclass(frozen=True, kw_only=True)
class Dataset[P: Parameters]:
    """One dataset: its routes and fields, and who is asked what.

    It cannot forget the token, the audit entry or the shape of errors: ``calls.serve`` sees to these.
    """

    name: str
    """That of its folder, in the audit and the metrics."""
    provider: str
    """Who is asked, in the audit: ``dgfip`` or ``caf``."""
    routes: Mapping[str, type[BaseModel]]
    """Each route with the model of its answer; the model's fields say their scopes."""
    parameters: type[P]
    ask: Callable[[Question[P]], ProviderData]
    """Puts the question to the provider; raises an ``ApiError`` when there is no answer."""

    def handler(self, event: dict[str, Any], _context: object) -> Response:
        """Answer an API Gateway event."""
        return serve(event, self.name, self._tell, DATASET)

    def _tell(self, call: Call) -> dict[str, object]:
        model = self.routes[call.request.route]
        opened = allowed_fields(model, call.token.scopes)
        if not opened:
            raise InsufficientScopes
        parameters = self.parameters.read(call.request.query)
        call.entry.citizen = pseudonyms.pseudonym(parameters.citizen, call.entry.at)
        with enumeration.guard(call.token.id, parameters, call.entry):
            document = self._ask(Question(parameters, opened, call.entry.notes), call.entry)
        selection = mask(document, model, opened, keep_blank=call.request.is_v2)
        call.entry.released, call.entry.withheld = selection.released, selection.withheld
        return selection.body

    def _ask(self, question: Question[P], entry: AuditRecord) -> ProviderData:
        entry.provider = self.provider
        started = monotonic()
        try:
            return self.ask(question)
        finally:
            entry.provider_ms = round((monotonic() - started) * 1000)
