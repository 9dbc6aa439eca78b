package main

// Communicationmessage is one message: the 21 published fields.
type Communicationmessage struct {
	Body              *string `avro:"body"`
	ClientKey         *string `avro:"clientKey"`
	CreationDate      *int64  `avro:"creationDate"`
	DepositAccountKey *string `avro:"depositAccountKey"`
	Destination       *string `avro:"destination"`
	EncodedKey        *string `avro:"encodedKey"`
	Event             *string `avro:"event"`
	FailureCause      *string `avro:"failureCause"`
	FailureReason     *string `avro:"failureReason"`
	GroupKey          *string `avro:"groupKey"`
	LoanAccountKey    *string `avro:"loanAccountKey"`
	NumRetries        *int32  `avro:"numRetries"`
	ReferenceID       *string `avro:"referenceId"`
	RepaymentKey      *string `avro:"repaymentKey"`
	SendDate          *int64  `avro:"sendDate"`
	SenderKey         *string `avro:"senderKey"`
	State             *string `avro:"state"`
	Subject           *string `avro:"subject"`
	TemplateKey       *string `avro:"templateKey"`
	Type              *string `avro:"type"`
	UserKey           *string `avro:"userKey"`
}

// MessageStatus is one transition of one message.
type MessageStatus struct {
	EncodedKey      string   `avro:"encodedKey"`
	Tenant          string   `avro:"tenant"`
	Event           string   `avro:"event"`
	Type            string   `avro:"type"`
	Sequence        int32    `avro:"sequence"`
	From            *string  `avro:"from"`
	To              string   `avro:"to"`
	At              int64    `avro:"at"`
	NumRetries      int32    `avro:"numRetries"`
	WaitingReason   *string  `avro:"waitingReason"`
	FailureReason   *string  `avro:"failureReason"`
	FailureCause    *string  `avro:"failureCause"`
	NextAttemptAt   *int64   `avro:"nextAttemptAt"`
	ReferenceID     *string  `avro:"referenceId"`
	Actor           *string  `avro:"actor"`
	Final           bool     `avro:"final"`
	EventID         string   `avro:"eventId"`
	TemplateID      string   `avro:"templateId"`
	TemplateVersion int32    `avro:"templateVersion"`
	SetVersion      string   `avro:"setVersion"`
	Source          Place    `avro:"source"`
	LookupMissing   []string `avro:"lookupMissing"`
	CorrelationID   *string  `avro:"correlationId"`
}

// Place is where the record lies that told the event.
type Place struct {
	Topic     string `avro:"topic"`
	Partition int32  `avro:"partition"`
	Offset    int64  `avro:"offset"`
}

// StreamEvent is what a stream's topic carries.
type StreamEvent struct {
	Metadata     StreamEventMetadata `avro:"metadata"`
	Body         string              `avro:"body"`
	TemplateName string              `avro:"template_name"`
}

// StreamEventMetadata says what the body of a StreamEvent is.
type StreamEventMetadata struct {
	EID         string `avro:"eid"`
	EventType   string `avro:"event_type"`
	OccurredAt  int64  `avro:"occurred_at"`
	ContentType string `avro:"content_type"`
	Category    string `avro:"category"`
}
