// A consumer with generated types: for each type and file of a framed value that it is given, the value as JSON.
package main

import (
	"encoding/json"
	"log"
	"os"

	"consumer/events"
	"consumer/messages"
)

type value interface{ Unmarshal([]byte) error }

var types = map[string]func() value{
	"banking.events.ActivityEvent":           func() value { return new(events.ActivityEvent) },
	"banking.events.AuthorisationHoldEvent":  func() value { return new(events.AuthorisationHoldEvent) },
	"banking.events.BackgroundEvent":         func() value { return new(events.BackgroundEvent) },
	"banking.events.CardTransactionEvent":    func() value { return new(events.CardTransactionEvent) },
	"banking.events.ClientEvent":             func() value { return new(events.ClientEvent) },
	"banking.events.CreditArrangementEvent":  func() value { return new(events.CreditArrangementEvent) },
	"banking.events.DepositAccountEvent":     func() value { return new(events.DepositAccountEvent) },
	"banking.events.DepositTransactionEvent": func() value { return new(events.DepositTransactionEvent) },
	"banking.events.GroupEvent":              func() value { return new(events.GroupEvent) },
	"banking.events.JournalEntryEvent":       func() value { return new(events.JournalEntryEvent) },
	"banking.events.LoanAccountEvent":        func() value { return new(events.LoanAccountEvent) },
	"banking.events.LoanTransactionEvent":    func() value { return new(events.LoanTransactionEvent) },
	"banking.events.OrderEvent":              func() value { return new(events.OrderEvent) },
	"banking.events.PortalEvent":             func() value { return new(events.PortalEvent) },
	"communications.Communicationmessage":    func() value { return new(messages.Communicationmessage) },
	"communications.Decision":                func() value { return new(messages.Decision) },
	"communications.MessageStatus":           func() value { return new(messages.MessageStatus) },
	"communications.StreamEvent":             func() value { return new(messages.StreamEvent) },
	"notifications.Message":                  func() value { return new(messages.Message) },
}

func main() {
	out := json.NewEncoder(os.Stdout)
	for given := os.Args[1:]; len(given) > 0; given = given[2:] {
		framed, err := os.ReadFile(given[1])
		if err != nil {
			log.Fatal(err)
		}
		read := types[given[0]]()
		if err := read.Unmarshal(framed[5:]); err != nil {
			log.Fatal(given[1], ": ", err)
		}
		if err := out.Encode(read); err != nil {
			log.Fatal(err)
		}
	}
}
