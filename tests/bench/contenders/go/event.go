package main

import "time"

// The types of a LoanTransactionEvent. Amounts stay as Avro has them, the bytes of a whole number: only those that are
// shown become text.

// LoanTransactionEvent is a booking on a loan account, or a fee or penalty on any account.
type LoanTransactionEvent struct {
	EventID       string           `avro:"eventId"`
	Event         string           `avro:"event"`
	OccurredAt    int64            `avro:"occurredAt"`
	Tenant        string           `avro:"tenant"`
	CorrelationID *string          `avro:"correlationId"`
	Actor         *User            `avro:"actor"`
	Account       Account          `avro:"account"`
	Transaction   Transaction      `avro:"transaction"`
	Client        *Client          `avro:"client"`
	Group         *Group           `avro:"group"`
	Branch        *Branch          `avro:"branch"`
	Centre        *Centre          `avro:"centre"`
	Schedule      []InstallmentDue `avro:"schedule"`
	CustomFields  map[string]any   `avro:"customFields"`
}

// User is a user of the bank: who acted, or the credit officer in charge.
type User struct {
	EncodedKey   string  `avro:"encodedKey"`
	Username     string  `avro:"username"`
	FullName     string  `avro:"fullName"`
	FirstName    *string `avro:"firstName"`
	LastName     *string `avro:"lastName"`
	EmailAddress *string `avro:"emailAddress"`
	MobilePhone  *string `avro:"mobilePhone"`
}

// Account is a loan or deposit account as it is after the event.
type Account struct {
	EncodedKey           string        `avro:"encodedKey"`
	ID                   string        `avro:"id"`
	Kind                 string        `avro:"kind"`
	Name                 string        `avro:"name"`
	State                *string       `avro:"state"`
	CurrencyCode         string        `avro:"currencyCode"`
	CurrencySign         *string       `avro:"currencySign"`
	Product              *Product      `avro:"product"`
	TotalBalance         []byte        `avro:"totalBalance"`
	AvailableBalance     []byte        `avro:"availableBalance"`
	OpeningBalance       []byte        `avro:"openingBalance"`
	InterestRate         []byte        `avro:"interestRate"`
	PreviousInterestRate []byte        `avro:"previousInterestRate"`
	CreditOfficer        *User         `avro:"creditOfficer"`
	Loan                 *LoanTerms    `avro:"loan"`
	Deposit              *DepositTerms `avro:"deposit"`
}

// Product is what an account was opened as.
type Product struct {
	EncodedKey string `avro:"encodedKey"`
	ID         string `avro:"id"`
	Name       string `avro:"name"`
}

// LoanTerms is what only a loan account has.
type LoanTerms struct {
	LoanAmount                    []byte     `avro:"loanAmount"`
	NumberOfInstallments          *int32     `avro:"numberOfInstallments"`
	PrincipalBalance              []byte     `avro:"principalBalance"`
	PrincipalDue                  []byte     `avro:"principalDue"`
	InterestDue                   []byte     `avro:"interestDue"`
	FeeDue                        []byte     `avro:"feeDue"`
	PenaltyDue                    []byte     `avro:"penaltyDue"`
	TotalDue                      []byte     `avro:"totalDue"`
	ArrearsPosition               []byte     `avro:"arrearsPosition"`
	AdvancePosition               []byte     `avro:"advancePosition"`
	RedrawBalance                 []byte     `avro:"redrawBalance"`
	ExpectedPrincipalRedraw       []byte     `avro:"expectedPrincipalRedraw"`
	DisbursementDate              *time.Time `avro:"disbursementDate"`
	FirstRepaymentDate            *time.Time `avro:"firstRepaymentDate"`
	ExpectedMaturityDate          *time.Time `avro:"expectedMaturityDate"`
	AnticipatedDisbursementDate   *time.Time `avro:"anticipatedDisbursementDate"`
	AnticipatedDisbursementAmount []byte     `avro:"anticipatedDisbursementAmount"`
}

// DepositTerms is what only a deposit account has.
type DepositTerms struct {
	InterestAccrued             []byte `avro:"interestAccrued"`
	OverdraftAmountDue          []byte `avro:"overdraftAmountDue"`
	TechnicalOverdraftAmountDue []byte `avro:"technicalOverdraftAmountDue"`
	OverdraftInterestRate       []byte `avro:"overdraftInterestRate"`
	OverdraftIndexRate          []byte `avro:"overdraftIndexRate"`
}

// Transaction is one booking on an account.
type Transaction struct {
	EncodedKey            string     `avro:"encodedKey"`
	ID                    string     `avro:"id"`
	Type                  string     `avro:"type"`
	Amount                []byte     `avro:"amount"`
	CurrencyCode          *string    `avro:"currencyCode"`
	OriginalAmount        []byte     `avro:"originalAmount"`
	OriginalCurrencyCode  *string    `avro:"originalCurrencyCode"`
	Date                  time.Time  `avro:"date"`
	ValueDate             *time.Time `avro:"valueDate"`
	EntryDate             *int64     `avro:"entryDate"`
	Method                *string    `avro:"method"`
	Comment               *string    `avro:"comment"`
	CreditAmount          []byte     `avro:"creditAmount"`
	DebitAmount           []byte     `avro:"debitAmount"`
	PrincipalAmount       []byte     `avro:"principalAmount"`
	InterestAmount        []byte     `avro:"interestAmount"`
	FeeAmount             []byte     `avro:"feeAmount"`
	PenaltyAmount         []byte     `avro:"penaltyAmount"`
	TaxAmount             []byte     `avro:"taxAmount"`
	TaxPercent            []byte     `avro:"taxPercent"`
	FeeName               *string    `avro:"feeName"`
	InternalTransfer      *string    `avro:"internalTransfer"`
	LinkedTransactionKey  *string    `avro:"linkedTransactionKey"`
	LinkedTransactionID   *string    `avro:"linkedTransactionId"`
	LinkedTransactionDate *time.Time `avro:"linkedTransactionDate"`
}

// Client is a person or company that holds accounts.
type Client struct {
	EncodedKey    string      `avro:"encodedKey"`
	ID            string      `avro:"id"`
	FullName      string      `avro:"fullName"`
	FirstName     *string     `avro:"firstName"`
	MiddleName    *string     `avro:"middleName"`
	LastName      *string     `avro:"lastName"`
	BirthDate     *time.Time  `avro:"birthDate"`
	EmailAddress  *string     `avro:"emailAddress"`
	MobilePhone   *string     `avro:"mobilePhone"`
	Language      *string     `avro:"language"`
	State         *string     `avro:"state"`
	IdDocument    *IdDocument `avro:"idDocument"`
	CreditOfficer *User       `avro:"creditOfficer"`
}

// IdDocument is an identity document of a client.
type IdDocument struct {
	Number           string     `avro:"number"`
	Type             *string    `avro:"type"`
	IssuingAuthority *string    `avro:"issuingAuthority"`
	ExpiryDate       *time.Time `avro:"expiryDate"`
}

// Group is clients that hold accounts together, with an address of their own.
type Group struct {
	EncodedKey    string        `avro:"encodedKey"`
	ID            string        `avro:"id"`
	Name          string        `avro:"name"`
	EmailAddress  *string       `avro:"emailAddress"`
	MobilePhone   *string       `avro:"mobilePhone"`
	Language      *string       `avro:"language"`
	State         *string       `avro:"state"`
	CreditOfficer *User         `avro:"creditOfficer"`
	Members       []GroupMember `avro:"members"`
}

// GroupMember is a client's place in a group.
type GroupMember struct {
	Role   *string `avro:"role"`
	Client Client  `avro:"client"`
}

// Branch is a branch of the bank.
type Branch struct {
	EncodedKey string  `avro:"encodedKey"`
	ID         string  `avro:"id"`
	Name       string  `avro:"name"`
	Address    *string `avro:"address"`
}

// Centre is a place where groups meet.
type Centre struct {
	EncodedKey string  `avro:"encodedKey"`
	ID         string  `avro:"id"`
	Name       *string `avro:"name"`
	MeetingDay *string `avro:"meetingDay"`
}

// InstallmentDue is one line of a loan's repayment schedule.
type InstallmentDue struct {
	EncodedKey                     string    `avro:"encodedKey"`
	Number                         int32     `avro:"number"`
	DueDate                        time.Time `avro:"dueDate"`
	State                          *string   `avro:"state"`
	TotalBalance                   []byte    `avro:"totalBalance"`
	PrincipalBalance               []byte    `avro:"principalBalance"`
	InterestBalance                []byte    `avro:"interestBalance"`
	FeeBalance                     []byte    `avro:"feeBalance"`
	PenaltyBalance                 []byte    `avro:"penaltyBalance"`
	OrganizationCommissionExpected []byte    `avro:"organizationCommissionExpected"`
	FundersInterestExpected        []byte    `avro:"fundersInterestExpected"`
}
