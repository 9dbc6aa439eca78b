package bench;

import static java.nio.charset.StandardCharsets.US_ASCII;

import banking.events.LoanTransactionEvent;
import banking.events.common.Account;
import banking.events.common.AccountKind;
import banking.events.common.Transaction;
import communications.Communicationmessage;
import communications.MessageStatus;
import communications.StreamEvent;
import communications.StreamEventMetadata;
import communications.status.Place;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Path;
import java.time.Instant;
import java.util.List;
import org.apache.avro.Schema;
import org.apache.avro.io.BinaryDecoder;
import org.apache.avro.io.DecoderFactory;
import org.apache.avro.specific.SpecificDatumReader;
import org.apache.kafka.streams.processor.api.ContextualProcessor;
import org.apache.kafka.streams.processor.api.Record;
import org.apache.kafka.streams.processor.api.RecordMetadata;

/** From an event to its three outputs, by the one template. */
final class Mapper extends ContextualProcessor<byte[], byte[], byte[], Output> {
  private static final String TEMPLATE_ID = "loan-repayment-stream";
  private static final String TEMPLATE_NAME = "Loan repayments";
  private static final int TEMPLATE_VERSION = 1;

  /** The outputs; each has a sink of its name. */
  enum Sink {
    MESSAGES("BENCH_MESSAGES"),
    STATUS("BENCH_STATUS"),
    STREAM("BENCH_STREAM");

    final String topicVariable;

    Sink(String topicVariable) {
      this.topicVariable = topicVariable;
    }
  }

  /** What a mapper needs to know, once for all. */
  record Settings(
      Schema writtenEvent,
      int messageId,
      int statusId,
      int streamId,
      String tenant,
      String setVersion,
      String stream) {

    static Settings ofEnvironment() throws IOException {
      return new Settings(
          new Schema.Parser().parse(Path.of(Main.setting("BENCH_SCHEMAS"), "event.avsc").toFile()),
          Integer.parseInt(Main.setting("BENCH_MESSAGE_ID")),
          Integer.parseInt(Main.setting("BENCH_STATUS_ID")),
          Integer.parseInt(Main.setting("BENCH_STREAM_ID")),
          Main.setting("BENCH_TENANT"),
          Main.setting("BENCH_SET_VERSION"),
          Main.setting("BENCH_STREAM"));
    }
  }

  private final Settings settings;
  private final SpecificDatumReader<LoanTransactionEvent> reader;
  private final AvroWriter<Communicationmessage> messages;
  private final AvroWriter<MessageStatus> status;
  private final AvroWriter<StreamEvent> stream;
  private final Identity identity = new Identity();
  private final String templateKey;
  private final String eventType;
  private final StringBuilder body = new StringBuilder(512);
  private BinaryDecoder decoder;
  private LoanTransactionEvent used;

  Mapper(Settings settings) {
    this.settings = settings;
    reader =
        new SpecificDatumReader<>(settings.writtenEvent(), LoanTransactionEvent.getClassSchema());
    messages = new AvroWriter<>(Communicationmessage.getClassSchema(), settings.messageId());
    status = new AvroWriter<>(MessageStatus.getClassSchema(), settings.statusId());
    stream = new AvroWriter<>(StreamEvent.getClassSchema(), settings.streamId());
    templateKey = identity.of("template", settings.tenant(), TEMPLATE_ID);
    eventType = "mrn.event." + settings.tenant() + ".streamingapi.loan_repayment";
  }

  @Override
  public void process(Record<byte[], byte[]> record) {
    RecordMetadata source = context().recordMetadata().orElseThrow();
    LoanTransactionEvent event = read(record.value());
    boolean isPositive = event.getTransaction().getAmount().signum() > 0;
    if (event.getAccount().getKind() != AccountKind.LOAN || !isPositive) {
      return; // not the template's target, or its condition is false
    }
    String text = render(event);
    String key = identity.of(settings.tenant(), event.getEventId().toString(), TEMPLATE_ID, "");
    Instant at = Instant.ofEpochMilli(record.timestamp());
    byte[] keyBytes = key.getBytes(US_ASCII);
    int partition = source.partition();
    Output message = new Output(messages.write(message(event, key, text, at)), partition);
    context().forward(record.withKey(keyBytes).withValue(message), Sink.MESSAGES.name());
    Output created = new Output(status.write(status(event, key, at, source)), partition);
    context().forward(record.withKey(keyBytes).withValue(created), Sink.STATUS.name());
    Output streamed = new Output(stream.write(streamEvent(event, key, text)), partition);
    context().forward(record.withValue(streamed), Sink.STREAM.name());
  }

  private LoanTransactionEvent read(byte[] value) {
    if (value.length < AvroWriter.FRAME_BYTES || value[0] != 0) {
      throw new IllegalArgumentException("no frame before the value");
    }
    int length = value.length - AvroWriter.FRAME_BYTES;
    decoder = DecoderFactory.get().binaryDecoder(value, AvroWriter.FRAME_BYTES, length, decoder);
    try {
      used = reader.read(used, decoder);
    } catch (IOException error) {
      throw new UncheckedIOException(error);
    }
    return used;
  }

  private String render(LoanTransactionEvent event) {
    Account account = event.getAccount();
    Transaction transaction = event.getTransaction();
    String currency = transaction.getCurrencyCode();
    body.setLength(0);
    body.append("{\"account\":\"");
    Text.appendEscaped(body, account.getId());
    body.append("\",\"client\":\"");
    if (event.getClient() != null) {
      Text.appendEscaped(body, event.getClient().getFullName());
    }
    body.append("\",\"amount\":\"");
    Text.appendMoney(
        body, transaction.getAmount(), currency == null ? account.getCurrencyCode() : currency);
    body.append("\",\"balance\":\"");
    if (account.getTotalBalance() != null) {
      Text.appendMoney(body, account.getTotalBalance(), account.getCurrencyCode());
    }
    body.append("\",\"currency\":\"");
    Text.appendEscaped(body, account.getCurrencyCode());
    body.append("\",\"date\":\"").append(transaction.getDate()).append("\",\"method\":\"");
    if (transaction.getMethod() != null) {
      Text.appendEscaped(body, transaction.getMethod());
    }
    return body.append("\"}").toString();
  }

  private Communicationmessage message(
      LoanTransactionEvent event, String key, String text, Instant at) {
    Communicationmessage message = new Communicationmessage();
    message.setBody(text);
    if (event.getClient() != null) {
      message.setClientKey(event.getClient().getEncodedKey());
    } else if (event.getGroup() != null) {
      message.setGroupKey(event.getGroup().getEncodedKey());
    }
    message.setCreationDate(at);
    message.setDestination(settings.stream());
    message.setEncodedKey(key);
    message.setEvent(event.getEvent().name());
    message.setLoanAccountKey(event.getAccount().getEncodedKey());
    message.setNumRetries(0);
    message.setRepaymentKey(event.getTransaction().getEncodedKey());
    message.setSendDate(at);
    message.setState(communications.State.SENT);
    message.setTemplateKey(templateKey);
    message.setType(communications.Channel.EVENT_STREAM);
    return message;
  }

  private MessageStatus status(
      LoanTransactionEvent event, String key, Instant at, RecordMetadata source) {
    MessageStatus created = new MessageStatus();
    created.setEncodedKey(key);
    created.setTenant(settings.tenant());
    created.setEvent(event.getEvent().name());
    created.setType(communications.status.Channel.EVENT_STREAM);
    created.setSequence(1);
    created.setFrom(communications.status.State.QUEUED_FOR_STREAM);
    created.setTo(communications.status.State.SENT);
    created.setAt(at);
    created.setNumRetries(0);
    created.setFinal$(true);
    created.setEventId(event.getEventId().toString());
    created.setTemplateId(TEMPLATE_ID);
    created.setTemplateVersion(TEMPLATE_VERSION);
    created.setSetVersion(settings.setVersion());
    created.setSource(new Place(source.topic(), source.partition(), source.offset()));
    created.setLookupMissing(List.of());
    created.setCorrelationId(event.getCorrelationId());
    return created;
  }

  private StreamEvent streamEvent(LoanTransactionEvent event, String key, String text) {
    StreamEventMetadata metadata =
        new StreamEventMetadata(
            Identity.eid(key), eventType, event.getOccurredAt(), "application/json", "DATA");
    return new StreamEvent(metadata, text, TEMPLATE_NAME);
  }
}
