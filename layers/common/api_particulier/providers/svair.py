"""DGFIP's notice verification service ("SVAIR"): a JSF form, and a page that certifies a notice.

A GET of ``/secavis/`` gives the form: its ``javax.faces.ViewState`` goes with the session's cookie; a POST of the two
numbers gives the page. The form is used again for ten minutes, so that a question costs one round trip; a form that the
service no longer knows is fetched again, once.

The status is always 200: the page holds the outcome. Its rows are read by their labels, never by their position.
"""

import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from email.message import Message
from functools import lru_cache
from time import monotonic
from typing import Final
from urllib.parse import urlencode

from lxml import etree

from api_particulier.api.parameters import AvisNumbers
from api_particulier.errors import ProviderInvalidResponse, ProviderRateLimited, UnknownNotice
from api_particulier.providers.http import OK, ProviderClient, ProviderResponse
from api_particulier.providers.proof import Proof
from api_particulier.scopes import EMPTY, ProviderData
from api_particulier.settings import settings

PROVES: Final = Proof.POSSESSION
"""The tax service checks the reference printed on the notice."""

PROVIDER: Final = "dgfip"

_FORM_PATH: Final = "/secavis/"
_NOTICE_PATH: Final = "/secavis/faces/commun/index.jsf"
_FORM_SECONDS: Final = 600
# The responses of a JSF server that has forgotten the form: an error (ViewExpiredException), or back to the start.
_FORGOTTEN: Final = frozenset({302, 500})
_PAGE_OR_FORGOTTEN: Final = OK | _FORGOTTEN

_TITLE: Final = re.compile(r"impôt ?([0-9]{4}) ?sur les revenus de l'année ?([0-9]{4})")
_ADDRESS: Final = re.compile(r"adresse déclarée au 1 ?er janvier ?([0-9]{4})")
_WITH_ID: Final = etree.XPath("descendant-or-self::*[@id]")
_CLASSES: Final = etree.XPath("descendant-or-self::*/@class", smart_strings=False)
_VIEW_STATE: Final = etree.XPath("//input[@name='javax.faces.ViewState']/@value")
_PAGE_TYPES: Final = frozenset({"text/html", "application/xhtml+xml"})


@dataclass(frozen=True)
class _Form:
    posted: str
    """The fields posted with every question, encoded once: the button and the state."""
    until: float


class _Svair:
    """The client, and the form that can be posted again."""

    def __init__(self) -> None:
        self.client = ProviderClient(PROVIDER, settings().dgfip_svair_url.removesuffix("/secavis"))
        self._form: _Form | None = None

    def notice(self, numbers: AvisNumbers) -> ProviderData:
        with self.client.question():
            # A form is kept again only once it brought a page, so that one that brings none is not posted twice.
            form, self._form = self._form, None
            if form is not None and monotonic() < form.until:
                response = self._post(form, numbers, may_be_forgotten=True)
                page = _parse(response) if response.status not in _FORGOTTEN else None
                if page is not None and not _is_bare_form(page):
                    return self._read(page, form)
            form = self._fetch_form()
            return self._read(_parse(self._post(form, numbers)), form)

    def _read(self, page: etree._Element, form: _Form) -> ProviderData:
        document = _read(page)
        self._form = form
        if document is None:
            raise UnknownNotice
        return document

    def ping(self) -> None:
        with self.client.question():
            self._form = self._fetch_form()  # the last one's session is over

    def _fetch_form(self) -> _Form:
        self.client.forget_session()
        page = _parse(self.client.send("GET", _FORM_PATH))
        _check_not_refused(page)
        found = _VIEW_STATE(page)
        if not isinstance(found, list) or not found or not found[0]:
            raise ProviderInvalidResponse
        posted = urlencode({"j_id_7:j_id_l": "Valider", "j_id_7_SUBMIT": "1", "javax.faces.ViewState": str(found[0])})
        return _Form(posted, monotonic() + _FORM_SECONDS)

    def _post(self, form: _Form, numbers: AvisNumbers, *, may_be_forgotten: bool = False) -> ProviderResponse:
        typed = urlencode({"j_id_7:spi": numbers.numero_fiscal, "j_id_7:num_facture": numbers.reference_avis})
        return self.client.send(
            "POST",
            _NOTICE_PATH,
            expected=_PAGE_OR_FORGOTTEN if may_be_forgotten else OK,
            body=f"{typed}&{form.posted}",
        )


@lru_cache(maxsize=1)
def _svair() -> _Svair:
    return _Svair()


def notice(numbers: AvisNumbers) -> ProviderData:
    """Return a tax notice; raise ``UnknownNotice`` when there is none, else a ``ProviderFailure``."""
    return _svair().notice(numbers)


def ping() -> None:
    """Fetch the empty form; raise a ``ProviderFailure`` when the service is down."""
    _svair().ping()


# ── The page ─────────────────────────────────────────────────────────────────────────────────────────────────────────


@lru_cache(maxsize=1)
def _parser() -> etree.HTMLParser:
    return etree.HTMLParser(encoding="utf-8", no_network=True, remove_comments=True, remove_pis=True, collect_ids=False)


@lru_cache(maxsize=8)
def _content_type(header: str) -> tuple[str, str]:
    """Return the media type and the encoding that a header names."""
    message = Message()
    message["Content-Type"] = header
    return message.get_content_type(), message.get_content_charset("utf-8")


def _parse(response: ProviderResponse) -> etree._Element:
    kind, charset = _content_type(response.headers.get("content-type") or "text/html")
    if kind not in _PAGE_TYPES:
        raise ProviderInvalidResponse
    try:
        text = response.content.decode(charset).removeprefix("\ufeff")
        page = etree.fromstring(text.encode(), _parser())
    except (UnicodeError, LookupError, etree.LxmlError, ValueError):
        raise ProviderInvalidResponse from None
    if page is None:
        raise ProviderInvalidResponse
    for element in page.iter("br", "div", "p"):  # what breaks a line on the screen breaks one in the text
        element.text = "\n" + (element.text or "")
        element.tail = "\n" + (element.tail or "")
    return page


def _is_bare_form(page: etree._Element) -> bool:
    """Return whether the service shows its empty form again, having forgotten the one that was posted."""
    return (
        bool(_VIEW_STATE(page)) and _years(page) is None and "nonTrouve" not in _by_id(page) and not _is_refusal(page)
    )


def _check_not_refused(page: etree._Element) -> None:
    if _is_refusal(page):
        raise ProviderRateLimited


def _read(page: etree._Element) -> ProviderData | None:
    """Read the page of a notice; a field without a row is absent, one with an empty cell is ``EMPTY``.

    Return None for a page that shows that there is no such notice.
    """
    _check_not_refused(page)
    identified = _by_id(page)
    if "nonTrouve" in identified:
        return None
    years = _years(page)
    rows = {
        label: cells
        for label, cells in _rows(page)
        if label in _PERSONS or label in _VALUES or _ADDRESS.fullmatch(label)
    }
    if years is None or not rows:
        raise ProviderInvalidResponse
    document: dict[str, object] = dict(_declarants(rows))
    for label, (name, read) in _VALUES.items():
        if label in rows:
            value = " ".join(filter(None, rows[label]))
            document[name] = read(value) if value else EMPTY
    for label, cells in rows.items():
        if address := _ADDRESS.fullmatch(label):
            document["foyerFiscal"] = {"annee": int(address[1]), "adresse": " ".join(filter(None, cells))}
    document |= years
    for name in ("erreurCorrectif", "situationPartielle"):
        text = "".join(_raw_text(element) for element in identified.get(name, ()))
        if text := re.sub(r"[\r\n\t]", "", text).strip():
            document[name] = text
    return document


def _years(page: etree._Element) -> Mapping[str, str] | None:
    """Return the years of the tax and of the income, from the title of a notice."""
    title = _TITLE.search(_label(_raw_text(page)))
    return {"anneeImpots": title[1], "anneeRevenus": title[2]} if title else None


def _declarants(rows: dict[str, list[str]]) -> Iterator[tuple[str, dict[str, str]]]:
    """Yield both declarants; the second's four fields are empty strings where there is none."""
    people = {label: [*cells, "", ""][:2] for label, cells in rows.items() if label in _PERSONS}
    yield "declarant1", {name: people[label][0] for label, name in _PERSONS.items() if label in people}
    if any(second for _, second in people.values()):
        yield "declarant2", {name: people[label][1] for label, name in _PERSONS.items() if label in people}
    else:
        yield "declarant2", dict.fromkeys(_PERSONS.values(), "")


def _rows(page: etree._Element) -> Iterator[tuple[str, list[str]]]:
    """Yield each labelled row with its cells; the unlabelled rows after an address are its next lines."""
    label, cells, spanned = "", list[str](), 0
    for own in _cells(page):
        texts = [_text(cell) for cell in own]
        if spanned:  # the label's cell goes on in this row
            cells += texts
            spanned -= 1
        elif texts and texts[0]:
            yield label, cells
            label, cells = _label(texts[0]), texts[1:]
            spanned = _rows_below(own[0]) if _ADDRESS.fullmatch(label) else 0
        elif texts[1:] and _ADDRESS.fullmatch(label):
            cells += texts[1:]
        else:
            yield label, cells
            label, cells = "", []
    yield label, cells


def _cells(page: etree._Element) -> Iterable[list[etree._Element]]:
    """Return the cells of each row, in the order of the page; those of a table in a cell are their own rows'."""
    rows: dict[etree._Element, list[etree._Element]] = {row: [] for row in page.iter("tr")}
    for cell in page.iter("td", "th"):
        row = cell.getparent()
        while row is not None and row.tag != "tr":
            row = row.getparent()
        if row is not None:
            rows[row].append(cell)
    return rows.values()


def _rows_below(cell: etree._Element) -> int:
    """Return how many rows a cell spans besides its own."""
    span = cell.get("rowspan", "")
    return max(int(span) - 1, 0) if re.fullmatch(r"[0-9]{1,4}", span) else 0


def _label(text: str) -> str:
    """Normalise a label: its spaces, apostrophes, accents, capitals, and what may follow it."""
    words = unicodedata.normalize("NFC", text).replace("’", "'").replace("(*)", "").split()
    return " ".join(words).rstrip(" :*").lower()


def _text(element: etree._Element) -> str:
    """Return the text that a person reads in a cell: line breaks and tabs of the source are one space."""
    text = _raw_text(element).strip()
    if text.isprintable():  # on one line, as nearly always
        return text
    lines = text.replace("\r", "\n").replace("\t", "\n").split("\n")
    return " ".join(filter(None, map(str.strip, lines)))


def _raw_text(element: etree._Element) -> str:
    if not len(element):  # as nearly every cell
        return element.text or ""
    return etree.tostring(element, method="text", encoding="unicode", with_tail=False)


def _amount(text: str) -> int | None:
    """Read "25 258 €", with any of French typography's spaces."""
    printed = "".join(text.split()).lower()
    if printed == "nonimposable":
        return None
    if printed == "nonrenseigné":
        return 0  # as every server before answered it (docs/decisions/0005-recorded-behaviour.md)
    digits = printed.replace("−", "-").removesuffix("€")
    if not re.fullmatch(r"-?[0-9]{1,12}", digits):
        raise ProviderInvalidResponse
    return int(digits)


def _parts(text: str) -> float:
    """Read "2.50", or "2,50"; a whole number is an ``int``, so that JSON shows 2 and not 2.0."""
    digits = "".join(text.split()).replace(",", ".")
    if not re.fullmatch(r"[0-9]{1,3}(\.[0-9]{1,4})?", digits):
        raise ProviderInvalidResponse
    number = float(digits)
    return int(number) if number.is_integer() else number


def _count(text: str) -> int:
    """Read a number of people; a child in alternating custody is printed 0.5, and was never counted."""
    return int(_parts(text))


def _by_id(page: etree._Element) -> dict[str, list[etree._Element]]:
    """Return the elements that have an identifier, by it; a page of the service repeats some."""
    found: dict[str, list[etree._Element]] = {}
    elements: list[etree._Element] = _WITH_ID(page)
    for element in elements:
        found.setdefault(element.get("id", ""), []).append(element)
    return found


def _is_refusal(page: etree._Element) -> bool:
    classes: list[str] = _CLASSES(page)
    return any("interdit" in names.split() for names in classes)


_PERSONS: Final = {
    "nom": "nom",
    "nom de naissance": "nomNaissance",
    "prénom(s)": "prenoms",
    "date de naissance": "dateNaissance",
}
_VALUES: Final[dict[str, tuple[str, Callable[[str], object]]]] = {
    "date de mise en recouvrement de l'avis d'impôt": ("dateRecouvrement", str),
    "date d'établissement": ("dateEtablissement", str),
    "nombre de part(s)": ("nombreParts", _parts),
    "situation de famille": ("situationFamille", str),
    "nombre de personne(s) à charge": ("nombrePersonnesCharge", _count),
    "revenu brut global": ("revenuBrutGlobal", _amount),
    "revenu imposable": ("revenuImposable", _amount),
    "impôt sur le revenu net avant corrections": ("impotRevenuNetAvantCorrections", _amount),
    "montant de l'impôt": ("montantImpot", _amount),
    "revenu fiscal de référence": ("revenuFiscalReference", _amount),
}
