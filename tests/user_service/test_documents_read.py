"""Drawn documents read by the real reader, with the models of its wheel: `make test-verification`."""

from datetime import date

import pytest

from tests.suite import Suite
from tests.user_service.pictures import specimen
from tests.user_service.requests import create
from tests.user_service.test_mrz import SPECIMENS, passport
from tests.user_service.test_verifications import path_of, worked
from user_service.verifications.judging import judge
from user_service.verifications.mrz import MrzFormat
from user_service.verifications.reading import OcrReader, ReadingFailed

pytestmark = pytest.mark.skipif(
    not OcrReader().is_installed,
    reason="the extra `verification` is not installed; `make test-verification` installs it and runs this",
)
# The specimens of Doc 9303 expired in 2012.
IN_TIME = date(2010, 1, 1)


@pytest.mark.parametrize("shape", list(MrzFormat))
async def test_each_size_of_document_is_read_letter_by_letter(shape: MrzFormat) -> None:
    lines = await OcrReader().read(specimen(SPECIMENS[shape]))
    judgement = judge(lines, "Anna Maria Eriksson", IN_TIME)
    assert judgement.status == "verified", (lines, judgement)
    assert judgement.confidence > 0.8


async def test_what_has_expired_names_another_or_was_altered_is_not_verified() -> None:
    lines = await OcrReader().read(specimen(passport()))
    for name, today, status in (
        ("Anna Maria Eriksson", date(2031, 1, 1), "rejected"),
        ("Otto Other", date(2026, 11, 26), "rejected"),
        ("Anna Maria Eriksson", date(2026, 11, 26), "verified"),
    ):
        assert judge(lines, name, today).status == status, lines
    first, second = passport()
    altered = await OcrReader().read(specimen([first, second.replace("740812", "750812")]))
    judgement = judge(altered, "Anna Maria Eriksson", date(2026, 11, 26))
    assert judgement.status == "needs_review", (altered, judgement)


async def test_what_is_no_picture_inside_is_told_and_not_guessed_at() -> None:
    with pytest.raises(ReadingFailed):
        await OcrReader().read(b"\x89PNG\r\n\x1a\nbroken")


async def test_a_document_goes_the_whole_way_from_the_request_to_its_verdict(suite: Suite) -> None:
    tenant = await suite.tenant("enterprise")
    user = await create(suite, tenant, "anna@x.example", name="Anna Maria Eriksson")
    sent = tenant.auth | {"Content-Type": "image/png"}
    picture = specimen(passport(expiry="401231"))
    begun = await suite.client.post(path_of(user["id"]), content=picture, headers=sent)
    assert begun.status_code == 202, begun.text
    await worked(suite, tenant, OcrReader())
    told = (await suite.client.get(begun.headers["location"], headers=tenant.auth)).json()
    assert told["status"] == "verified", told
    assert all(check["passed"] for check in told["checks"])
