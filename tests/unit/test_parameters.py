"""The numbers that identify a citizen, as callers write them."""

import re
from collections.abc import Callable
from string import ascii_letters, digits

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from api_particulier.api.parameters import AllocataireNumbers, AvisNumbers
from api_particulier.errors import BadRequest

SPACES = " \t\n\r\N{NO-BREAK SPACE}\N{NARROW NO-BREAK SPACE}\N{THIN SPACE}\N{IDEOGRAPHIC SPACE}"
NUMERO, REFERENCE = "2690000000012", "2690000000034"

SENTENCES = {
    "Les paramètres numeroFiscal et referenceAvis doivent être fournis dans la requête.",
    "Les paramètres `codePostal` et `numeroAllocataire` sont obligatoires",
    "Le paramètre numeroFiscal doit comporter 13 chiffres.",
    "Le paramètre referenceAvis doit comporter 13 lettres ou chiffres.",
    "Le paramètre numeroAllocataire doit comporter de 1 à 7 chiffres.",
    "Le paramètre codePostal doit comporter 5 chiffres.",
    *(
        f"Le paramètre {name} ne doit être fourni qu'une fois."
        for name in ("numeroFiscal", "referenceAvis", "numeroAllocataire", "codePostal")
    ),
}


def read(numero: str = NUMERO, reference: str = REFERENCE) -> AvisNumbers:
    return AvisNumbers.parse({"numeroFiscal": [numero], "referenceAvis": [reference]})


@st.composite
def spaced(draw: st.DrawFn, text: st.SearchStrategy[str]) -> str:
    """Draw a text, and add spaces of any kind between its characters."""
    return "".join(character + draw(st.text(SPACES, max_size=2)) for character in " " + draw(text))


thirteen_digits = st.text(digits, min_size=13, max_size=13)
thirteen_signs = st.text(digits + ascii_letters, min_size=13, max_size=13)


@given(number=thirteen_digits, after=st.text(max_size=20), data=st.data())
def test_a_tax_number_is_the_first_13_digits_without_spaces(number: str, after: str, data: st.DataObject) -> None:
    written = data.draw(spaced(st.just(number))) + after
    assert read(numero=written).numero_fiscal == number


@given(reference=thirteen_signs, letter=st.sampled_from(["", *ascii_letters, *digits]), data=st.data())
def test_a_notice_reference_has_13_characters_and_an_optional_check_letter(
    reference: str, letter: str, data: st.DataObject
) -> None:
    assert read(reference=data.draw(spaced(st.just(reference + letter)))).reference_avis == reference.upper()


@pytest.mark.parametrize(
    "malformed",
    [
        *("269000000001", "A690000000012", "-690000000012", "+690000000012", "26900000O0012", "269.000.000.001"),
        "٢٦٩٠٠٠٠٠٠٠٠١٢",  # digits for Python, not for the tax service
        *("２６９００００００００１２", "²690000000012", "2690000000\x0012", "\x002690000000012"),
        "\N{ZERO WIDTH SPACE}2690000000012",
        "numéro" * 2_000,
        "2690000000012".replace("0", "\ud800"),
    ],
    ids=lambda text: ascii(text)[:40],
)
def test_a_malformed_tax_number_is_refused(malformed: str) -> None:
    with pytest.raises(BadRequest, match="bad_request") as refused:
        read(numero=malformed)
    assert refused.value.message == "Le paramètre numeroFiscal doit comporter 13 chiffres."


@pytest.mark.parametrize(
    "malformed",
    [
        *("269000000003", "26900000000341A", "269000000003é", "2690000000034-", "26900000000-34", "26900000000٣٤"),
        *("2690000000034\x00", "2690000000034\N{ZERO WIDTH SPACE}", "9" * 10_000, "%" * 13, "2690000000034;A"),
    ],
    ids=lambda text: ascii(text)[:40],
)
def test_a_malformed_notice_reference_is_refused(malformed: str) -> None:
    with pytest.raises(BadRequest) as refused:
        read(reference=malformed)
    assert refused.value.message == "Le paramètre referenceAvis doit comporter 13 lettres ou chiffres."


@pytest.mark.parametrize("absent", [{}, {"numeroFiscal": []}, {"numeroFiscal": [""]}, {"numeroFiscal": [SPACES]}])
@pytest.mark.parametrize("other", [{}, {"referenceAvis": [REFERENCE]}, {"referenceAvis": ["?"]}], ids=str)
def test_a_missing_parameter_is_refused_by_name(absent: dict[str, list[str]], other: dict[str, list[str]]) -> None:
    with pytest.raises(BadRequest) as refused:
        AvisNumbers.parse(absent | other)
    sentence = "Les paramètres numeroFiscal et referenceAvis doivent être fournis dans la requête."
    assert (refused.value.reason, refused.value.message) == (sentence, sentence)


def test_a_parameter_given_twice_with_different_values_is_refused() -> None:
    query = {"numeroFiscal": [NUMERO, "26 90000000012"], "referenceAvis": [REFERENCE]}
    assert AvisNumbers.parse(query) == read()
    for other in ("2690000000013", ""):
        with pytest.raises(BadRequest, match="bad_request") as refused:
            AvisNumbers.parse({"numeroFiscal": [NUMERO], "referenceAvis": [REFERENCE, other]})
        assert refused.value.message == "Le paramètre referenceAvis ne doit être fourni qu'une fois."


def test_the_name_of_a_parameter_is_case_sensitive() -> None:
    with pytest.raises(BadRequest):
        AvisNumbers.parse({"numerofiscal": [NUMERO], "referenceAvis": [REFERENCE]})


@pytest.mark.parametrize(
    ("written", "numero"),
    [
        ("1", "0000001"),
        ("0000001", "0000001"),
        ("1234567", "1234567"),
        ("1234567A", "1234567"),
        ("12 345 67 z", "1234567"),
        (" 42 ", "0000042"),
    ],
)
def test_a_family_number_is_padded_to_7_digits_without_its_letter(written: str, numero: str) -> None:
    numbers = AllocataireNumbers.parse({"numeroAllocataire": [written], "codePostal": ["01 234"]})
    assert (numbers.numero, numbers.code_postal) == (numero, "01234")


@pytest.mark.parametrize("malformed", ["12345678", "123456A", "A", "1234567AB", "1234567é", "١", "1\x00", "-1", "1.0"])
def test_a_malformed_family_number_is_refused(malformed: str) -> None:
    with pytest.raises(BadRequest) as refused:
        AllocataireNumbers.parse({"numeroAllocataire": [malformed], "codePostal": ["01234"]})
    assert refused.value.message == "Le paramètre numeroAllocataire doit comporter de 1 à 7 chiffres."


@pytest.mark.parametrize("malformed", ["1234", "012345", "2A004", "0123O", "01-234", "٠١٢٣٤"])
def test_a_malformed_postcode_is_refused(malformed: str) -> None:
    with pytest.raises(BadRequest) as refused:
        AllocataireNumbers.parse({"numeroAllocataire": ["1"], "codePostal": [malformed]})
    assert refused.value.message == "Le paramètre codePostal doit comporter 5 chiffres."


@pytest.mark.slow
@pytest.mark.parametrize("read_any", [AvisNumbers.parse, AllocataireNumbers.parse])
@given(
    query=st.dictionaries(
        st.sampled_from(["numeroFiscal", "referenceAvis", "numeroAllocataire", "codePostal"]),
        st.lists(st.text() | st.text(digits, min_size=13, max_size=14) | st.from_regex(r"[0-9]{5,8}")),
    )
)
def test_a_refusal_never_repeats_the_value(
    read_any: Callable[[dict[str, list[str]]], AvisNumbers | AllocataireNumbers], query: dict[str, list[str]]
) -> None:
    try:
        result = read_any(query).citizen_id
    except BadRequest as refused:
        result = refused.message
    # A refusal is one of the known sentences, without anything of the request.
    assert result in SENTENCES or re.fullmatch(r"dgfip:[0-9]{13}|caf:[0-9]{7}:[0-9]{5}", result)


@given(first=thirteen_digits, second=thirteen_digits)
def test_the_identifier_of_a_citizen_is_the_tax_number_alone(first: str, second: str) -> None:
    assume(first != second)
    assert read(first, "2690000000034").citizen_id == read(f"{first[:2]} {first[2:]}", "2590000000056").citizen_id
    assert read(first).citizen_id != read(second).citizen_id


def test_numbers_are_not_in_the_representation() -> None:
    assert NUMERO not in repr(read())
    assert REFERENCE not in str(read())
    assert "1234567" not in repr(AllocataireNumbers.parse({"numeroAllocataire": ["1234567"], "codePostal": ["01234"]}))
