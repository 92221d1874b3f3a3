"""DGFIP's notice verification service ("SVAIR"): a JSF form, and a page that certifies a notice.

A GET of ``/secavis/`` gives the form: its ``javax.faces.ViewState`` goes with the session's cookie; a POST of the two
numbers gives the page. The form is used again for ten minutes, so that a question costs one round trip; a form that the
service no longer knows is fetched again, once.

The status is always 200: the page holds the outcome. Its rows are read by their labels, never by their position.
"""

import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from email.message import Message
from functools import lru_cache
from time import monotonic
from typing import Final
from urllib.parse import urlencode

from lxml import etree

from api_particulier.api.parameters import AvisNumbers
from api_particulier.errors import ProviderRateLimited, ProviderUnavailable, UnknownNotice
from api_particulier.providers import outage
from api_particulier.providers.http import OK, ProviderClient, ProviderResponse
from api_particulier.providers.proof import Proof
from api_particulier.scopes import EMPTY, UNREADABLE, ProviderData
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

# Accents may be characters of their own.
_TITLE: Final = re.compile(
    r"imp(?:ô|o\u0302)t\s*([0-9]{4})\s*sur\s+les\s+revenus\s+de\s+l['’]ann(?:é|e\u0301)e\s*([0-9]{4})", re.IGNORECASE
)
_ADDRESS: Final = re.compile(r"adresse déclarée au 1 ?er janvier ?([0-9]{4})")
# Conditions on the values would take ten times longer here than in Python.
_WITH_ID: Final = etree.XPath("descendant-or-self::*[@id]")
_CLASSES: Final = etree.XPath("descendant-or-self::*/@class", smart_strings=False)
_VIEW_STATE: Final = etree.XPath("//input[@name='javax.faces.ViewState']/@value")
_PAGE_TYPES: Final = frozenset({"text/html", "application/xhtml+xml"})
_BREAKING: Final = frozenset(
    {
        *("address", "article", "aside", "blockquote", "br", "center", "dd", "div", "dl", "dt", "fieldset", "figure"),
        *("footer", "form", "h1", "h2", "h3", "h4", "h5", "h6", "header", "hr", "li", "main", "nav", "ol", "p", "pre"),
        *("section", "table", "td", "th", "tr", "ul"),
    }
)
"""The elements that break a line on the screen."""
_BREAK: Final = "\x1e"
_LINES: Final = re.compile(f"[\\r\\n\\t{_BREAK}]+")
_LABEL_LENGTH: Final = 200

type _Rows = dict[str, list[list[etree._Element]]]  # noqa: SLF001 - lxml has no other name for its elements
"""The cells of labelled rows, by their label: those of its row, and for an address those of the rows below."""


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
                    return self._read(page, response, form)
            form = self._fetch_form()
            response = self._post(form, numbers)
            return self._read(_parse(response), response, form)

    def _read(self, page: etree._Element, response: ProviderResponse, form: _Form) -> ProviderData:
        document = _read(page, response)
        self._form = form
        if document is None:
            raise UnknownNotice
        return document

    def ping(self) -> None:
        with self.client.question():
            self._form = self._fetch_form()  # the last one's session is over

    def _fetch_form(self) -> _Form:
        self.client.forget_session()
        response = self.client.send("GET", _FORM_PATH)
        page = _parse(response)
        _check_available(page, response)
        found = _VIEW_STATE(page)
        if not isinstance(found, list) or not found or not found[0]:
            raise outage.not_understood(response.headers, response.content)
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
    """Return the page; raise the error of a response that is none."""
    kind, charset = _content_type(response.headers.get("content-type") or "text/html")
    page = None
    if kind in _PAGE_TYPES:
        with suppress(UnicodeError, LookupError, etree.LxmlError, ValueError):
            text = response.content.decode(charset).removeprefix("\ufeff")
            page = etree.fromstring(text.encode(), _parser())
    if page is None:
        raise outage.not_understood(response.headers, response.content)
    return page


def _is_bare_form(page: etree._Element) -> bool:
    """Return whether the service shows its empty form again, having forgotten the one that was posted."""
    return bool(_VIEW_STATE(page)) and "nonTrouve" not in _marks(page) and not _rows(page)


def _check_available(page: etree._Element, response: ProviderResponse) -> None:
    """Raise the error of a page that shows a refusal or an outage, whatever else it shows."""
    _check_not_refused(page, response)
    if any(outage.has_sign(name) for name in _names(page)):
        raise ProviderUnavailable(retry_after=outage.delay(response.headers))


def _read(page: etree._Element, response: ProviderResponse) -> ProviderData | None:
    """Read the page of a notice; a field without a row is absent, one with an empty cell is ``EMPTY``.

    Return None for a page that shows that there is no such notice.
    """
    _check_not_refused(page, response)
    marks = _marks(page)
    if "nonTrouve" in marks:
        return None
    years, rows = _years(page), _rows(page)
    if not rows or (years is None and not rows.keys() & _VALUES.keys()):
        raise outage.not_understood(response.headers, response.content)
    document: dict[str, object] = dict(_declarants(rows))
    for label, (name, read) in _VALUES.items():
        if label in rows:
            document[name] = _value(rows[label][0], read)
    for label, lines in rows.items():
        if address := _ADDRESS.fullmatch(label):
            document["foyerFiscal"] = {"annee": int(address[1]), "adresse": _address(lines)}
    document |= years or _NO_YEARS
    for name in ("erreurCorrectif", "situationPartielle"):
        if name in marks and (text := _remark(marks[name])):
            document[name] = text
    return document


def _marks(page: etree._Element) -> dict[str, list[etree._Element]]:
    """Return the elements that have an identifier, by it; a page of the service repeats some."""
    marks: dict[str, list[etree._Element]] = {}
    elements: list[etree._Element] = _WITH_ID(page)
    for element in elements:
        marks.setdefault(element.get("id", ""), []).append(element)
    return marks


def _check_not_refused(page: etree._Element, response: ProviderResponse) -> None:
    classes: list[str] = _CLASSES(page)
    if any("interdit" in names.split() for names in classes if "interdit" in names):
        raise ProviderRateLimited(retry_after=outage.delay(response.headers))


def _names(page: etree._Element) -> Iterator[str]:
    """Yield the identifier and the class of every element."""
    for element in page.iter():
        yield element.get("id", "")
        yield element.get("class", "")


def _years(page: etree._Element) -> Mapping[str, str] | None:
    """Return the years of the tax and of the income, from the title of a notice."""
    title = _TITLE.search(etree.tostring(page, method="text", encoding="unicode"))
    return {"anneeImpots": title[1], "anneeRevenus": title[2]} if title else None


def _declarants(rows: _Rows) -> Iterator[tuple[str, dict[str, object]]]:
    """Yield both declarants; the second's four fields are empty strings where there is none."""
    people = {label: [*map(_text, rows[label][0]), "", ""][:2] for label in _PERSONS if label in rows}
    yield "declarant1", {_PERSONS[label]: first or EMPTY for label, (first, _) in people.items()}
    if any(second for _, second in people.values()):
        yield "declarant2", {_PERSONS[label]: second or EMPTY for label, (_, second) in people.items()}
    else:
        yield "declarant2", dict.fromkeys(_PERSONS.values(), "")


def _value(cells: list[etree._Element], read: Callable[[str], object]) -> object:
    """Return the value of a row, ``EMPTY`` without one."""
    text = " ".join(filter(None, map(_text, cells)))
    try:
        return read(text) if text else EMPTY
    except ValueError:
        return UNREADABLE


def _address(lines: list[list[etree._Element]]) -> str:
    """Return an address on one line: the first declarant's column where rows have one for each declarant."""
    texts = [list(map(_text, cells)) for cells in lines]
    if any(len(list(filter(None, cells))) > 1 for cells in texts):
        texts = [cells[:1] for cells in texts]
    return " ".join(text for cells in texts for text in cells if text)


def _remark(elements: list[etree._Element]) -> str:
    """Return a text of the page: what breaks a line on the screen is one space; the source's breaks are nothing."""
    text = _BREAK.join(map(_broken_text, elements))
    return re.sub(f" *{_BREAK}[ {_BREAK}]*", " ", re.sub(r"[\r\n\t]", "", text)).strip()


def _rows(page: etree._Element) -> _Rows:
    """Return the cells of each row that has a known label; an address has more, the unlabelled rows after its own."""
    rows: _Rows = {}
    lines: list[list[etree._Element]] = []
    spanned = 0
    for own in _cells(page):
        if spanned:  # the label's cell goes on in this row
            lines.append(own)
            spanned -= 1
            continue
        text = _text(own[0]) if own else ""
        if text:
            label = _label(text)
            is_address = _ADDRESS.fullmatch(label) is not None
            lines = [own[1:]]
            if is_address or label in _PERSONS or label in _VALUES:
                rows[label] = lines
            spanned = _rows_below(own[0]) if is_address else 0
            lines = lines if is_address else []
        elif own[1:] and lines:
            lines.append(own[1:])
        else:
            lines = []
    return rows


def _cells(page: etree._Element) -> Iterable[list[etree._Element]]:
    """Return the cells of each row, in the order of the page; those of a table in a cell are their own rows'."""
    rows: dict[etree._Element, list[etree._Element]] = {}
    for element in page.iter("tr", "td", "th"):
        if element.tag == "tr":
            rows[element] = []
            continue
        row = element.getparent()
        while row is not None and row.tag != "tr":
            row = row.getparent()
        if row is not None:
            rows[row].append(element)
    return rows.values()


def _rows_below(cell: etree._Element) -> int:
    """Return how many rows a cell spans besides its own."""
    span = cell.get("rowspan", "")
    return max(int(span) - 1, 0) if re.fullmatch(r"[0-9]{1,4}", span) else 0


def _label(text: str) -> str:
    """Normalise a label: its spaces, apostrophes, accents, capitals, and what may follow it."""
    return _short_label(text) if len(text) < _LABEL_LENGTH else _normalize(text)


@lru_cache(maxsize=128)
def _short_label(text: str) -> str:
    """Remember the labels, which are the same on every page."""
    return _normalize(text)


def _normalize(text: str) -> str:
    words = unicodedata.normalize("NFC", text).replace("’", "'").replace("(*)", "").split()
    return " ".join(words).rstrip(" :*").lower()


def _text(element: etree._Element) -> str:
    """Return the text that a person reads in a cell: line breaks, of the source too, and tabs are one space."""
    text = (_broken_text(element) if len(element) else element.text or "").strip()
    if "\n" not in text and text.isprintable():  # on one line, as nearly always
        return text
    return " ".join(filter(None, map(str.strip, _LINES.split(text))))


def _broken_text(element: etree._Element) -> str:
    """Return the text in an element, with ``_BREAK`` where the screen breaks the line."""
    pieces = []
    for event, node in etree.iterwalk(element, ("start", "end")):
        if node is not element and node.tag in _BREAKING:
            pieces.append(_BREAK)
        pieces.append((node.text if event == "start" else node.tail if node is not element else "") or "")
    return "".join(pieces)


def _amount(text: str) -> int | None:
    """Read "25 258 €", with any of French typography's spaces; raise ``ValueError`` for another text."""
    printed = "".join(text.split()).lower()
    if printed == "nonimposable":
        return None
    if printed == "nonrenseigné":
        return 0  # as every server before answered it (docs/decisions/0005-recorded-behaviour.md)
    digits = printed.replace("−", "-").removesuffix("€")
    if not re.fullmatch(r"-?[0-9]{1,12}", digits):
        raise ValueError
    return int(digits)


def _parts(text: str) -> float:
    """Read "2.50", or "2,50"; a whole number is an ``int``, so that JSON shows 2 and not 2.0."""
    digits = "".join(text.split()).replace(",", ".")
    if not re.fullmatch(r"[0-9]{1,3}(\.[0-9]{1,4})?", digits):
        raise ValueError
    number = float(digits)
    return int(number) if number.is_integer() else number


def _count(text: str) -> int:
    """Read a number of people; a child in alternating custody is printed 0.5, and was never counted."""
    return int(_parts(text))


_NO_YEARS: Final[Mapping[str, object]] = {"anneeImpots": UNREADABLE, "anneeRevenus": UNREADABLE}
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
