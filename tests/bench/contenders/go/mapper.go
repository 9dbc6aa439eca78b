package main

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"hash"
	"os"
	"path/filepath"
	"time"

	"github.com/hamba/avro/v2"
	"github.com/twmb/franz-go/pkg/kgo"
	"golang.org/x/crypto/blake2b"
)

const (
	frameBytes      = 5 // before each value: 0, and the id of its schema
	templateID      = "loan-repayment-stream"
	templateName    = "Loan repayments"
	templateVersion = 1
	eventStream     = "EVENT_STREAM"
	sent            = "SENT"
)

// A mapper makes the three outputs of an event by the one template. Not safe for concurrent use.
type mapper struct {
	tenant, setVersion, streamTopic, eventType string
	messages, status, stream                   output
	eventSchema                                avro.Schema
	digest                                     hash.Hash
	templateKey                                string
	body                                       []byte
}

// An output is a topic and how its values are written.
type output struct {
	topic  string
	schema avro.Schema
	frame  [frameBytes]byte
	writer *avro.Writer
}

func newMapper(environment environment) (*mapper, error) {
	digest, err := blake2b.New(16, nil)
	if err != nil {
		return nil, err
	}
	m := &mapper{
		tenant:      environment.text("BENCH_TENANT"),
		setVersion:  environment.text("BENCH_SET_VERSION"),
		streamTopic: environment.text("BENCH_STREAM"),
		digest:      digest,
	}
	m.eventType = "mrn.event." + m.tenant + ".streamingapi.loan_repayment"
	m.templateKey = m.identity("template", m.tenant, templateID)
	folder := environment.text("BENCH_SCHEMAS")
	if m.eventSchema, err = readSchema(folder, "event"); err != nil {
		return nil, err
	}
	for _, made := range []struct {
		output       *output
		topic, named string
		id           string
	}{
		{&m.messages, "BENCH_MESSAGES", "message", "BENCH_MESSAGE_ID"},
		{&m.status, "BENCH_STATUS", "status", "BENCH_STATUS_ID"},
		{&m.stream, "BENCH_STREAM", "stream", "BENCH_STREAM_ID"},
	} {
		made.output.topic = environment.text(made.topic)
		made.output.writer = avro.NewWriter(nil, 1024)
		binary.BigEndian.PutUint32(made.output.frame[1:], uint32(environment.number(made.id)))
		if made.output.schema, err = readSchema(folder, made.named); err != nil {
			return nil, err
		}
	}
	return m, nil
}

// readSchema reads one schema, with a cache of its own: two of them have types of the same name.
func readSchema(folder, name string) (avro.Schema, error) {
	text, err := os.ReadFile(filepath.Join(folder, name+".avsc"))
	if err != nil {
		return nil, err
	}
	return avro.ParseBytesWithCache(text, "", &avro.SchemaCache{})
}

// outputs makes the records of an event; none when the template does not want it.
func (m *mapper) outputs(source *kgo.Record) ([]*kgo.Record, error) {
	if len(source.Value) < frameBytes || source.Value[0] != 0 {
		return nil, fmt.Errorf("no frame before the value")
	}
	var event LoanTransactionEvent
	if err := avro.Unmarshal(m.eventSchema, source.Value[frameBytes:], &event); err != nil {
		return nil, err
	}
	if event.Account.Kind != "LOAN" || !isPositive(event.Transaction.Amount) {
		return nil, nil
	}
	body := m.render(&event)
	key := m.identity(m.tenant, event.EventID, templateID, "")
	at := source.Timestamp.UnixMilli()
	message, err := m.messages.record(source, []byte(key), m.message(&event, key, body, at))
	if err != nil {
		return nil, err
	}
	status, err := m.status.record(source, []byte(key), m.statusOf(&event, key, at, source))
	if err != nil {
		return nil, err
	}
	streamEvent, err := m.stream.record(source, source.Key, m.streamEvent(&event, key, body))
	if err != nil {
		return nil, err
	}
	return []*kgo.Record{message, status, streamEvent}, nil
}

// identity is the digest that every run gives the same parts.
func (m *mapper) identity(parts ...string) string {
	m.digest.Reset()
	for number, part := range parts {
		if number > 0 {
			m.digest.Write([]byte{0x1f})
		}
		m.digest.Write([]byte(part))
	}
	var sum [16]byte
	return hex.EncodeToString(m.digest.Sum(sum[:0]))
}

// render writes the template's body.
func (m *mapper) render(event *LoanTransactionEvent) string {
	account, transaction := &event.Account, &event.Transaction
	body := append(m.body[:0], `{"account":"`...)
	body = appendEscaped(body, account.ID)
	body = append(body, `","client":"`...)
	if event.Client != nil {
		body = appendEscaped(body, event.Client.FullName)
	}
	body = append(body, `","amount":"`...)
	currency := account.CurrencyCode
	if transaction.CurrencyCode != nil {
		currency = *transaction.CurrencyCode
	}
	body = appendMoney(body, transaction.Amount, currency)
	body = append(body, `","balance":"`...)
	if account.TotalBalance != nil {
		body = appendMoney(body, account.TotalBalance, account.CurrencyCode)
	}
	body = append(body, `","currency":"`...)
	body = appendEscaped(body, account.CurrencyCode)
	body = append(body, `","date":"`...)
	body = transaction.Date.AppendFormat(body, time.DateOnly)
	body = append(body, `","method":"`...)
	if transaction.Method != nil {
		body = appendEscaped(body, *transaction.Method)
	}
	m.body = append(body, `"}`...)
	return string(m.body)
}

func (m *mapper) message(event *LoanTransactionEvent, key, body string, at int64) *Communicationmessage {
	message := &Communicationmessage{
		Body:           &body,
		CreationDate:   &at,
		Destination:    &m.streamTopic,
		EncodedKey:     &key,
		Event:          &event.Event,
		LoanAccountKey: &event.Account.EncodedKey,
		NumRetries:     new(int32),
		RepaymentKey:   &event.Transaction.EncodedKey,
		SendDate:       &at,
		State:          pointer(sent),
		TemplateKey:    &m.templateKey,
		Type:           pointer(eventStream),
	}
	if event.Client != nil {
		message.ClientKey = &event.Client.EncodedKey
	} else if event.Group != nil {
		message.GroupKey = &event.Group.EncodedKey
	}
	return message
}

func (m *mapper) statusOf(event *LoanTransactionEvent, key string, at int64, source *kgo.Record) *MessageStatus {
	return &MessageStatus{
		EncodedKey:      key,
		Tenant:          m.tenant,
		Event:           event.Event,
		Type:            eventStream,
		Sequence:        1,
		From:            pointer("QUEUED_FOR_STREAM"),
		To:              sent,
		At:              at,
		Final:           true,
		EventID:         event.EventID,
		TemplateID:      templateID,
		TemplateVersion: templateVersion,
		SetVersion:      m.setVersion,
		Source:          Place{source.Topic, source.Partition, source.Offset},
		LookupMissing:   []string{},
		CorrelationID:   event.CorrelationID,
	}
}

func (m *mapper) streamEvent(event *LoanTransactionEvent, key, body string) *StreamEvent {
	return &StreamEvent{
		Metadata: StreamEventMetadata{
			EID:         eid(key),
			EventType:   m.eventType,
			OccurredAt:  floorDivide(event.OccurredAt, 1000),
			ContentType: "application/json",
			Category:    "DATA",
		},
		Body:         body,
		TemplateName: templateName,
	}
}

// eid is the uuid of a message's key: its digits, with the bits of version 8 set.
func eid(key string) string {
	variant := hexDigits[hexValue(key[16])&0x3|0x8]
	digits := make([]byte, 0, 36)
	digits = append(digits, key[:8]...)
	digits = append(digits, '-')
	digits = append(digits, key[8:12]...)
	digits = append(digits, '-', '8')
	digits = append(digits, key[13:16]...)
	digits = append(digits, '-', variant)
	digits = append(digits, key[17:20]...)
	digits = append(digits, '-')
	digits = append(digits, key[20:]...)
	return string(digits)
}

func hexValue(digit byte) byte {
	if digit >= 'a' {
		return digit - 'a' + 10
	}
	return digit - '0'
}

// floorDivide divides a time, which may be before 1970, and cuts downwards.
func floorDivide(number, by int64) int64 {
	quotient := number / by
	if number%by < 0 {
		quotient--
	}
	return quotient
}

func pointer(text string) *string { return &text }

// record is an output of a source, in the partition of that.
func (o *output) record(source *kgo.Record, key []byte, value any) (*kgo.Record, error) {
	o.writer.Error = nil
	o.writer.Reset(nil)
	o.writer.Write(o.frame[:])
	o.writer.WriteVal(o.schema, value)
	if o.writer.Error != nil {
		return nil, o.writer.Error
	}
	bytes := append([]byte(nil), o.writer.Buffer()...)
	return &kgo.Record{Topic: o.topic, Partition: source.Partition, Key: key, Value: bytes}, nil
}
