"""The figures of the last run that was saved, as ``docs/performance.md`` shows them."""

import json
from collections.abc import Iterator
from typing import Any, Final

from ops.build import ROOT

_TITLES: Final = {
    "floor": "bare handler",
    "passthrough": "`requests` pass-through",
    "avis_imposition": "tax notice",
    "revenu_fiscal_reference": "reference tax income",
    "declarants": "declarants",
    "adresse_fiscale": "tax address (two providers)",
    "quotient_familial": "quotient familial, mutual TLS",
    "composition_familiale": "family file, mutual TLS",
    "adresse_caf": "address of the family, mutual TLS",
}
_SERVER_OF_2020: Final = (
    "| *server of 2020, tax notice, no audit nor key, as measured then* | 5.4–6.2 | | 5.5 | | | 240 | | | | |\n"
    "| *server of 2020, family file over TLS, the same* | 6.0 | | 6.3 | | | 240 | | | | |\n"
)


def table() -> str:
    """Return the table, and under which conditions it was measured."""
    told: dict[str, Any] = json.loads((ROOT / "bench/measured.json").read_text())
    conditions = f"{told['date']}, {told['cores']} cores, {told['calls']:,} warm calls a handler, seed {told['seed']}."
    return f"{conditions}\n\n{_HEAD}{''.join(_rows(told))}{_SERVER_OF_2020}"


_HEAD: Final = (
    "| | CPU ms | beyond the bare handler | p50 ms | p99 ms | billed ms | resident MB | cold start ms"
    " | of which imports | first call | log, bytes |\n"
    "|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|\n"
)


def _rows(told: dict[str, Any]) -> Iterator[str]:
    floor = told["floor"]
    for name, title in _TITLES.items():
        row = told["datasets"].get(name) or told[name]
        cells = [f"{row['cpu_ms']:.2f}", f"{row['cpu_ms'] - floor['cpu_ms']:.2f}"]
        cells += [f"{row[figure]:.2f}" for figure in ("p50_ms", "p99_ms", "billed_ms")]
        cells += [f"{row[figure]:.0f}" for figure in ("rss_mb", "cold_ms", "imports_ms", "init_ms", "log_bytes")]
        yield f"| {title} | {' | '.join(cells)} |\n"
