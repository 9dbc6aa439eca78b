"""Each family's schema, field by field, against tables that were written by hand."""

from collections.abc import Iterator
from typing import Final

import pytest

from processor.domain.catalogue import FAMILIES
from processor.wire.scalars import check_key, text_check
from processor.wire.schema import (
    NO_DEFAULT,
    Array,
    DecimalBytes,
    Enum,
    Field,
    Map,
    Record,
    Scalar,
    Type,
    Union,
    is_null,
)
from tests.support.wire import SCHEMAS

# Copied from the reference. `T?` is null or T, null by default; `array<T>` and `map<T>` are empty by default; all else
# is required. A `key` is a string of 32 hexadecimal digits, a `decimal` has 38 digits of which 10 are fractions.
ENVELOPE: Final = (
    "eventId: uuid, event: enum, occurredAt: timestamp, tenant: string, correlationId: string?, actor: User?"
)
CUSTOM_FIELDS: Final = "customFields: map<CustomFieldValue>"
CUSTOM_FIELD_VALUE: Final = "null|boolean|string|decimal|date|timestamp"
RECORDS: Final = {
    "User": (
        "encodedKey: key, username: string, fullName: string, firstName: string?, lastName: "
        "string?, emailAddress: string?, mobilePhone: string?"
    ),
    "IdDocument": "number: string, type: string?, issuingAuthority: string?, expiryDate: date?",
    "Client": (
        "encodedKey: key, id: string, fullName: string, firstName: string?, middleName: string?, lastName: "
        "string?, birthDate: date?, emailAddress: string?, mobilePhone: string?, language: string?, state: "
        "string?, idDocument: IdDocument?, creditOfficer: User?"
    ),
    "GroupMember": "role: string?, client: Client",
    "Group": (
        "encodedKey: key, id: string, name: string, emailAddress: string?, mobilePhone: string?, "
        "language: string?, state: string?, creditOfficer: User?, members: array<GroupMember>"
    ),
    "Branch": "encodedKey: key, id: string, name: string, address: string?",
    "Centre": "encodedKey: key, id: string, name: string?, meetingDay: string?",
    "Product": "encodedKey: key, id: string, name: string",
    "Account": (
        "encodedKey: key, id: string, kind: enum(LOAN,DEPOSIT), name: string, state: string?, currencyCode: "
        "string, currencySign: string?, product: Product?, totalBalance: decimal?, availableBalance: decimal?, "
        "openingBalance: decimal?, interestRate: decimal?, previousInterestRate: decimal?, creditOfficer: User?, "
        "loan: LoanTerms?, deposit: DepositTerms?"
    ),
    "LoanTerms": (
        "loanAmount: decimal?, numberOfInstallments: int?, principalBalance: decimal?, principalDue: decimal?, "
        "interestDue: decimal?, feeDue: decimal?, penaltyDue: decimal?, totalDue: decimal?, arrearsPosition: "
        "decimal?, advancePosition: decimal?, redrawBalance: decimal?, expectedPrincipalRedraw: decimal?, "
        "disbursementDate: date?, firstRepaymentDate: date?, expectedMaturityDate: date?, "
        "anticipatedDisbursementDate: date?, anticipatedDisbursementAmount: decimal?"
    ),
    "DepositTerms": (
        "interestAccrued: decimal?, overdraftAmountDue: decimal?, technicalOverdraftAmountDue: "
        "decimal?, overdraftInterestRate: decimal?, overdraftIndexRate: decimal?"
    ),
    "Transaction": (
        "encodedKey: key, id: string, type: string, amount: decimal, currencyCode: string?, originalAmount: "
        "decimal?, originalCurrencyCode: string?, date: date, valueDate: date?, entryDate: timestamp?, method: "
        "string?, comment: string?, creditAmount: decimal?, debitAmount: decimal?, principalAmount: decimal?, "
        "interestAmount: decimal?, feeAmount: decimal?, penaltyAmount: decimal?, taxAmount: decimal?, taxPercent: "
        "decimal?, feeName: string?, internalTransfer: string?, linkedTransactionKey: string?, "
        "linkedTransactionId: string?, linkedTransactionDate: date?"
    ),
    "InstallmentDue": (
        "encodedKey: key, number: int, dueDate: date, state: string?, totalBalance: decimal?, principalBalance: "
        "decimal?, interestBalance: decimal?, feeBalance: decimal?, penaltyBalance: decimal?, "
        "organizationCommissionExpected: decimal?, fundersInterestExpected: decimal?"
    ),
    "CreditArrangement": (
        "encodedKey: key, id: string, state: string?, currencyCode: string?, approvedAmount: decimal?, "
        "availableAmount: decimal?, consumedAmount: decimal?, startDate: date?, validUntil: date?, approvalDate: "
        "date?, notes: string?"
    ),
    "CardAcceptor": (
        "name: string?, street: string?, city: string?, state: string?, zip: string?, country: string?, mcc: int?"
    ),
    "Card": "token: string, acceptor: CardAcceptor?",
    "Hold": (
        "encodedKey: key, externalReferenceId: string, state: string?, direction: enum(DBIT,CRDT), amount: "
        "decimal, previousAmount: decimal?, currencyCode: string?, originalAmount: decimal?, "
        "originalCurrencyCode: string?, exchangeRate: decimal?, advice: boolean?, card: Card?"
    ),
    "Order": (
        "encodedKey: key, id: string, kind: enum(PAYMENT,COLLECTION), status: string?, statusReason: string?, "
        "amount: decimal?, currencyCode: string?, debtorName: string?, debtorAccount: string?, creditorName: "
        "string?, creditorAccount: string?, endToEndId: string?, remittanceInformation: string?, "
        "requestedExecutionDate: date?"
    ),
    "JournalEntry": (
        "encodedKey: key, id: string, originalKey: string?, direction: enum(DEBIT,CREDIT), amount: decimal, "
        "currencyCode: string?, glAccountCode: string, glAccountName: string?, bookingDate: date?, transactionId: "
        "string?, accountKey: string?, notes: string?"
    ),
    "Subject": "kind: enum(CLIENT,GROUP,LOAN,DEPOSIT), encodedKey: key, id: string?",
    "Process": "encodedKey: string?, state: string, startDate: timestamp?, endDate: timestamp?",
}
FAMILY_FIELDS: Final = {
    "client": "client: Client, branch: Branch?, centre: Centre?, comment: string?",
    "group": "group: Group, branch: Branch?, centre: Centre?, comment: string?",
    "loan_account": (
        "account: Account, client: Client?, group: Group?, branch: Branch?, centre: Centre?, installment: "
        "InstallmentDue?, triggerDays: int?, schedule: array<InstallmentDue>, comment: string?"
    ),
    "loan_transaction": (
        "account: Account, transaction: Transaction, client: Client?, group: Group?, branch: "
        "Branch?, centre: Centre?, schedule: array<InstallmentDue>"
    ),
    "deposit_account": (
        "account: Account, client: Client?, group: Group?, branch: Branch?, centre: Centre?, comment: string?"
    ),
    "deposit_transaction": (
        "account: Account, transaction: Transaction, client: Client?, group: Group?, branch: Branch?, centre: Centre?"
    ),
    "credit_arrangement": (
        "creditArrangement: CreditArrangement, account: Account?, client: Client?, group: Group?, "
        "branch: Branch?, centre: Centre?, comment: string?"
    ),
    "authorisation_hold": (
        "account: Account, hold: Hold?, holds: array<Hold>, client: Client?, group: Group?, branch: Branch?"
    ),
    "card_transaction": (
        "account: Account, transaction: Transaction, card: Card, client: Client?, group: Group?, branch: Branch?"
    ),
    "activity": (
        "activityType: string, subject: Subject, client: Client?, group: Group?, account: "
        "Account?, branch: Branch?, centre: Centre?, comment: string?"
    ),
    "portal": "client: Client, passwordUrl: string?, branch: Branch?",
    "order": (
        "order: Order, activityType: string?, account: Account?, client: Client?, group: Group?, branch: Branch?"
    ),
    "journal_entry": "journalEntry: JournalEntry, branch: Branch?",
    "background": "process: Process",
}

SCALARS: Final = {"timestamp-micros": "timestamp"}


def type_notation(type_: Type) -> str:
    """A type in the reference's notation."""
    match type_:
        case Scalar():
            return SCALARS.get(type_.kind, type_.kind)
        case DecimalBytes(precision=38, scale=10):
            return "decimal"
        case Enum(default=None):
            return f"enum({','.join(type_.symbols)})"
        case Array():
            return f"array<{type_notation(type_.items)}>"
        case Map():
            values = type_notation(type_.values)
            return f"map<{'CustomFieldValue' if values == CUSTOM_FIELD_VALUE else values}>"
        case Union():
            inner = type_.nullable
            first = is_null(type_.branches[0])
            return (
                f"{type_notation(inner)}?"
                if inner and first
                else "|".join(type_notation(branch) for branch in type_.branches)
            )
        case Record(name=name) if name.startswith("banking.events.common."):
            return name.rpartition(".")[2]
        case _:
            raise AssertionError(type_)


def default_fits(field: Field) -> bool:
    """Whether a field has the default that its notation says."""
    match field.type:
        case Union():
            return field.default is None
        case Array():
            return field.default == []
        case Map():
            return field.default == {}
        case _:
            return field.default is NO_DEFAULT


def row(record: Record) -> list[str]:
    """A record's fields in the reference's notation; a family's `event` is an enum of events that others compare."""
    return [
        f"{field.name}: {'key' if kind == 'string' and text_check(record, field.name) is check_key else kind}"
        for field in record.fields
        for kind in ("enum" if field.name == "event" else type_notation(field.type),)
    ]


def records_in(type_: Type) -> Iterator[Record]:
    """Every record that a type is made of, itself included."""
    match type_:
        case Record():
            yield type_
            for field in type_.fields:
                yield from records_in(field.type)
        case Array():
            yield from records_in(type_.items)
        case Union():
            for branch in type_.branches:
                yield from records_in(branch)
        case _:
            pass


def fields_of(text: str) -> list[str]:
    """`a: T, b: enum(X,Y)` as a list."""
    return text.split(", ")


@pytest.mark.parametrize("family", FAMILIES)
def test_a_family_has_the_fields_of_the_reference(family: str) -> None:
    """The envelope, the fields of its row, its custom fields: same names, same types, same order."""
    expected = [*fields_of(ENVELOPE), *fields_of(FAMILY_FIELDS[family]), CUSTOM_FIELDS]

    assert expected == row(SCHEMAS.families[FAMILIES[family].record].type)


def test_the_reference_has_these_families() -> None:
    """No family of the reference is left out."""
    assert FAMILY_FIELDS.keys() == FAMILIES.keys()


def shared_records() -> dict[str, Record]:
    """The shared records of all families by their short names."""
    return {
        record.name.rpartition(".")[2]: record
        for schema in SCHEMAS.families.values()
        for record in records_in(schema.type)
        if record.name.startswith("banking.events.common.")
    }


@pytest.mark.parametrize("name", RECORDS)
def test_a_shared_record_has_the_fields_of_the_reference(name: str) -> None:
    """Same names, same types, same order."""
    assert fields_of(RECORDS[name]) == row(shared_records()[name])


def test_the_reference_has_these_shared_records() -> None:
    """No record of a family is without a row of the reference, and none of the rows is unused."""
    assert RECORDS.keys() == shared_records().keys()


@pytest.mark.parametrize("family", FAMILIES)
def test_defaults_of_fields(family: str) -> None:
    """What may be null is null by default, lists and maps are empty, nothing else has a default."""
    for record in records_in(SCHEMAS.families[FAMILIES[family].record].type):
        assert [] == [field.name for field in record.fields if not default_fits(field)]
