"""Every placeholder of a template: which families have it, its type, and the one path to its value. A table, pure.

Names and most types are published by the source; where a meaning begins with (D) the whole row is our decision.
The facts are the domain reference's `placeholders.csv`; tests compare them both ways.
"""

from collections.abc import Mapping
from dataclasses import dataclass
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

    `path` leads through the typed event; one that begins with `recipient` leads through the addressee, which the
    mapping makes of the event and is in no schema.
    """

    name: str
    families: tuple[str, ...]
    type: PlaceholderType
    path: tuple[str, ...]
    meaning: str

    def belongs_to(self, family: str) -> bool:
        """Whether events of `family` have this placeholder by this path."""
        return not self.families or family in self.families


def _row(name: str, families: str, kind: PlaceholderType, path: str, meaning: str) -> Placeholder:
    return Placeholder(name, tuple(families.split()), kind, tuple(path.split(".")), meaning)


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
    _row(
        "ENCODED_KEY",
        "credit_arrangement",
        _T.STRING,
        "creditArrangement.encodedKey",
        "(D) Encoded key of the credit arrangement; the published set of these events has no such placeholder",
    ),
    _row("ENCODED_KEY", "activity", _T.STRING, "subject.encodedKey", "Encoded key of the entity the activity is about"),
    _row("ENCODED_KEY", "order", _T.STRING, "order.encodedKey", "(D) Encoded key of the order"),
    _row("ENCODED_KEY", "journal_entry", _T.STRING, "journalEntry.encodedKey", "(D) Encoded key of the journal entry"),
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
    _row("EVENT_ID", _ALL, _T.STRING, "eventId", "(D) Id of the event"),
    _row("EVENT", _ALL, _T.ENUM, "event", "(D) Name of the event"),
    _row(
        "OCCURRED_AT",
        _ALL,
        _T.TIMESTAMP,
        "occurredAt",
        "(D) Moment of the event, same as CURRENT_DATE_TIME under an honest name",
    ),
    _row("TENANT", _ALL, _T.STRING, "tenant", "(D) Tenant"),
    _row("CORRELATION_ID", _ALL, _T.STRING, "correlationId", "(D) Correlation id of the request that caused the event"),
    _row("USER_KEY", _ALL, _T.STRING, "actor.encodedKey", "(D) Encoded key of the user who acted"),
    _row("RECIPIENT_KEY", _ADDRESSED, _T.STRING, "recipient.encodedKey", "(D) Encoded key of the recipient"),
    _row("CLIENT_KEY", _OF_CLIENT, _T.STRING, "client.encodedKey", "(D) Encoded key of the client"),
    _row("CLIENT_STATE", _OF_CLIENT, _T.ENUM, "client.state", "(D) State of the client, verbatim"),
    _row(
        "CREDIT_OFFICER_NAME",
        _OF_CLIENT,
        _T.STRING,
        "client.creditOfficer.fullName",
        "(D) Full name of the credit officer of the client",
    ),
    _row("GROUP_KEY", _OF_GROUP, _T.STRING, "group.encodedKey", "(D) Encoded key of the group"),
    _row("BRANCH_ID", _OF_BRANCH, _T.STRING, "branch.id", "(D) Id of the branch"),
    _row("ACCOUNT_KEY", _OF_ACCOUNT, _T.STRING, "account.encodedKey", "(D) Encoded key of the account"),
    _row("ACCOUNT_STATE", _OF_ACCOUNT, _T.ENUM, "account.state", "(D) State of the account, verbatim"),
    _row("ACCOUNT_KIND", _OF_ACCOUNT, _T.ENUM, "account.kind", "(D) LOAN or DEPOSIT"),
    _row(
        "PREVIOUS_INTEREST_RATE",
        "loan_account loan_transaction",
        _T.DECIMAL,
        "account.previousInterestRate",
        "(D) Interest rate before the change, in percent",
    ),
    _row("TRANSACTION_KEY", _OF_TRANSACTION, _T.STRING, "transaction.encodedKey", "(D) Encoded key of the transaction"),
    _row(
        "TRANSACTION_CURRENCY",
        _OF_TRANSACTION,
        _T.STRING,
        "transaction.currencyCode",
        "(D) ISO 4217 code of the transaction",
    ),
    _row(
        "ORIGINAL_CURRENCY",
        _OF_TRANSACTION,
        _T.STRING,
        "transaction.originalCurrencyCode",
        "(D) ISO 4217 code of the original amount",
    ),
    _row(
        "FEE_NAME",
        "loan_transaction deposit_transaction",
        _T.STRING,
        "transaction.feeName",
        "(D) Name of the fee or penalty",
    ),
    _row(
        "DAYS_TO_DUE",
        "loan_account",
        _T.INTEGER,
        "triggerDays",
        "(D) Days until the instalment is due; negative once overdue",
    ),
    _row("INSTALLMENT_NUMBER", "loan_account", _T.INTEGER, "installment.number", "(D) Number of the instalment"),
    _row(
        "CREDIT_CURRENCY",
        "credit_arrangement",
        _T.STRING,
        "creditArrangement.currencyCode",
        "(D) ISO 4217 code of the credit arrangement",
    ),
    _row(
        "HOLD_ID", "authorisation_hold", _T.STRING, "hold.externalReferenceId", "(D) External reference id of the hold"
    ),
    _row("HOLD_STATE", "authorisation_hold", _T.ENUM, "hold.state", "(D) State of the hold, verbatim"),
    _row("HOLD_DIRECTION", "authorisation_hold", _T.ENUM, "hold.direction", "(D) DBIT or CRDT"),
    _row("HOLD_AMOUNT", "authorisation_hold", _T.MONEY, "hold.amount", "(D) Amount held"),
    _row(
        "HOLD_PREVIOUS_AMOUNT",
        "authorisation_hold",
        _T.MONEY,
        "hold.previousAmount",
        "(D) Amount held before it was changed",
    ),
    _row("HOLD_CURRENCY", "authorisation_hold", _T.STRING, "hold.currencyCode", "(D) ISO 4217 code of the hold"),
    _row(
        "HOLD_ORIGINAL_AMOUNT",
        "authorisation_hold",
        _T.MONEY,
        "hold.originalAmount",
        "(D) Amount in the original currency",
    ),
    _row(
        "HOLD_ORIGINAL_CURRENCY",
        "authorisation_hold",
        _T.STRING,
        "hold.originalCurrencyCode",
        "(D) ISO 4217 code of the original amount",
    ),
    _row(
        "HOLDS",
        "authorisation_hold",
        _T.TABLE,
        "holds",
        "(D) All holds of a bulk event: reference id, direction, amount, currency, card token",
    ),
    _row(
        "CARD_TOKEN",
        "authorisation_hold",
        _T.STRING,
        "hold.card.token",
        "(D) Reference token of the card, never its number",
    ),
    _row("MERCHANT_NAME", "authorisation_hold", _T.STRING, "hold.card.acceptor.name", "(D) Name of the merchant"),
    _row("MERCHANT_CITY", "authorisation_hold", _T.STRING, "hold.card.acceptor.city", "(D) City of the merchant"),
    _row(
        "MERCHANT_COUNTRY", "authorisation_hold", _T.STRING, "hold.card.acceptor.country", "(D) Country of the merchant"
    ),
    _row(
        "MERCHANT_CATEGORY_CODE",
        "authorisation_hold",
        _T.INTEGER,
        "hold.card.acceptor.mcc",
        "(D) Category code (MCC) of the merchant",
    ),
    _row(
        "CARD_TOKEN", "card_transaction", _T.STRING, "card.token", "(D) Reference token of the card, never its number"
    ),
    _row("MERCHANT_NAME", "card_transaction", _T.STRING, "card.acceptor.name", "(D) Name of the merchant"),
    _row("MERCHANT_CITY", "card_transaction", _T.STRING, "card.acceptor.city", "(D) City of the merchant"),
    _row("MERCHANT_COUNTRY", "card_transaction", _T.STRING, "card.acceptor.country", "(D) Country of the merchant"),
    _row(
        "MERCHANT_CATEGORY_CODE",
        "card_transaction",
        _T.INTEGER,
        "card.acceptor.mcc",
        "(D) Category code (MCC) of the merchant",
    ),
    _row("ORDER_ID", "order", _T.STRING, "order.id", "(D) Id of the order"),
    _row("ORDER_KIND", "order", _T.ENUM, "order.kind", "(D) PAYMENT or COLLECTION"),
    _row("ORDER_STATUS", "order", _T.ENUM, "order.status", "(D) Status of the order, verbatim"),
    _row("ORDER_STATUS_REASON", "order", _T.STRING, "order.statusReason", "(D) Why the order has this status"),
    _row("ORDER_AMOUNT", "order", _T.MONEY, "order.amount", "(D) Amount of the order"),
    _row("ORDER_CURRENCY", "order", _T.STRING, "order.currencyCode", "(D) ISO 4217 code of the order"),
    _row("DEBTOR_NAME", "order", _T.STRING, "order.debtorName", "(D) Name of the payer"),
    _row("DEBTOR_ACCOUNT", "order", _T.STRING, "order.debtorAccount", "(D) Account of the payer"),
    _row("CREDITOR_NAME", "order", _T.STRING, "order.creditorName", "(D) Name of the payee"),
    _row("CREDITOR_ACCOUNT", "order", _T.STRING, "order.creditorAccount", "(D) Account of the payee"),
    _row("END_TO_END_ID", "order", _T.STRING, "order.endToEndId", "(D) End-to-end id of the order"),
    _row("REMITTANCE_INFORMATION", "order", _T.STRING, "order.remittanceInformation", "(D) Text for the payee"),
    _row(
        "REQUESTED_EXECUTION_DATE",
        "order",
        _T.DATE,
        "order.requestedExecutionDate",
        "(D) Day on which the order should be executed",
    ),
    _row("JOURNAL_ENTRY_ID", "journal_entry", _T.STRING, "journalEntry.id", "(D) Id of the journal entry"),
    _row("JOURNAL_ENTRY_DIRECTION", "journal_entry", _T.ENUM, "journalEntry.direction", "(D) DEBIT or CREDIT"),
    _row("JOURNAL_ENTRY_AMOUNT", "journal_entry", _T.MONEY, "journalEntry.amount", "(D) Amount of the journal entry"),
    _row(
        "JOURNAL_ENTRY_CURRENCY",
        "journal_entry",
        _T.STRING,
        "journalEntry.currencyCode",
        "(D) ISO 4217 code of the journal entry",
    ),
    _row("JOURNAL_ENTRY_DATE", "journal_entry", _T.DATE, "journalEntry.bookingDate", "(D) Booking day"),
    _row("JOURNAL_ENTRY_NOTES", "journal_entry", _T.STRING, "journalEntry.notes", "(D) Notes on the journal entry"),
    _row(
        "JOURNAL_ENTRY_ORIGINAL_KEY",
        "journal_entry",
        _T.STRING,
        "journalEntry.originalKey",
        "(D) Encoded key of the entry that is adjusted",
    ),
    _row(
        "JOURNAL_TRANSACTION_ID",
        "journal_entry",
        _T.STRING,
        "journalEntry.transactionId",
        "(D) Id of the transaction that caused the entry",
    ),
    _row(
        "GL_ACCOUNT_CODE",
        "journal_entry",
        _T.STRING,
        "journalEntry.glAccountCode",
        "(D) Code of the general-ledger account",
    ),
    _row(
        "GL_ACCOUNT_NAME",
        "journal_entry",
        _T.STRING,
        "journalEntry.glAccountName",
        "(D) Name of the general-ledger account",
    ),
)


SECRETS: Final = frozenset((("passwordUrl",),))
"""Paths to values that nobody but the addressee may read: never in a log, a decision or a dead letter's header."""

ENTITIES: Final = ("TRANSACTION", "LOAN", "SAVINGS", "LINE_OF_CREDIT", "CLIENT", "GROUP", "BRANCH", "CENTRE", "USER")
"""The entities of custom fields, in the order in which a field without an entity is searched."""

MANUAL: Final = "MANUAL"
"""The event, and in place of a family, of templates that a person sends. No record tells it."""

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
