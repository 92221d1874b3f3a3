"""What stops each attack of `make attack`, and how `make attack WITHOUT=countermeasures` takes it away.

The product has no switch for this: its functions are replaced as they are imported, in every process of the tests and
of their stack (``sitecustomize``). An attack that is under way meets what is named for it here, and every other
counter-measure is in its place; so an attack that succeeds is stopped by nothing else.
"""

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import wraps
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from os import environ
from pathlib import Path
from secrets import token_hex
from types import ModuleType
from typing import Any, Final

DISARMED: Final = environ.get("WITHOUT") == "countermeasures"
_UNDER_WAY: Final = Path(__file__).parents[3] / ".local/attack-under-way"
"""The file that names the attack under way, for every process."""

type Place = str
"""A function of the product: ``module:name`` or ``module:Class.name``; ``app`` is the module of a Lambda function."""


# ── What an attack meets in the place of a counter-measure ───────────────────────────────────────────────────────────


def _is_genuine(*_: object, **__: object) -> bool:
    return True


def _nothing(*_: object, **__: object) -> None:
    """Check, count and record nothing."""


def _suspend_by_ratio(_name: str, people: int, _calls: int, _found: int) -> str | None:
    """Suspend for unknown people, known ones or not."""
    from api_particulier.settings import settings

    return "suspended" if people >= settings().enumeration_suspended_at else None


def _limit_by_number_alone(number: str, record: Any) -> None:
    from api_particulier.api import rate_limit
    from api_particulier.audit.pseudonyms import pseudonym
    from api_particulier.settings import settings

    rate_limit.hit(pseudonym(f"number:{number}", record.at), settings().citizen_tries_by_citizen)


def _believe_the_number(hint: tuple[int, str] | None) -> Any:
    """Make the next seal after the one that the table names."""
    from api_particulier.audit import chain, seals

    number, last_hash = hint or (0, seals.GENESIS_HASH)

    class _Named(seals.Seal):
        hash = last_hash

    return chain.Place(_Named({"number": number, "at": "2020-01-01T00:00:00+00:00"}, "", ()))


def _stop_at_an_object(start: Any) -> Any:
    """Find no place for a seal but the one after the last seal, where an object is."""
    from api_particulier.audit import chain

    return chain.Place(start)


def _is_unknown(_code: int) -> Exception:
    """Take a family of which the CAF has nothing to give for one that it does not know."""
    from api_particulier.errors import UnknownFile

    return UnknownFile()


def _prove_possession() -> Any:
    from api_particulier.providers.proof import Proof

    return Proof.POSSESSION


STOPPED_BY: Final[Mapping[str, Mapping[Place, Callable[..., Any]]]] = {
    # In this order they run: what a chain of seals that was forged would disturb comes before it.
    #
    # The audit: what is kept is compared with the seals; Object Lock (the test lifts it).
    "test_verification_names_a_tampered_record": {
        "ops.audit:_Records.check_day": _nothing,
        "ops.audit:_Records.end": _nothing,
    },
    "test_a_seal_cannot_be_deleted_and_verification_names_a_seal_removed_past_the_lock": {},
    # Tokens: their MAC, and keys that are kept as a hash.
    "test_a_write_in_the_tokens_table_opens_nothing": {"api_particulier.keys.mac:verify": _is_genuine},
    "test_a_token_changed_in_the_table_is_refused_and_found_by_the_check": {
        "api_particulier.keys.mac:verify": _is_genuine
    },
    "test_no_place_of_the_stack_keeps_a_key": {"api_particulier.keys.token:hash_key": lambda key: key},
    # What a row of a citizen's log rests on: the MAC of its record.
    "test_a_forged_record_is_in_no_citizens_log": {"api_particulier.audit.mac:Marks.proves": _is_genuine},
    # The policy of the key of seals (the test opens it); the two public halves of `verify-file`.
    "test_a_role_with_every_right_on_keys_signs_no_seal": {},
    "test_what_the_key_of_exports_signs_is_no_evidence": {"ops.verify_file:check_header": _nothing},
    # Messages: signatures and MACs.
    "test_an_approval_that_datapass_did_not_sign_makes_no_key": {
        "api_particulier.habilitations.datapass:check_signature": _nothing
    },
    "test_a_wrong_signature_changes_nothing": {"api_particulier.habilitations.datapass:is_signed": _is_genuine},
    "test_an_event_that_cannot_be_processed_goes_to_the_dead_letter_queue_and_is_replayed": {
        "api_particulier.habilitations.datapass:is_signed": _is_genuine
    },
    "test_a_suspicion_that_no_function_sent_suspends_no_key": {"api_particulier.audit.mac:verify": _is_genuine},
    # Links: the text that an opener drew.
    "test_a_link_is_opened_again_by_its_opener_alone": {
        "api_particulier.habilitations.key_link:_is_same_opener": _is_genuine
    },
    # Enumeration: clusters; what suspends; bounds of a day; what a provider knows.
    "test_a_walk_through_families_is_stopped_before_the_100th_and_a_suspended_key_is_resumed": {
        "api_particulier.api.enumeration:_suspicion": _nothing
    },
    "test_a_walk_is_refused_even_when_it_cannot_be_reported": {"api_particulier.api.enumeration:_suspicion": _nothing},
    "test_200_known_families_without_data_leave_the_key_alive": {"api_particulier.providers.caf:refusal": _is_unknown},
    "test_260_numbers_of_strangers_in_a_towns_form_do_not_stop_its_families": {
        "api_particulier.api.enumeration:classify": _suspend_by_ratio
    },
    "test_guesses_hidden_among_known_calls_end_at_the_bound_of_the_day": {
        "api_particulier.api.enumeration:_count_unknown": _nothing
    },
    "test_a_thief_reads_no_more_people_in_a_day_than_the_bound_of_the_key": {
        "api_particulier.api.enumeration:_count_person": _nothing
    },
    "test_an_end_user_that_types_numbers_of_strangers_is_refused_alone": {
        "api_particulier.api.request:Request.end_user": _nothing
    },
    # A citizen's log: the département in a family's name; what a provider proves; limits by address first; a record of
    # the first refusal of an address and hour; a record of each act of an operator.
    "test_a_family_that_moves_finds_its_earlier_accesses": {
        "api_particulier.api.parameters:AllocataireNumbers.citizen_id": lambda numbers: numbers.whole
    },
    "test_where_a_number_alone_finds_a_citizen_no_reference_opens_a_log": {
        "api_particulier.providers.dgfip:proves": _prove_possession
    },
    "test_a_stranger_that_tries_numbers_does_not_lock_a_citizen_out": {"app:_limit_tries": _limit_by_number_alone},
    "test_the_refusals_of_a_stranger_leave_one_record": {"api_particulier.api.rate_limit:count": lambda _: 1},
    "test_an_operator_that_reads_a_citizens_log_is_seen_in_it": {"ops.operators:record_act": _nothing},
    # Reports of keys: each network has its own limit.
    "test_a_flood_of_reports_does_not_keep_a_holder_from_killing_a_stolen_key": {
        "api_particulier.api.rate_limit:network_of": lambda _: "any"
    },
    # What outsiders write: bounds.
    "test_a_long_title_is_in_no_token": {
        "api_particulier.habilitations.model:Request.shortened": lambda request: request
    },
    "test_what_a_caller_writes_in_a_record_is_bounded": {
        "api_particulier.api.request:Request.consent": lambda request: request.headers.get("x-consent"),
    },
    # The circuit breaker: failures count by people and callers, until an answer.
    "test_one_broken_file_asked_60_times_leaves_another_town_its_answers": {
        "api_particulier.providers.circuit_breaker:_question": lambda *_: f"{token_hex(4)}:{token_hex(4)}:0",
        "api_particulier.providers.circuit_breaker:CircuitBreaker._count_response": _nothing,
    },
    # The chain of seals: an object that is no seal is stepped over; the table's number is a hint.
    "test_a_garbage_object_in_the_place_of_a_seal_is_named_and_stepped_over": {
        "api_particulier.audit.chain:search": _stop_at_an_object
    },
    "test_a_poisoned_number_makes_no_seal_after_an_invented_one": {
        "api_particulier.audit.chain:next_place": _believe_the_number,
        "api_particulier.audit.chain:sealed_among": lambda *_: set(),
    },
}
"""By the attack, what is put in the place of each function that stops it.

Empty for an attack that a policy or a lock stops: its test takes that away (``disarmed``).
"""


# ── How ──────────────────────────────────────────────────────────────────────────────────────────────────────────────


def attempt(what: str, answered: object) -> None:
    """Print what was tried and what was answered, for the reader of `make attack`."""
    print(f"\n· {what}\n  → {answered}")  # noqa: T201 - the report of `make attack`


def disarmed(change: AbstractContextManager[Any]) -> AbstractContextManager[Any]:
    """Return a change that takes a counter-measure away within a ``with`` block, if that is asked for."""
    return change if DISARMED else nullcontext()


@contextmanager
def under_way(attack: str) -> Iterator[None]:
    """Take away what stops an attack, in every process, within a ``with`` block."""
    _UNDER_WAY.write_text(attack)
    try:
        yield
    finally:
        _UNDER_WAY.unlink()


def install() -> None:
    """Replace the functions of ``STOPPED_BY`` as their modules are imported by this process."""
    sys.meta_path.insert(0, _Finder())


class _Finder(MetaPathFinder):
    """Find the modules of ``STOPPED_BY`` as usual; what they hold is replaced once they are executed."""

    _modules: Final = {place.partition(":")[0] for places in STOPPED_BY.values() for place in places}

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        spec = PathFinder.find_spec(name, path, target) if name in self._modules else None
        if spec is None or spec.loader is None:
            return None
        execute = spec.loader.exec_module

        def exec_module(module: ModuleType) -> None:
            execute(module)
            _replace(module)

        spec.loader.exec_module = exec_module  # type: ignore[method-assign]  # what runs a module
        return spec


def _replace(module: ModuleType) -> None:
    for attack, places in STOPPED_BY.items():
        for place, instead in places.items():
            name, _, path = place.partition(":")
            *within, function = path.split(".")
            if name != module.__name__:
                continue
            owner: Any = getattr(module, within[0]) if within else module
            original = vars(owner).get(function)
            if isinstance(original, property) and original.fget is not None:
                setattr(owner, function, property(_either(attack, original.fget, instead)))
            elif original is not None:  # or it is of the `app` of another function
                setattr(owner, function, _either(attack, original, instead))


def _either(attack: str, original: Callable[..., Any], instead: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function that is ``instead`` while the attack is under way."""

    @wraps(original)
    def either(*arguments: Any, **named: Any) -> Any:
        return (instead if _current() == attack else original)(*arguments, **named)

    return either


def _current() -> str:
    try:
        return _UNDER_WAY.read_text()
    except FileNotFoundError:
        return ""
