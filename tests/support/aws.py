"""AWS on the wire, that fails what it is told to: in front of moto, or of the local stack's cloud."""

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

ERRORS = {
    "throttles": (400, "ProvisionedThroughputExceededException"),
    "fails": (500, "InternalServerError"),
    "finds our clock wrong": (400, "InvalidSignatureException"),
}


@dataclass
class Aws:
    """What stands before an AWS that works."""

    behind: "WSGIApplication"
    failing: list[str] = field(default_factory=list)
    """Words that a request has in its target or body: ``TrentService``, or the name of a table."""
    error: tuple[int, str] = ERRORS["fails"]

    def __call__(self, environ: "WSGIEnvironment", start: "StartResponse") -> Any:
        body = environ["wsgi.input"].read()
        environ["wsgi.input"].seek(0)
        asked = f"{environ.get('HTTP_X_AMZ_TARGET', '')} {body.decode()}"
        if any(word in asked for word in self.failing):
            status, code = self.error
            start(f"{status} Status", [("Content-Type", "application/x-amz-json-1.0")])
            return [json.dumps({"__type": f"com.amazonaws#{code}", "message": asked}).encode()]
        return self.behind(environ, start)
