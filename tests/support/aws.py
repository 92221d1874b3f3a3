"""AWS on the wire, where chosen requests fail: a WSGI proxy in front of moto or of the local stack's cloud."""

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

ERRORS = {
    "throttles": (400, "ProvisionedThroughputExceededException"),
    "fails": (500, "InternalServerError"),
    "finds the clock wrong": (400, "InvalidSignatureException"),
}


@dataclass
class FailingAws:
    """A proxy that answers some requests with an error of AWS, and passes the others on."""

    app: "WSGIApplication"
    failing: list[str] = field(default_factory=list)
    """A request fails when its target or body has one of these words: ``TrentService``, or the name of a table."""
    error: tuple[int, str] = ERRORS["fails"]

    def __call__(self, environ: "WSGIEnvironment", start: "StartResponse") -> Any:
        body = environ["wsgi.input"].read()
        environ["wsgi.input"].seek(0)
        request = f"{environ.get('HTTP_X_AMZ_TARGET', '')} {body.decode()}"
        if any(word in request for word in self.failing):
            status, code = self.error
            start(f"{status} Status", [("Content-Type", "application/x-amz-json-1.0")])
            return [json.dumps({"__type": f"com.amazonaws#{code}", "message": request}).encode()]
        return self.app(environ, start)
