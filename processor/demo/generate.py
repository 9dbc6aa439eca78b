"""Generates events as a bank would send them: deterministic, consistent with each other, as varied as real ones.

A small ledger stands behind them. A repayment lowers the balance that the next event of the account shows, a reversal
names an earlier transaction and takes it back, an account that is written off has no more events.
"""

import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal
from hashlib import blake2b
from typing import Any, Final
from uuid import UUID, uuid5

Json = dict[str, Any]

START: Final = datetime(2026, 3, 2, 8, 0, tzinfo=UTC)
_EVENT_IDS: Final = UUID("5f0e7c8e-3a52-4f1f-9d3c-6e2b6c1d4a10")  # namespace of our event ids, drawn once
_ZERO: Final = Decimal(0)
_CENT: Final = Decimal("0.01")


def events(
    count: int, *, seed: int = 1, tenant: str = "northbank", accounts: int = 100, start: datetime = START
) -> Iterator[Json]:
    """`count` events in the order in which they happen, in JSON form. The same arguments give the same events.

    `accounts` loan and deposit accounts are alive at a time, about half of each; one that ends makes room for a new
    one. `occurredAt` begins at `start` (aware) and never goes back. Within an account `transaction.id`, a number, grows
    with every event, so the order of an account's events can be read from the events themselves. A client's events
    are CLIENT_CREATED, then at most one of CLIENT_APPROVED and CLIENT_REJECTED. Event ids differ between seeds and
    tenants. About 3,000 events hold each of the 26 names of the families client, loan_transaction and
    deposit_transaction; the other families are in the samples only. Parts of the values are shared between events: copy
    before you change one. ValueError for a count below 0, no account, or a naive start.
    """
    if count < 0:
        raise ValueError(f"count is 0 or more, got: {count}")
    if accounts < 1:
        raise ValueError(f"accounts is 1 or more, got: {accounts}")
    if start.tzinfo is None:
        raise ValueError(f"start has a time zone, got: {start}")
    return _generate(_Bank(seed=seed, tenant=tenant, accounts=accounts, now=start.astimezone(UTC)), count)


# What real data looks like. Texts hold what breaks naive rendering: quotes, angle brackets, ampersands, other scripts.
_FIRST_NAMES: Final = (
    "Ines",
    "Zoë",
    "Łukasz",
    "José",
    "Nguyễn",
    "Anaïs",
    "Søren",
    "Chiamaka",
    "太郎",
    "Олена",
    "Ayşe",
    "Bob",
)
_LAST_NAMES: Final = (
    "Duarte",
    "O'Brien",
    "Müller-Lüdenscheidt",
    "Nuñez",
    "Đặng",
    "Ødegård",
    "Okafor",
    "山田",
    "Шевченко",
)
_MIDDLE_NAMES: Final = ("Maria", "Jean-Paul", "K.", "van der")
_GROUP_NAMES: Final = (
    "Vale Verde co-operative",
    'Women\'s "Sunrise" circle',
    "Müller & Söhne <Fisch>",
    "Família Nuñez",
)
_LANGUAGES: Final = ("en", "pt-PT", "pt", "de", "fr-CA", "es", "ja", None)
_CURRENCIES: Final = (("EUR", "€"), ("EUR", "€"), ("USD", "$"), ("JPY", "¥"), ("KWD", None))
_LOAN_PRODUCTS: Final = (
    ("HIL", "Home improvement loan"),
    ("AGR", "Seed & tools"),
    ("SME", 'Loan "Small <but> strong"'),
)
_DEPOSIT_PRODUCTS: Final = (("EVD", "Everyday savings"), ("TRM", "Term deposit 12 months"))
_METHODS: Final = ("Bank transfer", "Cash", "Mobile money", "Direct debit", None)
_COMMENTS: Final = (
    'Paid at <counter 3>, says "thanks"',
    "Ref. 7 & 8 / März",
    "line one\nline two",
    "früher als fällig",
    None,
)
_BRANCHES: Final = (
    ("LX1", "Lisbon centre", "Rua Augusta 1, Lisbon"),
    ("PO2", "Porto", None),
    ("K3", "Kraków – Stare", "Rynek 4"),
)
_FEES: Final = ("Processing fee", 'Late notice "second"', "Card & courier", "Gebühr für Kontoauszug")
_TYPES: Final[Mapping[str, str]] = {  # event -> what the core calls its transaction
    "LOAN_DISBURSEMENT": "DISBURSEMENT",
    "LOAN_DISBURSEMENT_REVERSAL": "DISBURSEMENT_ADJUSTMENT",
    "LOAN_REPAYMENT": "REPAYMENT",
    "LOAN_REPAYMENT_REVERSAL": "REPAYMENT_ADJUSTMENT",
    "FEE_APPLIED": "FEE_APPLIED",
    "FEE_CHARGED": "FEE_CHARGED",
    "FEE_ADJUSTED": "FEE_ADJUSTMENT",
    "FEES_DUE_REDUCED": "FEES_DUE_REDUCED",
    "FEE_REDUCTION_ADJUSTMENT": "FEE_REDUCTION_ADJUSTMENT",
    "PENALTY_APPLIED": "PENALTY_APPLIED",
    "PENALTY_ADJUSTMENT": "PENALTY_ADJUSTMENT",
    "LOAN_ACCOUNT_WRITE_OFF": "WRITE_OFF",
    "LOAN_ACCOUNT_RESCHEDULED": "RESCHEDULING",
    "LOAN_ACCOUNT_REFINANCED": "REFINANCING",
    "SAVINGS_DEPOSIT": "DEPOSIT",
    "SAVINGS_DEPOSIT_REVERSAL": "DEPOSIT_ADJUSTMENT",
    "REAPPLIED_SAVINGS_DEPOSIT": "DEPOSIT",
    "SAVINGS_WITHDRAWAL": "WITHDRAWAL",
    "SAVINGS_WITHDRAWAL_REVERSAL": "WITHDRAWAL_ADJUSTMENT",
    "REAPPLIED_SAVINGS_WITHDRAWAL": "WITHDRAWAL",
    "DEPOSIT_INTEREST_APPLIED": "INTEREST_APPLIED",
    "DEPOSIT_INTEREST_APPLIED_ADJUSTMENT": "INTEREST_APPLIED_ADJUSTMENT",
    "SAVINGS_TRANSACTION_EDITED": "DEPOSIT",
}
_ENDS: Final[Mapping[str, str]] = {  # event -> state of the account that it ends
    "LOAN_ACCOUNT_WRITE_OFF": "CLOSED_WRITTEN_OFF",
    "LOAN_ACCOUNT_RESCHEDULED": "CLOSED_RESCHEDULED",
    "LOAN_ACCOUNT_REFINANCED": "CLOSED_REFINANCED",
}


@dataclass(slots=True)
class _Booking:
    """A transaction of an earlier event, as far as a later one may reverse or edit it."""

    id: str
    key: str
    day: str
    amount: Decimal
    principal: Decimal = _ZERO
    interest: Decimal = _ZERO
    fee: Decimal = _ZERO
    penalty: Decimal = _ZERO
    fee_name: str | None = None


@dataclass(slots=True)
class _Account:
    """An account as it stands. Of a deposit, `principal` is the balance and `interest` what has accrued."""

    key: str
    id: str
    kind: str
    holder: Json  # {"client": …} or {"group": …}
    place: Json  # branch and centre
    product: tuple[str, str]
    currency: tuple[str, str | None]
    rate: Decimal
    amount: Decimal
    installments: int
    officer: Json | None
    disbursed: str | None = None
    principal: Decimal = _ZERO
    interest: Decimal = _ZERO
    fee: Decimal = _ZERO
    penalty: Decimal = _ZERO
    paid: int = 0
    ended: str | None = None
    last: dict[str, _Booking] = field(default_factory=dict)  # by event: the latest that can still be reversed

    @property
    def total(self) -> Decimal:
        """Loan: all that is owed. Deposit: the ledger balance."""
        return self.principal + self.interest + self.fee + self.penalty if self.kind == "LOAN" else self.principal


@dataclass(slots=True)
class _Bank:
    """The state between two events."""

    seed: int
    tenant: str
    accounts: int
    now: datetime
    rng: random.Random = field(init=False)
    live: list[_Account] = field(default_factory=list)
    holders: list[Json] = field(default_factory=list)
    users: list[Json] = field(default_factory=list)
    pending: list[Json] = field(default_factory=list)  # clients that are neither approved nor rejected yet
    numbers: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        # Reproducible data is the point here, not secrecy.
        self.rng = random.Random(f"{self.seed}/{self.tenant}")  # noqa: S311
        self.users = [self._user(name) for name in ("Marta Vega", "Seán O'Neill", "Grażyna Żak", "Li <Intern> Wei")]
        self.holders = [self._group() if n % 5 == 4 else self._client_holder() for n in range(max(5, self.accounts))]
        self.live = [self._account(n) for n in range(self.accounts)]

    def next_number(self, kind: str) -> int:
        """1, 2, 3 … for each kind."""
        self.numbers[kind] = self.numbers.get(kind, 0) + 1
        return self.numbers[kind]

    def key(self, kind: str, number: int | str) -> str:
        """An encodedKey that no other thing of this or another seed has."""
        return blake2b(f"{self.tenant}/{self.seed}/{kind}/{number}".encode(), digest_size=16).hexdigest()

    def chance(self, share: float) -> bool:
        """True in `share` of the calls."""
        return self.rng.random() < share

    def money(self, low: int, high: int, currency: str) -> Decimal:
        """An amount with the digits that the currency has."""
        if currency == "JPY":
            return Decimal(self.rng.randint(low, high))
        digits = 3 if currency == "KWD" else 2
        return Decimal(self.rng.randint(low * 10**digits, high * 10**digits)).scaleb(-digits)

    def _user(self, name: str) -> Json:
        number = self.next_number("user")
        first, _, last = name.partition(" ")
        username = f"user{number}"
        return {
            "encodedKey": self.key("user", number),
            "username": username,
            "fullName": name,
            "firstName": first,
            "lastName": last,
            "emailAddress": f"{username}@{self.tenant}.example",
        }

    def client(self, state: str) -> Json:
        """A new client; some have no address, no phone, no language, no officer."""
        pick, number = self.rng.choice, self.next_number("client")
        first, last = pick(_FIRST_NAMES), pick(_LAST_NAMES)
        middle = pick(_MIDDLE_NAMES) if self.chance(0.2) else None
        client: Json = {
            "encodedKey": self.key("client", number),
            "id": f"C-{10_000 + number}",
            "fullName": " ".join(part for part in (first, middle, last) if part),
            "firstName": first,
            "lastName": last,
            "birthDate": f"{1948 + number % 55}-{1 + number % 12:02}-{1 + number % 28:02}",
            "state": state,
        }
        if middle:
            client["middleName"] = middle
        if self.chance(0.93):
            client["emailAddress"] = f"client{number}@example.com"
        if self.chance(0.9):
            client["mobilePhone"] = f"+35191{number:07}"
        if language := pick(_LANGUAGES):
            client["language"] = language
        if self.chance(0.6):
            document = {"number": f"{number:06}-{first[0]}", "type": "Passport", "issuingAuthority": "República"}
            client["idDocument"] = {**document, "expiryDate": "2031-05-31"} if self.chance(0.8) else document
        if self.chance(0.7):
            client["creditOfficer"] = pick(self.users)
        return client

    def _client_holder(self) -> Json:
        return {"client": self.client("ACTIVE")}

    def _group(self) -> Json:
        number = self.next_number("group")
        roles = ("Treasurer", "Präsidentin", None)
        group: Json = {
            "encodedKey": self.key("group", number),
            "id": f"G-{300 + number}",
            "name": f"{self.rng.choice(_GROUP_NAMES)} {number}",
            "state": "ACTIVE",
            "members": [
                {"client": self.client("ACTIVE")} if role is None else {"role": role, "client": self.client("ACTIVE")}
                for role in roles[: self.rng.randint(1, 3)]
            ],
        }
        if self.chance(0.9):
            group["emailAddress"] = f"office{number}@groups.example"
        if self.chance(0.5):
            group["mobilePhone"] = f"+35192{number:07}"
        if language := self.rng.choice(_LANGUAGES):
            group["language"] = language
        if self.chance(0.5):
            group["creditOfficer"] = self.rng.choice(self.users)
        return {"group": group}

    def place(self, *, centre: bool) -> Json:
        """Branch, and a centre where groups meet; one event in ten has none."""
        if self.chance(0.1):
            return {}
        ident, name, address = self.rng.choice(_BRANCHES)
        branch = {"encodedKey": self.key("branch", ident), "id": ident, "name": name}
        place: Json = {"branch": branch if address is None else {**branch, "address": address}}
        if centre:
            place["centre"] = {"encodedKey": self.key("centre", ident), "id": f"CE-{ident}", "meetingDay": "TUESDAY"}
        return place

    def _account(self, index: int) -> _Account:
        """A new account for an index of the list: loans have the even ones."""
        kind = "LOAN" if index % 2 == 0 else "DEPOSIT"
        number = self.next_number(kind)
        holder = self.rng.choice(self.holders)
        currency = self.rng.choice(_CURRENCIES)
        account = _Account(
            key=self.key(kind, number),
            id=f"{'LN' if kind == 'LOAN' else 'SV'}-{200_000 + number}",
            kind=kind,
            holder=holder,
            place=self.place(centre="group" in holder),
            product=self.rng.choice(_LOAN_PRODUCTS if kind == "LOAN" else _DEPOSIT_PRODUCTS),
            currency=currency,
            rate=Decimal(self.rng.randint(100, 2400)) / 100,
            amount=Decimal(self.rng.randint(5, 200) * 100),
            installments=self.rng.choice((6, 12, 24, 60)),
            officer=self.rng.choice(self.users) if self.chance(0.5) else None,
        )
        if kind == "DEPOSIT":
            account.principal = self.money(0, 2000, currency[0])
        return account

    def replace(self, account: _Account) -> None:
        """A new account takes the place of one that has ended."""
        index = self.live.index(account)
        self.live[index] = self._account(index)


def _generate(bank: _Bank, count: int) -> Iterator[Json]:
    for number in range(count):
        bank.now += timedelta(microseconds=bank.rng.randint(1_000, 20_000_000))
        envelope: Json = {
            "eventId": str(uuid5(_EVENT_IDS, f"{bank.tenant}/{bank.seed}/{number}")),
            "event": "",
            "occurredAt": _timestamp_text(bank.now),
            "tenant": bank.tenant,
        }
        if bank.chance(0.5):
            envelope["correlationId"] = f"branch-{number % 23}-{number:06}"
        if bank.chance(0.6):
            envelope["actor"] = bank.rng.choice(bank.users)
        # Six in a hundred are of clients, about as in a bank whose customers stay.
        body = _client_event(bank) if bank.chance(0.06) else _account_event(bank, bank.rng.choice(bank.live))
        yield envelope | body


def _client_event(bank: _Bank) -> Json:
    """A new client, or what became of one."""
    if bank.pending and (len(bank.pending) > 5 or bank.chance(0.4)):
        client = bank.pending.pop(bank.rng.randrange(len(bank.pending)))
        event = "CLIENT_APPROVED" if bank.chance(0.75) else "CLIENT_REJECTED"
        client = {**client, "state": "INACTIVE" if event == "CLIENT_APPROVED" else "REJECTED"}
    else:
        event, client = "CLIENT_CREATED", bank.client("PENDING_APPROVAL")
        bank.pending.append(client)
    comment = bank.rng.choice(_COMMENTS)
    return {
        "event": event,
        "client": client,
        **bank.place(centre=False),
        **({} if comment is None else {"comment": comment}),
        "customFields": {"CLIENT:Segment": "Retail", "CLIENT:Newsletter <b>": bank.chance(0.5)},
    }


def _account_event(bank: _Bank, account: _Account) -> Json:
    """The next transaction of the account: one that its state allows, booked."""
    names, weights = zip(*(_loan_choices if account.kind == "LOAN" else _deposit_choices)(account), strict=True)
    event: str = bank.rng.choices(names, weights)[0]
    opening = account.total
    transaction = _book(bank, account, event)
    body: Json = {"event": event, "account": _account_json(account, opening), "transaction": transaction}
    body |= account.holder | account.place
    if account.kind == "LOAN" and not account.ended and bank.chance(0.8):
        body["schedule"] = _schedule(bank, account)
    if bank.chance(0.7):
        body["customFields"] = _custom_fields(bank, account)
    if account.ended or (account.kind == "LOAN" and account.disbursed and account.total == 0):
        bank.replace(account)
    return body


def _loan_choices(loan: _Account) -> list[tuple[str, float]]:
    """Event and weight for each that the loan's state allows."""
    if loan.disbursed is None:
        return [("LOAN_DISBURSEMENT", 1)]
    choices: list[tuple[str, float]] = [
        ("LOAN_REPAYMENT", 50),
        ("FEE_APPLIED", 6),
        ("FEE_CHARGED", 4),
        ("PENALTY_APPLIED", 4),
        ("LOAN_ACCOUNT_WRITE_OFF", 1),
        ("LOAN_ACCOUNT_RESCHEDULED", 1),
        ("LOAN_ACCOUNT_REFINANCED", 1),
    ]
    if "LOAN_DISBURSEMENT" in loan.last:
        choices.append(("LOAN_DISBURSEMENT_REVERSAL", 4))
    if "LOAN_REPAYMENT" in loan.last:
        choices.append(("LOAN_REPAYMENT_REVERSAL", 5))
    if "FEE_APPLIED" in loan.last and loan.last["FEE_APPLIED"].amount <= loan.fee:
        choices.append(("FEE_ADJUSTED", 8))
    if loan.fee > 0:
        choices.append(("FEES_DUE_REDUCED", 6))
    if "FEES_DUE_REDUCED" in loan.last:
        choices.append(("FEE_REDUCTION_ADJUSTMENT", 8))
    if "PENALTY_APPLIED" in loan.last and loan.last["PENALTY_APPLIED"].amount <= loan.penalty:
        choices.append(("PENALTY_ADJUSTMENT", 8))
    return choices


def _deposit_choices(deposit: _Account) -> list[tuple[str, float]]:
    """Event and weight for each that the deposit account's state allows. Fees of a deposit account are fee events."""
    choices: list[tuple[str, float]] = [("SAVINGS_DEPOSIT", 40)]
    if deposit.principal >= 20:
        choices += [("SAVINGS_WITHDRAWAL", 25), ("DEPOSIT_INTEREST_APPLIED", 8), ("FEE_CHARGED", 3)]
    if "SAVINGS_DEPOSIT" in deposit.last:
        choices.append(("SAVINGS_TRANSACTION_EDITED", 4))
    if "SAVINGS_DEPOSIT_REVERSAL" in deposit.last:
        choices.append(("REAPPLIED_SAVINGS_DEPOSIT", 12))
    if "SAVINGS_WITHDRAWAL" in deposit.last:
        choices.append(("SAVINGS_WITHDRAWAL_REVERSAL", 5))
    for taken, event, weight in (  # what takes money out again, as long as it is there
        ("SAVINGS_DEPOSIT", "SAVINGS_DEPOSIT_REVERSAL", 5),
        ("SAVINGS_WITHDRAWAL_REVERSAL", "REAPPLIED_SAVINGS_WITHDRAWAL", 12),
        ("DEPOSIT_INTEREST_APPLIED", "DEPOSIT_INTEREST_APPLIED_ADJUSTMENT", 4),
    ):
        if taken in deposit.last and deposit.last[taken].amount <= deposit.principal:
            choices.append((event, weight))
    return choices


def _book(bank: _Bank, account: _Account, event: str) -> Json:
    """Change the account as the event says and give the transaction that did it."""
    booking, linked = _BOOKINGS[event](bank, account)
    credit = event in _CREDITS if account.kind == "DEPOSIT" else event in _LOWER_A_LOAN
    transaction: Json = {
        "encodedKey": booking.key,
        "id": booking.id,
        "type": _TYPES[event],
        "amount": _decimal_text(booking.amount),
        "currencyCode": account.currency[0],
        "date": booking.day,
        "valueDate": booking.day,
        "entryDate": _timestamp_text(bank.now - timedelta(milliseconds=78)),
        ("creditAmount" if credit else "debitAmount"): _decimal_text(booking.amount),
    }
    if method := bank.rng.choice(_METHODS):
        transaction["method"] = method
    if comment := bank.rng.choice(_COMMENTS):
        transaction["comment"] = comment
    if account.kind == "LOAN":
        transaction |= {
            "principalAmount": _decimal_text(booking.principal),
            "interestAmount": _decimal_text(booking.interest),
        }
        transaction |= {"feeAmount": _decimal_text(booking.fee), "penaltyAmount": _decimal_text(booking.penalty)}
    elif event == "DEPOSIT_INTEREST_APPLIED":
        transaction |= {"interestAmount": _decimal_text(booking.amount), "taxAmount": "0", "taxPercent": "0"}
    elif event == "SAVINGS_DEPOSIT" and bank.chance(0.1):
        transaction |= {
            "originalAmount": _decimal_text(booking.amount * Decimal("1.25")),
            "originalCurrencyCode": "GBP",
        }
    if booking.fee_name:
        transaction["feeName"] = booking.fee_name
    if linked:
        transaction |= {
            "linkedTransactionKey": linked.key,
            "linkedTransactionId": linked.id,
            "linkedTransactionDate": linked.day,
        }
    return transaction


_CREDITS: Final = frozenset(
    ("SAVINGS_DEPOSIT", "REAPPLIED_SAVINGS_DEPOSIT", "SAVINGS_WITHDRAWAL_REVERSAL", "DEPOSIT_INTEREST_APPLIED")
) | {"SAVINGS_TRANSACTION_EDITED"}
_LOWER_A_LOAN: Final = frozenset(
    ("LOAN_REPAYMENT", "LOAN_DISBURSEMENT_REVERSAL", "FEE_ADJUSTED", "FEES_DUE_REDUCED", "PENALTY_ADJUSTMENT", *_ENDS)
)

_BookingResult = tuple[_Booking, _Booking | None]  # what is booked, and what it reverses, applies again or replaces


def _new_booking(bank: _Bank, amount: Decimal, **parts: Any) -> _Booking:
    number = bank.next_number("transaction")
    day = bank.now.date().isoformat()
    return _Booking(str(550_000 + number), bank.key("transaction", number), day, amount, **parts)


def _disburse(bank: _Bank, loan: _Account) -> _BookingResult:
    loan.disbursed, loan.principal = bank.now.date().isoformat(), loan.amount
    loan.last["LOAN_DISBURSEMENT"] = booking = _new_booking(bank, loan.amount, principal=loan.amount)
    return booking, None


def _reverse_disbursement(bank: _Bank, loan: _Account) -> _BookingResult:
    linked = loan.last.pop("LOAN_DISBURSEMENT")
    loan.disbursed, loan.principal = None, _ZERO
    return _new_booking(bank, linked.amount, principal=linked.amount), linked


def _repay(bank: _Bank, loan: _Account) -> _BookingResult:
    """An instalment: fees and penalties first, then the month's interest, the rest is principal."""
    interest = (loan.principal * loan.rate / 1200).quantize(_digits(loan), ROUND_HALF_UP)
    part = (loan.amount / loan.installments).quantize(_digits(loan), ROUND_HALF_UP)
    principal = min(loan.principal, part)
    booking = _new_booking(
        bank,
        principal + interest + loan.fee + loan.penalty,
        principal=principal,
        interest=interest,
        fee=loan.fee,
        penalty=loan.penalty,
    )
    loan.principal -= principal
    loan.fee = loan.penalty = _ZERO
    loan.paid += 1
    loan.last = {"LOAN_REPAYMENT": booking}  # nothing before a repayment is reversed any more
    return booking, None


def _reverse_repayment(bank: _Bank, loan: _Account) -> _BookingResult:
    linked = loan.last.pop("LOAN_REPAYMENT")
    loan.principal += linked.principal
    loan.fee += linked.fee
    loan.penalty += linked.penalty
    loan.paid -= 1
    parts = {"principal": linked.principal, "interest": linked.interest, "fee": linked.fee, "penalty": linked.penalty}
    return _new_booking(bank, linked.amount, **parts), linked


def _charge(event: str) -> Callable[[_Bank, _Account], _BookingResult]:
    """A fee that is owed from now on; of a deposit account it is taken at once."""

    def book(bank: _Bank, account: _Account) -> _BookingResult:
        amount = bank.money(1, 15, account.currency[0])
        booking = _new_booking(bank, amount, fee=amount, fee_name=bank.rng.choice(_FEES))
        account.last.pop("LOAN_DISBURSEMENT", None)
        if account.kind == "DEPOSIT":
            account.principal -= amount
        else:
            account.fee += amount
            account.last[event] = booking
        return booking, None

    return book


def _reverse_fee(bank: _Bank, loan: _Account) -> _BookingResult:
    linked = loan.last.pop("FEE_APPLIED")
    loan.fee -= linked.amount
    return _new_booking(bank, linked.amount, fee=linked.amount, fee_name=linked.fee_name), linked


def _reduce_fees(bank: _Bank, loan: _Account) -> _BookingResult:
    amount = loan.fee if loan.fee < 2 else (loan.fee / 2).quantize(_digits(loan), ROUND_HALF_UP)
    loan.fee -= amount
    loan.last["FEES_DUE_REDUCED"] = booking = _new_booking(bank, amount, fee=amount, fee_name="Goodwill")
    return booking, None


def _reverse_reduction(bank: _Bank, loan: _Account) -> _BookingResult:
    linked = loan.last.pop("FEES_DUE_REDUCED")
    loan.fee += linked.amount
    return _new_booking(bank, linked.amount, fee=linked.amount, fee_name=linked.fee_name), linked


def _penalise(bank: _Bank, loan: _Account) -> _BookingResult:
    amount = bank.money(1, 40, loan.currency[0])
    loan.penalty += amount
    loan.last.pop("LOAN_DISBURSEMENT", None)
    loan.last["PENALTY_APPLIED"] = booking = _new_booking(bank, amount, penalty=amount, fee_name="Late payment")
    return booking, None


def _reverse_penalty(bank: _Bank, loan: _Account) -> _BookingResult:
    linked = loan.last.pop("PENALTY_APPLIED")
    loan.penalty -= linked.amount
    return _new_booking(bank, linked.amount, penalty=linked.amount, fee_name=linked.fee_name), linked


def _close(event: str) -> Callable[[_Bank, _Account], _BookingResult]:
    """All that is owed leaves the account, which is closed."""

    def book(bank: _Bank, loan: _Account) -> _BookingResult:
        parts = {"principal": loan.principal, "interest": loan.interest, "fee": loan.fee, "penalty": loan.penalty}
        booking = _new_booking(bank, loan.total, **parts)
        loan.principal = loan.interest = loan.fee = loan.penalty = _ZERO
        loan.ended = _ENDS[event]
        return booking, None

    return book


def _deposit(bank: _Bank, deposit: _Account) -> _BookingResult:
    amount = bank.money(5, 900, deposit.currency[0])
    deposit.principal += amount
    deposit.last["SAVINGS_DEPOSIT"] = booking = _new_booking(bank, amount)
    return booking, None


def _withdraw(bank: _Bank, deposit: _Account) -> _BookingResult:
    amount = bank.money(1, int(deposit.principal), deposit.currency[0])
    deposit.principal -= amount
    deposit.last["SAVINGS_WITHDRAWAL"] = booking = _new_booking(bank, amount)
    return booking, None


def _undo(event: str, *, sign: int, stored_as: str | None = None) -> Callable[[_Bank, _Account], _BookingResult]:
    """Reverse, or apply again, the last `event`: `sign` is what it does to the balance. `stored_as`: the event
    under which it may be applied again later."""

    def book(bank: _Bank, deposit: _Account) -> _BookingResult:
        linked = deposit.last.pop(event)
        deposit.principal += sign * linked.amount
        if stored_as:
            deposit.last[stored_as] = linked
        return _new_booking(bank, linked.amount), linked

    return book


def _apply_interest(bank: _Bank, deposit: _Account) -> _BookingResult:
    amount = (deposit.principal * deposit.rate / 1200).quantize(_digits(deposit), ROUND_HALF_UP)
    deposit.principal += amount
    deposit.interest = _ZERO
    deposit.last["DEPOSIT_INTEREST_APPLIED"] = booking = _new_booking(bank, amount, interest=amount)
    return booking, None


def _edit(bank: _Bank, deposit: _Account) -> _BookingResult:
    """The core books an edited transaction again: another id, the same amount, the old one linked."""
    linked = deposit.last["SAVINGS_DEPOSIT"]
    deposit.last["SAVINGS_DEPOSIT"] = booking = _new_booking(bank, linked.amount)
    return booking, linked


_BOOKINGS: Final[Mapping[str, Callable[[_Bank, _Account], _BookingResult]]] = {
    "LOAN_DISBURSEMENT": _disburse,
    "LOAN_DISBURSEMENT_REVERSAL": _reverse_disbursement,
    "LOAN_REPAYMENT": _repay,
    "LOAN_REPAYMENT_REVERSAL": _reverse_repayment,
    "FEE_APPLIED": _charge("FEE_APPLIED"),
    "FEE_CHARGED": _charge("FEE_CHARGED"),
    "FEE_ADJUSTED": _reverse_fee,
    "FEES_DUE_REDUCED": _reduce_fees,
    "FEE_REDUCTION_ADJUSTMENT": _reverse_reduction,
    "PENALTY_APPLIED": _penalise,
    "PENALTY_ADJUSTMENT": _reverse_penalty,
    "LOAN_ACCOUNT_WRITE_OFF": _close("LOAN_ACCOUNT_WRITE_OFF"),
    "LOAN_ACCOUNT_RESCHEDULED": _close("LOAN_ACCOUNT_RESCHEDULED"),
    "LOAN_ACCOUNT_REFINANCED": _close("LOAN_ACCOUNT_REFINANCED"),
    "SAVINGS_DEPOSIT": _deposit,
    "SAVINGS_DEPOSIT_REVERSAL": _undo("SAVINGS_DEPOSIT", sign=-1, stored_as="SAVINGS_DEPOSIT_REVERSAL"),
    "REAPPLIED_SAVINGS_DEPOSIT": _undo("SAVINGS_DEPOSIT_REVERSAL", sign=1),
    "SAVINGS_WITHDRAWAL": _withdraw,
    "SAVINGS_WITHDRAWAL_REVERSAL": _undo("SAVINGS_WITHDRAWAL", sign=1, stored_as="SAVINGS_WITHDRAWAL_REVERSAL"),
    "REAPPLIED_SAVINGS_WITHDRAWAL": _undo("SAVINGS_WITHDRAWAL_REVERSAL", sign=-1),
    "DEPOSIT_INTEREST_APPLIED": _apply_interest,
    "DEPOSIT_INTEREST_APPLIED_ADJUSTMENT": _undo("DEPOSIT_INTEREST_APPLIED", sign=-1),
    "SAVINGS_TRANSACTION_EDITED": _edit,
}


def _account_json(account: _Account, opening: Decimal) -> Json:
    """The account after the event, in JSON form."""
    code, sign = account.currency
    is_loan = account.kind == "LOAN"
    return {
        "encodedKey": account.key,
        "id": account.id,
        "kind": account.kind,
        "name": account.product[1],
        "state": account.ended or "ACTIVE",
        "currencyCode": code,
        **({"currencySign": sign} if sign else {}),
        "product": {
            "encodedKey": blake2b(account.product[0].encode(), digest_size=16).hexdigest(),
            "id": account.product[0],
            "name": account.product[1],
        },
        "totalBalance": _decimal_text(account.total),
        **({} if is_loan else {"availableBalance": _decimal_text(account.total)}),
        "openingBalance": _decimal_text(opening),
        "interestRate": _decimal_text(account.rate),
        **({"creditOfficer": account.officer} if account.officer else {}),
        **({"loan": _loan_json(account)} if is_loan else {"deposit": _deposit_json(account)}),
    }


def _deposit_json(account: _Account) -> Json:
    accrued = (account.principal * account.rate / 36500).quantize(Decimal("1e-7"), ROUND_HALF_UP)
    return {"interestAccrued": _decimal_text(accrued), "overdraftAmountDue": "0"}


def _loan_json(account: _Account) -> Json:
    return {
        "loanAmount": _decimal_text(account.amount),
        "numberOfInstallments": account.installments,
        "principalBalance": _decimal_text(account.principal),
        "principalDue": "0",
        "interestDue": _decimal_text(account.interest),
        "feeDue": _decimal_text(account.fee),
        "penaltyDue": _decimal_text(account.penalty),
        "totalDue": _decimal_text(account.interest + account.fee + account.penalty),
        "arrearsPosition": "0",
        **({"disbursementDate": account.disbursed} if account.disbursed else {}),
    }


def _schedule(bank: _Bank, loan: _Account) -> list[Json]:
    """The next instalments that are still to pay, three at most."""
    if loan.disbursed is None:
        return []
    first = date.fromisoformat(loan.disbursed)
    part = (loan.amount / loan.installments).quantize(_digits(loan), ROUND_HALF_UP)
    remaining, rows = loan.principal, []
    for number in range(loan.paid + 1, loan.paid + 4):
        principal = min(remaining, part)
        if principal <= 0:
            break
        interest = (remaining * loan.rate / 1200).quantize(_digits(loan), ROUND_HALF_UP)
        months = first.month - 1 + number
        due = date(first.year + months // 12, months % 12 + 1, min(first.day, 28))
        rows.append(
            {
                "encodedKey": bank.key("installment", f"{loan.key}/{number}"),
                "number": number,
                "dueDate": due.isoformat(),
                "state": "PENDING",
                "totalBalance": _decimal_text(principal + interest),
                "principalBalance": _decimal_text(principal),
                "interestBalance": _decimal_text(interest),
            }
        )
        remaining -= principal
    return rows


def _custom_fields(bank: _Bank, account: _Account) -> Json:
    """Fields of every type that a tenant can add. A group's event has none of a client."""
    entity = "LOAN" if account.kind == "LOAN" else "SAVINGS"
    fields: Json = {
        f"{entity}:Insured": bank.chance(0.5),
        f"{entity}:Risk Score": {"decimal": _decimal_text(Decimal(bank.rng.randint(0, 100)) / 100)},
        f"{entity}:Purpose": bank.rng.choice(('Traktor "K2"', "Dach & Wand", "<unbekannt>")),
        f"{entity}:Reviewed On": {"date": bank.now.date().isoformat()},
        f"{entity}:Last Contact": {"timestamp": _timestamp_text(bank.now)},
    }
    if "client" in account.holder:
        fields |= {"CLIENT:Segment": "Retail", "CLIENT:Bank Account:1": "PT50000201231234567890154"}
        if bank.chance(0.3):
            fields["CLIENT:Bank Account:2"] = "PT50002700000001234567833"
    else:
        fields["GROUP:Founded"] = {"date": "1998-04-25"}
    return fields


def _digits(account: _Account) -> Decimal:
    """The smallest amount of the account's currency."""
    return {"JPY": Decimal(1), "KWD": Decimal("0.001")}.get(account.currency[0], _CENT)


def _decimal_text(amount: Decimal) -> str:
    """A decimal as people write it: no trailing zeros, no exponent."""
    text = f"{amount:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def _timestamp_text(at: datetime) -> str:
    return at.isoformat(timespec="microseconds").replace("+00:00", "Z")
