"""The tree of errors: each with a code, a status and data that a client can use."""

import pytest

from llmcore import errors
from llmcore.errors import ApprovalRequired, BadParams, LLMCoreError, RateLimited, UnknownIntent

CONTRACT = {
    "bad_request": 400,
    "bad_params": 400,
    "unauthorized": 401,
    "forbidden": 403,
    "approval_required": 403,
    "unknown_intent": 404,
    "not_found": 404,
    "conflict": 409,
    "expired": 410,
    "rate_limited": 429,
    "internal": 500,
    "provider_error": 502,
    "unavailable": 503,
    "timeout": 504,
}


def test_codes_and_statuses_are_those_of_the_contract() -> None:
    """None is missing, none is another's."""
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, LLMCoreError)]
    assert {kind.code: kind.status for kind in kinds} == CONTRACT
    assert {kind.code for kind in kinds if kind.retryable} == {
        "rate_limited",
        "provider_error",
        "unavailable",
        "timeout",
    }


def test_data_has_the_code_and_the_details() -> None:
    """As an RPC answer carries them."""
    assert ApprovalRequired("wait", plan_id="pl").data() == {"error": "approval_required", "plan_id": "pl"}
    assert RateLimited("slow", 1.23456).data() == {"error": "rate_limited", "retry_after_s": 1.235}
    wrong = BadParams("bad", [{"pointer": "/a", "message": "is missing"}])
    assert wrong.data()["fields"] == [{"pointer": "/a", "message": "is missing"}]


def test_special_errors_are_caught_as_the_general_ones() -> None:
    """A door that knows only the parents still answers rightly."""
    with pytest.raises(errors.NotFound):
        raise UnknownIntent("gone")
    with pytest.raises(errors.Forbidden):
        raise ApprovalRequired("wait")
    assert str(UnknownIntent("gone")) == "gone"
