"""Every placeholder of a template: which families have it, its type, and the one path to its value. A table, pure.

Names and most types are published by the source; the other rows are this program's own (`_own`).
Tests compare the table with `tests/domain/placeholders.csv` both ways.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final


class PlaceholderType(StrEnum):
    """What a value is, and so how its text looks and which conditions it takes."""

    STRING = "string"
    ENUM = "enum"  #: A closed or open list of words, shown verbatim.
    MONEY = "money"  #: A decimal shown with at least the digits of its currency.
    DECIMAL = "decimal"  #: A decimal shown without trailing zeros: rates, percentages.
    INTEGER = "integer"
    DATE = "date"  #: A calendar day; of a timestamp, its day in the tenant's time zone.
    TIMESTAMP = "timestamp"
    TABLE = "table"  #: Rows: an array of records.


@dataclass(frozen=True, slots=True)
class Placeholder:
    """One row. Empty `families` means all; a name may have several rows, never two for one family.

    `path` leads through the typed event; one that begins with `recipient` leads through the recipient, which
    mapping derives from the event and which is in no schema.
    """

    name: str
    families: tuple[str, ...]
    type: PlaceholderType
    path: tuple[str, ...]
    meaning: str
    is_published: bool = True  #: By the source; else of this program alone.

    def belongs_to(self, family: str) -> bool:
        """Whether events of `family` have this placeholder by this path."""
        return not self.families or family in self.families


def _row(name: str, families: str, kind: PlaceholderType, path: str, meaning: str) -> Placeholder:
    return Placeholder(name, tuple(families.split()), kind, tuple(path.split(".")), meaning)


def _own(name: str, families: str, kind: PlaceholderType, path: str, meaning: str) -> Placeholder:
    """A row that the source does not publish."""
    return replace(_row(name, families, kind, path, meaning), is_published=False)


_ALL: Final = ""
_ADDRESSED: Final = (
    "client group loan_account loan_transaction deposit_account deposit_transaction credit_arrangement "
    "authorisation_hold card_transaction activity portal order"
)
_OF_CLIENT: Final = (
    "client loan_account loan_transaction deposit_account deposit_transaction credit_arrangement "
    "authorisation_hold card_transaction activity portal order"
)
_OF_GROUP: Final = (
    "group loan_account loan_transaction deposit_account deposit_transaction credit_arrangement "
    "authorisation_hold card_transaction activity order"
)
_OF_BRANCH: Final = (
    "client group loan_account loan_transaction deposit_account deposit_transaction credit_arrangement "
    "authorisation_hold card_transaction activity portal order journal_entry"
)
_OF_CENTRE: Final = (
    "client group loan_account loan_transaction deposit_account deposit_transaction credit_arrangement activity"
)
_OF_ACCOUNT: Final = (
    "loan_account loan_transaction deposit_account deposit_transaction credit_arrangement "
    "authorisation_hold card_transaction activity order"
)
_OF_LOAN: Final = "loan_account loan_transaction credit_arrangement activity"
_OF_DEPOSIT: Final = (
    "deposit_account deposit_transaction credit_arrangement authorisation_hold card_transaction activity order"
)
_OF_TRANSACTION: Final = "loan_transaction deposit_transaction card_transaction"
_T: Final = PlaceholderType

PLACEHOLDERS: Final[tuple[Placeholder, ...]] = (
    _row(
        "CURRENT_DATE_TIME",
        _ALL,
        _T.TIMESTAMP,
        "occurredAt",
        "Moment of the event; the source means the moment of rendering, "
        "ours is the event time so that a replay renders the same text",
    ),
    _row("CURRENT_DATE", _ALL, _T.DATE, "occurredAt", "Calendar day of the event in the time zone of the tenant"),
    _row(
        "USER_NAME",
        _ALL,
        _T.STRING,
        "actor.fullName",
        "Full name of the user who acted; empty when the core acted on its own",
    ),
    _row(
        "ENCODED_KEY",
        "client portal",
        _T.STRING,
        "client.encodedKey",
        "Encoded key of the entity the event is about: the client",
    ),
    _row(
        "ENCODED_KEY", "group", _T.STRING, "group.encodedKey", "Encoded key of the entity the event is about: the group"
    ),
    _row(
        "ENCODED_KEY",
        "loan_account loan_transaction deposit_account deposit_transaction authorisation_hold card_transaction",
        _T.STRING,
        "account.encodedKey",
        "Encoded key of the entity the event is about: the account (also for transactions)",
    ),
    _own(
        "ENCODED_KEY",
        "credit_arrangement",
        _T.STRING,
        "creditArrangement.encodedKey",
        "Encoded key of the credit arrangement; the published set of these events has no such placeholder",
    ),
    _row("ENCODED_KEY", "activity", _T.STRING, "subject.encodedKey", "Encoded key of the entity the activity is about"),
    _own("ENCODED_KEY", "order", _T.STRING, "order.encodedKey", "Encoded key of the order"),
    _own("ENCODED_KEY", "journal_entry", _T.STRING, "journalEntry.encodedKey", "Encoded key of the journal entry"),
    _row(
        "ENCODED_KEY",
        "background",
        _T.STRING,
        "process.encodedKey",
        "Encoded key of the background process; empty for data access",
    ),
    _row("RECIPIENT_ID", _ADDRESSED, _T.STRING, "recipient.id", "Id of the recipient shown to people"),
    _row("RECIPIENT_NAME", _ADDRESSED, _T.STRING, "recipient.name", "Full name of the recipient"),
    _row(
        "RECIPIENT_FIRST_NAMES",
        _ADDRESSED,
        _T.STRING,
        "recipient.firstName",
        "First names of the recipient; empty for a group",
    ),
    _row(
        "RECIPIENT_MIDDLE_NAMES",
        _ADDRESSED,
        _T.STRING,
        "recipient.middleName",
        "Middle names of the recipient; empty for a group or user",
    ),
    _row(
        "RECIPIENT_LAST_NAME",
        _ADDRESSED,
        _T.STRING,
        "recipient.lastName",
        "Last name of the recipient; empty for a group",
    ),
    _row(
        "RECIPIENT_MOBILE_PHONE", _ADDRESSED, _T.STRING, "recipient.mobilePhone", "Mobile phone number of the recipient"
    ),
    _row("RECIPIENT_EMAIL_ADDRESS", _ADDRESSED, _T.STRING, "recipient.emailAddress", "E-mail address of the recipient"),
    _row(
        "ID_DOCUMENT_NUMBER",
        _ADDRESSED,
        _T.STRING,
        "recipient.idDocument.number",
        "Number of the identity document of the recipient",
    ),
    _row("ID_DOCUMENT_TYPE", _ADDRESSED, _T.STRING, "recipient.idDocument.type", "Kind of identity document"),
    _row(
        "ID_DOCUMENT_ISSUING_AUTHORITY",
        _ADDRESSED,
        _T.STRING,
        "recipient.idDocument.issuingAuthority",
        "Authority that issued the identity document",
    ),
    _row(
        "ID_DOCUMENT_EXPIRY_DATE",
        _ADDRESSED,
        _T.DATE,
        "recipient.idDocument.expiryDate",
        "Day the identity document expires",
    ),
    _row("CLIENT_NAME", _OF_CLIENT, _T.STRING, "client.fullName", "Full name of the client of the event"),
    _row("CLIENT_ID", _OF_CLIENT, _T.STRING, "client.id", "Id of the client shown to people"),
    _row("CLIENT_FIRST_NAMES", _OF_CLIENT, _T.STRING, "client.firstName", "First names of the client"),
    _row("CLIENT_MIDDLE_NAMES", _OF_CLIENT, _T.STRING, "client.middleName", "Middle names of the client"),
    _row("CLIENT_LAST_NAME", _OF_CLIENT, _T.STRING, "client.lastName", "Last name of the client"),
    _row("CLIENT_BIRTH_DATE", _OF_CLIENT, _T.DATE, "client.birthDate", "Date of birth of the client"),
    _row("GROUP_NAME", _OF_GROUP, _T.STRING, "group.name", "Name of the group of the event"),
    _row("GROUP_ID", _OF_GROUP, _T.STRING, "group.id", "Id of the group shown to people"),
    _row("BRANCH_NAME", _OF_BRANCH, _T.STRING, "branch.name", "Name of the branch"),
    _row("BRANCH_ADDRESS", _OF_BRANCH, _T.STRING, "branch.address", "Postal address of the branch on one line"),
    _row("CENTRE_ID", _OF_CENTRE, _T.STRING, "centre.id", "Id of the centre"),
    _row("CENTRE_MEETING_DAY", _OF_CENTRE, _T.STRING, "centre.meetingDay", "Weekday on which the centre meets"),
    _row("ACCOUNT_ID", _OF_ACCOUNT, _T.STRING, "account.id", "Id of the account shown to people"),
    _row("ACCOUNT_NAME", _OF_ACCOUNT, _T.STRING, "account.name", "Name of the account"),
    _row(
        "TOTAL_BALANCE",
        _OF_ACCOUNT,
        _T.MONEY,
        "account.totalBalance",
        "Loan: all that is still owed; deposit: ledger balance",
    ),
    _row("AVAILABLE_BALANCE", _OF_ACCOUNT, _T.MONEY, "account.availableBalance", "Balance that can be used now"),
    _row(
        "ACCOUNT_OPENING_BALANCE",
        _OF_ACCOUNT,
        _T.MONEY,
        "account.openingBalance",
        "Balance before the event, or at opening",
    ),
    _row("PRODUCT_NAME", _OF_ACCOUNT, _T.STRING, "account.product.name", "Name of the product of the account"),
    _row("INTEREST_RATE", _OF_ACCOUNT, _T.DECIMAL, "account.interestRate", "Interest rate in percent; 4.5 means 4.5 %"),
    _row("CURRENCY_CODE", _OF_ACCOUNT, _T.STRING, "account.currencyCode", "ISO 4217 code of the account"),
    _row("CURRENCY_SIGN", _OF_ACCOUNT, _T.STRING, "account.currencySign", "Sign of the currency"),
    _row("LOAN_AMOUNT", _OF_LOAN, _T.MONEY, "account.loan.loanAmount", "Amount of the loan"),
    _row(
        "NUMBER_OF_INSTALLMENTS",
        _OF_LOAN,
        _T.INTEGER,
        "account.loan.numberOfInstallments",
        "Number of instalments of the loan",
    ),
    _row("PRINCIPAL_BALANCE", _OF_LOAN, _T.MONEY, "account.loan.principalBalance", "Principal still owed"),
    _row("PRINCIPAL_DUE", _OF_LOAN, _T.MONEY, "account.loan.principalDue", "Principal due now"),
    _row("INTEREST_DUE", _OF_LOAN, _T.MONEY, "account.loan.interestDue", "Interest due now"),
    _row("FEE_DUE", _OF_LOAN, _T.MONEY, "account.loan.feeDue", "Fees due now"),
    _row("PENALTY_DUE", _OF_LOAN, _T.MONEY, "account.loan.penaltyDue", "Penalties due now"),
    _row("TOTAL_DUE", _OF_LOAN, _T.MONEY, "account.loan.totalDue", "Sum of all that is due now"),
    _row("ARREARS_POSITION", _OF_LOAN, _T.MONEY, "account.loan.arrearsPosition", "Amount overdue"),
    _row("ADVANCE_POSITION", _OF_LOAN, _T.MONEY, "account.loan.advancePosition", "Amount paid ahead of schedule"),
    _row("REDRAW_BALANCE", _OF_LOAN, _T.MONEY, "account.loan.redrawBalance", "Overpaid amount that can be drawn again"),
    _row(
        "EXPECTED_PRINCIPAL_REDRAW",
        _OF_LOAN,
        _T.MONEY,
        "account.loan.expectedPrincipalRedraw",
        "Principal expected to be taken from the redraw balance",
    ),
    _row(
        "DISBURSEMENT_DATE", _OF_LOAN, _T.DATE, "account.loan.disbursementDate", "Day the loan was or will be paid out"
    ),
    _row(
        "FIRST_REPAYMENT_DATE", _OF_LOAN, _T.DATE, "account.loan.firstRepaymentDate", "Due day of the first instalment"
    ),
    _row(
        "EXPECTED_MATURITY_DATE",
        _OF_LOAN,
        _T.DATE,
        "account.loan.expectedMaturityDate",
        "Day the loan should be paid back",
    ),
    _row(
        "ANTICIPATED_DISBURSEMENT_DATE",
        _OF_LOAN,
        _T.DATE,
        "account.loan.anticipatedDisbursementDate",
        "Day on which the next payout is expected",
    ),
    _row(
        "ANTICIPATED_DISBURSEMENT_AMOUNT",
        _OF_LOAN,
        _T.MONEY,
        "account.loan.anticipatedDisbursementAmount",
        "Amount of the next expected payout",
    ),
    _row(
        "REPAYMENT_SCHEDULE",
        "loan_account loan_transaction",
        _T.TABLE,
        "schedule",
        "Instalments still to pay: number, due date, principal, interest, fees, penalties, total",
    ),
    _row(
        "REPAYMENT_TOTAL_BALANCE",
        "loan_account",
        _T.MONEY,
        "installment.totalBalance",
        "Amount still to pay for the instalment",
    ),
    _row(
        "REPAYMENT_PRINCIPAL_BALANCE",
        "loan_account",
        _T.MONEY,
        "installment.principalBalance",
        "Principal still to pay for the instalment",
    ),
    _row(
        "REPAYMENT_INTEREST_BALANCE",
        "loan_account",
        _T.MONEY,
        "installment.interestBalance",
        "Interest still to pay for the instalment",
    ),
    _row("PAYMENT_DUE_DATE", "loan_account", _T.DATE, "installment.dueDate", "Due day of the instalment"),
    _row(
        "ORGANIZATION_COMMISSION_EXPECTED",
        "loan_account",
        _T.MONEY,
        "installment.organizationCommissionExpected",
        "Commission of the organisation in the instalment (funded loans)",
    ),
    _row(
        "FUNDERS_INTEREST_EXPECTED",
        "loan_account",
        _T.MONEY,
        "installment.fundersInterestExpected",
        "Interest of the funders in the instalment (funded loans)",
    ),
    _row(
        "INTEREST_ACCRUED",
        _OF_DEPOSIT,
        _T.MONEY,
        "account.deposit.interestAccrued",
        "Interest accrued and not yet applied",
    ),
    _row("OVERDRAFT_AMOUNT_DUE", _OF_DEPOSIT, _T.MONEY, "account.deposit.overdraftAmountDue", "Overdraft to pay back"),
    _row(
        "TECHNICAL_OVERDRAFT_AMOUNT_DUE",
        _OF_DEPOSIT,
        _T.MONEY,
        "account.deposit.technicalOverdraftAmountDue",
        "Technical overdraft to pay back",
    ),
    _row(
        "OVERDRAFT_INTEREST_RATE",
        _OF_DEPOSIT,
        _T.DECIMAL,
        "account.deposit.overdraftInterestRate",
        "Interest rate of the overdraft in percent",
    ),
    _row(
        "OVERDRAFT_INDEX_RATE",
        _OF_DEPOSIT,
        _T.DECIMAL,
        "account.deposit.overdraftIndexRate",
        "Index rate of the overdraft in percent",
    ),
    _row("TRANSACTION_AMOUNT", _OF_TRANSACTION, _T.MONEY, "transaction.amount", "Amount of the transaction"),
    _row("TRANSACTION_DATE", _OF_TRANSACTION, _T.DATE, "transaction.date", "Day of the transaction"),
    _row("TRANSACTION_TYPE", _OF_TRANSACTION, _T.ENUM, "transaction.type", "Type of the transaction, verbatim"),
    _row("TRANSACTION_ID", _OF_TRANSACTION, _T.STRING, "transaction.id", "Id of the transaction shown to people"),
    _row("TRANSACTION_METHOD", _OF_TRANSACTION, _T.STRING, "transaction.method", "Channel of the transaction"),
    _row("TRANSACTION_COMMENT", _OF_TRANSACTION, _T.STRING, "transaction.comment", "Note on the transaction"),
    _row(
        "CREDIT_AMOUNT", _OF_TRANSACTION, _T.MONEY, "transaction.creditAmount", "Amount if it is a credit, else empty"
    ),
    _row("DEBIT_AMOUNT", _OF_TRANSACTION, _T.MONEY, "transaction.debitAmount", "Amount if it is a debit, else empty"),
    _row("VALUE_DATE", _OF_TRANSACTION, _T.DATE, "transaction.valueDate", "Day from which the transaction counts"),
    _row("ENTRY_DATE", _OF_TRANSACTION, _T.TIMESTAMP, "transaction.entryDate", "Moment the transaction was entered"),
    _row(
        "INTERNAL_TRANSFER",
        _OF_TRANSACTION,
        _T.STRING,
        "transaction.internalTransfer",
        "Text that names the other account of an internal transfer",
    ),
    _row("TAX_AMOUNT", _OF_TRANSACTION, _T.MONEY, "transaction.taxAmount", "Tax in the transaction"),
    _row("TAX_PERCENT", _OF_TRANSACTION, _T.DECIMAL, "transaction.taxPercent", "Tax rate in percent"),
    _row("ORIGINAL_AMOUNT", _OF_TRANSACTION, _T.MONEY, "transaction.originalAmount", "Amount in the original currency"),
    _row(
        "LINKED_TRANSACTION_ID",
        _OF_TRANSACTION,
        _T.STRING,
        "transaction.linkedTransactionId",
        "Id of the transaction that is reversed or re-applied",
    ),
    _row(
        "LINKED_TRANSACTION_DATE",
        _OF_TRANSACTION,
        _T.DATE,
        "transaction.linkedTransactionDate",
        "Day of the transaction that is reversed or re-applied",
    ),
    _row(
        "PRINCIPAL_AMOUNT",
        "loan_transaction",
        _T.MONEY,
        "transaction.principalAmount",
        "Principal part of the transaction",
    ),
    _row(
        "INTEREST_AMOUNT",
        "loan_transaction deposit_transaction",
        _T.MONEY,
        "transaction.interestAmount",
        "Interest part of the transaction",
    ),
    _row(
        "FEE_AMOUNT",
        "loan_transaction deposit_transaction",
        _T.MONEY,
        "transaction.feeAmount",
        "Fee part of the transaction",
    ),
    _row(
        "PENALTY_AMOUNT", "loan_transaction", _T.MONEY, "transaction.penaltyAmount", "Penalty part of the transaction"
    ),
    _row(
        "TRANSACTION_DATE",
        "loan_account deposit_account activity",
        _T.DATE,
        "occurredAt",
        "Day of the event, as these families have no transaction",
    ),
    _row(
        "TRANSACTION_COMMENT",
        "client group loan_account deposit_account credit_arrangement activity",
        _T.STRING,
        "comment",
        "Note given with the change, as these families have no transaction",
    ),
    _row(
        "LINE_OF_CREDIT_ID",
        "credit_arrangement",
        _T.STRING,
        "creditArrangement.id",
        "Id of the credit arrangement shown to people",
    ),
    _row(
        "LINE_OF_CREDIT_STATE",
        "credit_arrangement",
        _T.ENUM,
        "creditArrangement.state",
        "State of the credit arrangement, verbatim",
    ),
    _row(
        "LINE_OF_CREDIT_STARTS_FROM",
        "credit_arrangement",
        _T.DATE,
        "creditArrangement.startDate",
        "First day of the credit arrangement",
    ),
    _row(
        "LINE_OF_CREDIT_VALID_UNTIL",
        "credit_arrangement",
        _T.DATE,
        "creditArrangement.validUntil",
        "Last day of the credit arrangement",
    ),
    _row(
        "LINE_OF_CREDIT_APPROVAL_DATE",
        "credit_arrangement",
        _T.DATE,
        "creditArrangement.approvalDate",
        "Day the credit arrangement was approved",
    ),
    _row(
        "LINE_OF_CREDIT_NOTES",
        "credit_arrangement",
        _T.STRING,
        "creditArrangement.notes",
        "Notes on the credit arrangement",
    ),
    _row(
        "APPROVED_CREDIT_AMOUNT", "credit_arrangement", _T.MONEY, "creditArrangement.approvedAmount", "Approved limit"
    ),
    _row(
        "AVAILABLE_CREDIT_AMOUNT",
        "credit_arrangement",
        _T.MONEY,
        "creditArrangement.availableAmount",
        "Part of the limit that is still free",
    ),
    _row(
        "CONSUMED_CREDIT_AMOUNT",
        "credit_arrangement",
        _T.MONEY,
        "creditArrangement.consumedAmount",
        "Part of the limit that is used",
    ),
    _row("ACTIVITY_TYPE", "activity order", _T.ENUM, "activityType", "Kind of activity, verbatim"),
    _row(
        "PASSWORD_URL",
        "portal",
        _T.STRING,
        "passwordUrl",
        "Link to set the portal password; secret, masked everywhere but in the message",
    ),
    _row("STATE", "background", _T.STRING, "process.state", "Outcome of the process or new data-access state"),
    _row("START_DATE", "background", _T.TIMESTAMP, "process.startDate", "Start of the process"),
    _row("END_DATE", "background", _T.TIMESTAMP, "process.endDate", "End of the process"),
    _own("EVENT_ID", _ALL, _T.STRING, "eventId", "Id of the event"),
    _own("EVENT", _ALL, _T.ENUM, "event", "Name of the event"),
    _own(
        "OCCURRED_AT",
        _ALL,
        _T.TIMESTAMP,
        "occurredAt",
        "Moment of the event, same as CURRENT_DATE_TIME under an honest name",
    ),
    _own("TENANT", _ALL, _T.STRING, "tenant", "Tenant"),
    _own("CORRELATION_ID", _ALL, _T.STRING, "correlationId", "Correlation id of the request that caused the event"),
    _own("USER_KEY", _ALL, _T.STRING, "actor.encodedKey", "Encoded key of the user who acted"),
    _own("RECIPIENT_KEY", _ADDRESSED, _T.STRING, "recipient.encodedKey", "Encoded key of the recipient"),
    _own("CLIENT_KEY", _OF_CLIENT, _T.STRING, "client.encodedKey", "Encoded key of the client"),
    _own("CLIENT_STATE", _OF_CLIENT, _T.ENUM, "client.state", "State of the client, verbatim"),
    _own(
        "CREDIT_OFFICER_NAME",
        _OF_CLIENT,
        _T.STRING,
        "client.creditOfficer.fullName",
        "Full name of the credit officer of the client",
    ),
    _own("GROUP_KEY", _OF_GROUP, _T.STRING, "group.encodedKey", "Encoded key of the group"),
    _own("BRANCH_ID", _OF_BRANCH, _T.STRING, "branch.id", "Id of the branch"),
    _own("ACCOUNT_KEY", _OF_ACCOUNT, _T.STRING, "account.encodedKey", "Encoded key of the account"),
    _own("ACCOUNT_STATE", _OF_ACCOUNT, _T.ENUM, "account.state", "State of the account, verbatim"),
    _own("ACCOUNT_KIND", _OF_ACCOUNT, _T.ENUM, "account.kind", "LOAN or DEPOSIT"),
    _own(
        "PREVIOUS_INTEREST_RATE",
        "loan_account loan_transaction",
        _T.DECIMAL,
        "account.previousInterestRate",
        "Interest rate before the change, in percent",
    ),
    _own("TRANSACTION_KEY", _OF_TRANSACTION, _T.STRING, "transaction.encodedKey", "Encoded key of the transaction"),
    _own(
        "TRANSACTION_CURRENCY",
        _OF_TRANSACTION,
        _T.STRING,
        "transaction.currencyCode",
        "ISO 4217 code of the transaction",
    ),
    _own(
        "ORIGINAL_CURRENCY",
        _OF_TRANSACTION,
        _T.STRING,
        "transaction.originalCurrencyCode",
        "ISO 4217 code of the original amount",
    ),
    _own(
        "FEE_NAME",
        "loan_transaction deposit_transaction",
        _T.STRING,
        "transaction.feeName",
        "Name of the fee or penalty",
    ),
    _own(
        "DAYS_TO_DUE",
        "loan_account",
        _T.INTEGER,
        "triggerDays",
        "Days until the instalment is due; negative once overdue",
    ),
    _own("INSTALLMENT_NUMBER", "loan_account", _T.INTEGER, "installment.number", "Number of the instalment"),
    _own(
        "CREDIT_CURRENCY",
        "credit_arrangement",
        _T.STRING,
        "creditArrangement.currencyCode",
        "ISO 4217 code of the credit arrangement",
    ),
    _own("HOLD_ID", "authorisation_hold", _T.STRING, "hold.externalReferenceId", "External reference id of the hold"),
    _own("HOLD_STATE", "authorisation_hold", _T.ENUM, "hold.state", "State of the hold, verbatim"),
    _own("HOLD_DIRECTION", "authorisation_hold", _T.ENUM, "hold.direction", "DBIT or CRDT"),
    _own("HOLD_AMOUNT", "authorisation_hold", _T.MONEY, "hold.amount", "Amount held"),
    _own(
        "HOLD_PREVIOUS_AMOUNT",
        "authorisation_hold",
        _T.MONEY,
        "hold.previousAmount",
        "Amount held before it was changed",
    ),
    _own("HOLD_CURRENCY", "authorisation_hold", _T.STRING, "hold.currencyCode", "ISO 4217 code of the hold"),
    _own(
        "HOLD_ORIGINAL_AMOUNT",
        "authorisation_hold",
        _T.MONEY,
        "hold.originalAmount",
        "Amount in the original currency",
    ),
    _own(
        "HOLD_ORIGINAL_CURRENCY",
        "authorisation_hold",
        _T.STRING,
        "hold.originalCurrencyCode",
        "ISO 4217 code of the original amount",
    ),
    _own(
        "HOLDS",
        "authorisation_hold",
        _T.TABLE,
        "holds",
        "All holds of a bulk event: reference id, direction, amount, currency, card token",
    ),
    _own(
        "CARD_TOKEN",
        "authorisation_hold",
        _T.STRING,
        "hold.card.token",
        "Reference token of the card, never its number",
    ),
    _own("MERCHANT_NAME", "authorisation_hold", _T.STRING, "hold.card.acceptor.name", "Name of the merchant"),
    _own("MERCHANT_CITY", "authorisation_hold", _T.STRING, "hold.card.acceptor.city", "City of the merchant"),
    _own("MERCHANT_COUNTRY", "authorisation_hold", _T.STRING, "hold.card.acceptor.country", "Country of the merchant"),
    _own(
        "MERCHANT_CATEGORY_CODE",
        "authorisation_hold",
        _T.INTEGER,
        "hold.card.acceptor.mcc",
        "Category code (MCC) of the merchant",
    ),
    _own("CARD_TOKEN", "card_transaction", _T.STRING, "card.token", "Reference token of the card, never its number"),
    _own("MERCHANT_NAME", "card_transaction", _T.STRING, "card.acceptor.name", "Name of the merchant"),
    _own("MERCHANT_CITY", "card_transaction", _T.STRING, "card.acceptor.city", "City of the merchant"),
    _own("MERCHANT_COUNTRY", "card_transaction", _T.STRING, "card.acceptor.country", "Country of the merchant"),
    _own(
        "MERCHANT_CATEGORY_CODE",
        "card_transaction",
        _T.INTEGER,
        "card.acceptor.mcc",
        "Category code (MCC) of the merchant",
    ),
    _own("ORDER_ID", "order", _T.STRING, "order.id", "Id of the order"),
    _own("ORDER_KIND", "order", _T.ENUM, "order.kind", "PAYMENT or COLLECTION"),
    _own("ORDER_STATUS", "order", _T.ENUM, "order.status", "Status of the order, verbatim"),
    _own("ORDER_STATUS_REASON", "order", _T.STRING, "order.statusReason", "Why the order has this status"),
    _own("ORDER_AMOUNT", "order", _T.MONEY, "order.amount", "Amount of the order"),
    _own("ORDER_CURRENCY", "order", _T.STRING, "order.currencyCode", "ISO 4217 code of the order"),
    _own("DEBTOR_NAME", "order", _T.STRING, "order.debtorName", "Name of the payer"),
    _own("DEBTOR_ACCOUNT", "order", _T.STRING, "order.debtorAccount", "Account of the payer"),
    _own("CREDITOR_NAME", "order", _T.STRING, "order.creditorName", "Name of the payee"),
    _own("CREDITOR_ACCOUNT", "order", _T.STRING, "order.creditorAccount", "Account of the payee"),
    _own("END_TO_END_ID", "order", _T.STRING, "order.endToEndId", "End-to-end id of the order"),
    _own("REMITTANCE_INFORMATION", "order", _T.STRING, "order.remittanceInformation", "Text for the payee"),
    _own(
        "REQUESTED_EXECUTION_DATE",
        "order",
        _T.DATE,
        "order.requestedExecutionDate",
        "Day on which the order should be executed",
    ),
    _own("JOURNAL_ENTRY_ID", "journal_entry", _T.STRING, "journalEntry.id", "Id of the journal entry"),
    _own("JOURNAL_ENTRY_DIRECTION", "journal_entry", _T.ENUM, "journalEntry.direction", "DEBIT or CREDIT"),
    _own("JOURNAL_ENTRY_AMOUNT", "journal_entry", _T.MONEY, "journalEntry.amount", "Amount of the journal entry"),
    _own(
        "JOURNAL_ENTRY_CURRENCY",
        "journal_entry",
        _T.STRING,
        "journalEntry.currencyCode",
        "ISO 4217 code of the journal entry",
    ),
    _own("JOURNAL_ENTRY_DATE", "journal_entry", _T.DATE, "journalEntry.bookingDate", "Booking day"),
    _own("JOURNAL_ENTRY_NOTES", "journal_entry", _T.STRING, "journalEntry.notes", "Notes on the journal entry"),
    _own(
        "JOURNAL_ENTRY_ORIGINAL_KEY",
        "journal_entry",
        _T.STRING,
        "journalEntry.originalKey",
        "Encoded key of the entry that is adjusted",
    ),
    _own(
        "JOURNAL_TRANSACTION_ID",
        "journal_entry",
        _T.STRING,
        "journalEntry.transactionId",
        "Id of the transaction that caused the entry",
    ),
    _own(
        "GL_ACCOUNT_CODE",
        "journal_entry",
        _T.STRING,
        "journalEntry.glAccountCode",
        "Code of the general-ledger account",
    ),
    _own(
        "GL_ACCOUNT_NAME",
        "journal_entry",
        _T.STRING,
        "journalEntry.glAccountName",
        "Name of the general-ledger account",
    ),
)


SECRETS: Final = frozenset((("passwordUrl",),))
"""Paths to values for the recipient's eyes only: never in a log, a decision or a dead letter's header."""

VALUE_MASK: Final = "***"
"""What people see in place of a secret value of an event or a template."""

ENTITIES: Final = ("TRANSACTION", "LOAN", "SAVINGS", "LINE_OF_CREDIT", "CLIENT", "GROUP", "BRANCH", "CENTRE", "USER")
"""The entities of custom fields, in the order in which a field without an entity is searched."""

MANUAL: Final = "MANUAL"
"""In place of event and family, for templates that a person sends. No record has it as its event."""

_OF_MANUAL: Final = frozenset(
    (
        "CURRENT_DATE_TIME",
        "BRANCH_NAME",
        "BRANCH_ADDRESS",
        "RECIPIENT_ID",
        "RECIPIENT_NAME",
        "RECIPIENT_FIRST_NAMES",
        "RECIPIENT_MIDDLE_NAMES",
        "RECIPIENT_LAST_NAME",
    )
)


def placeholders_of(family: str) -> Mapping[str, Placeholder]:
    """The placeholders that events of `family` have, by name, in the table's order. Unknown family: those of all."""
    if family == MANUAL:
        return {row.name: row for row in PLACEHOLDERS if row.name in _OF_MANUAL}
    return {row.name: row for row in PLACEHOLDERS if row.belongs_to(family)}
