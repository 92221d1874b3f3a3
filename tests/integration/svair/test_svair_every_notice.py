"""Read any notice exactly, and mask it exactly for any scopes."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic.alias_generators import to_camel

from sandbox.simulators.svair import Declarant, Person
from tests.support.cloud import Cloud
from tests.support.svair import (
    ABSENT,
    COUPLE,
    EMPTY_DECLARANT,
    NARROW_NBSP,
    NBSP,
    SimulatedSvair,
    render_notice,
    to_json,
    v1,
    v2,
)

pytestmark = pytest.mark.slow


# Each printed text with its value in a response: None is "Non imposable", ABSENT no row, "" an empty cell.

_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyzàâçéèêëîïôùûüÿœæÀÉÈÊÎÔÙŒÆ0123456789 '’-.,()&<>\"/;#"
_texts = st.text(_LETTERS, min_size=1, max_size=40).map(str.strip).filter(bool)
_cells_of_text = st.one_of(_texts, st.just(""))
_spaces = st.sampled_from(["", " ", NBSP, NARROW_NBSP])


@st.composite
def _rows(draw: st.DrawFn, values: st.SearchStrategy[tuple[str, Any]]) -> tuple[str | None, Any]:
    printed, answered = draw(st.one_of(st.just((None, ABSENT)), st.just(("", "")), values))
    return printed, answered


@st.composite
def _amounts(draw: st.DrawFn) -> tuple[str, int | None]:
    if draw(st.integers(0, 9)) == 0:
        return "Non imposable", None
    amount = draw(st.integers(-(10**9), 10**9))
    grouped = f"{abs(amount):,}".replace(",", draw(_spaces))
    minus = draw(st.sampled_from(["-", "\N{MINUS SIGN}"])) + draw(_spaces) if amount < 0 else ""
    return f"{minus}{grouped}{draw(_spaces)}€", amount


@st.composite
def _parts(draw: st.DrawFn) -> tuple[str, float]:
    quarters = draw(st.integers(0, 80))
    printed = f"{quarters / 4:.2f}".replace(".", draw(st.sampled_from([".", ","])))
    return printed, quarters // 4 if quarters % 4 == 0 else quarters / 4


ROWS: Final = {
    "date_recouvrement": _rows(_texts.map(lambda text: (text, text))),
    "date_etablissement": _rows(_texts.map(lambda text: (text, text))),
    "nombre_parts": _rows(_parts()),
    "situation_famille": _rows(_texts.map(lambda text: (text, text))),
    "nombre_personnes_charge": _rows(st.integers(0, 20).map(lambda number: (str(number), number))),
    "revenu_brut_global": _rows(_amounts()),
    "revenu_imposable": _rows(_amounts()),
    "impot_revenu_net_avant_corrections": _rows(_amounts()),
    "montant_impot": _rows(_amounts()),
    "revenu_fiscal_reference": _rows(_amounts()),
}
_names = ("nom", "nom_naissance", "prenoms", "date_naissance")


@st.composite
def _notices(draw: st.DrawFn) -> tuple[Person, dict[str, Any]]:
    """Draw a notice and its expected response: "" where v1 has no key and v2 has ``null``."""
    first, second = ([draw(_cells_of_text) for _ in _names] for _ in (1, 2))
    rows = {name: draw(values) for name, values in ROWS.items()}
    address = draw(st.none() | st.lists(_cells_of_text, max_size=4))
    annee, revenus = draw(st.integers(1990, 2099)), draw(st.integers(1990, 2099))
    remarks = [draw(st.text(f"{_LETTERS}\t\n{NBSP}", max_size=60)) for _ in (1, 2)]
    person = COUPLE.model_copy(
        update={
            "declarant1": Declarant(**dict(zip(_names, first, strict=True))),
            "declarant2": Declarant(**dict(zip(_names, second, strict=True))) if draw(st.booleans()) else Declarant(),
            "adresse": address,
            "annee": annee,
            "annee_impots": revenus + 1,
            "annee_revenus": revenus,
            "erreur_correctif": remarks[0],
            "situation_partielle": remarks[1],
            **{name: printed for name, (printed, _) in rows.items()},
        }
    )
    answered: dict[str, Any] = {
        "declarant1": dict(zip(EMPTY_DECLARANT, first, strict=True)),
        "declarant2": {
            name: value or ""
            for name, value in zip(EMPTY_DECLARANT, person.declarant2.model_dump().values(), strict=True)
        },
        **{to_camel(name): value for name, (_, value) in rows.items()},
        "foyerFiscal": ABSENT if address is None else {"annee": annee, "adresse": " ".join(filter(None, address))},
        "anneeImpots": str(revenus + 1),
        "anneeRevenus": str(revenus),
    }
    for name, remark in zip(("erreurCorrectif", "situationPartielle"), remarks, strict=True):
        answered[name] = remark.replace("\t", "").replace("\n", "").strip() or ABSENT
    return person, answered


SCOPES: Final = {
    **{f"dgfip_declarant{rank}_{name}": f"declarant{rank}.{to_camel(name)}" for rank in (1, 2) for name in _names},
    "dgfip_date_recouvrement": "dateRecouvrement",
    "dgfip_date_etablissement": "dateEtablissement",
    "dgfip_nombre_parts": "nombreParts",
    "dgfip_situation_familiale": "situationFamille",
    "dgfip_nombre_personnes_a_charge": "nombrePersonnesCharge",
    "dgfip_revenu_brut_global": "revenuBrutGlobal",
    "dgfip_revenu_imposable": "revenuImposable",
    "dgfip_impot_revenu_net_avant_corrections": "impotRevenuNetAvantCorrections",
    "dgfip_montant_impot": "montantImpot",
    "dgfip_revenu_fiscal_reference": "revenuFiscalReference",
    "dgfip_adresse_fiscale_annee": "foyerFiscal.annee",
    "dgfip_adresse_fiscale_taxation": "foyerFiscal.adresse",
    "dgfip_annee_impot": "anneeImpots",
    "dgfip_annee_revenus": "anneeRevenus",
    "dgfip_erreur_correctif": "erreurCorrectif",
    "dgfip_situation_partielle": "situationPartielle",
}
"""The field that each scope gives (contract §4), in the order of the response."""


def _masked(answered: Mapping[str, Any], scopes: set[str], if_blank: Any) -> dict[str, Any]:
    """Return the expected body for these scopes, with ``if_blank`` where the cell is empty."""
    body: dict[str, Any] = {}
    for scope, path in SCOPES.items():
        name, _, inner = path.partition(".")
        value = answered[name]
        if scope not in scopes or value is ABSENT:
            continue
        kept = value[inner] if inner else value
        is_nobody = name == "declarant2" and not any(value.values())
        if inner and (kept != "" or is_nobody or name == "foyerFiscal"):
            body.setdefault(name, {})[inner] = kept
        elif inner and if_blank is not ABSENT:
            body.setdefault(name, {})[inner] = if_blank
        elif not inner and (value != "" or if_blank is not ABSENT):
            body[name] = if_blank if value == "" else value
    return body


def _shown(service: SimulatedSvair, person: Person) -> Iterator[None]:
    """Show a notice in the rendering of the simulated service, then in another one."""
    service.serve_people(person)
    yield
    service.show_page(render_notice(person))
    yield


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(notice=_notices(), scopes=st.sets(st.sampled_from(list(SCOPES)), min_size=1) | st.just(set(SCOPES)))
def test_any_notice_is_read_exactly_and_masked_exactly(
    cloud: Cloud, service: SimulatedSvair, notice: tuple[Person, dict[str, Any]], scopes: set[str]
) -> None:
    person, answered = notice
    key = cloud.issue_key(*scopes)
    for _ in _shown(service, person):
        first, second = v1(key), v2(key)
        assert (first.status, first.text) == (200, to_json(_masked(answered, scopes, ABSENT)))
        assert (second.status, second.text) == (200, to_json(_masked(answered, scopes, None)))
