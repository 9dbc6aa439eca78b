import communications.Channel;
import communications.Communicationmessage;
import communications.MessageStatus;
import communications.status.State;
import java.math.BigDecimal;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Instant;
import org.apache.avro.Schema;
import org.apache.avro.io.DecoderFactory;
import org.apache.avro.specific.SpecificData;
import org.apache.avro.specific.SpecificDatumReader;

/** A consumer with generated classes. Arguments: class and file of a framed value, any number; a line of JSON for each. */
public class Read {
  public static void main(String[] given) throws Exception {
    for (int at = 0; at < given.length; at += 2) {
      Schema schema = SpecificData.get().getSchema(Class.forName(given[at]));
      byte[] value = Files.readAllBytes(Path.of(given[at + 1]));
      var decoder = DecoderFactory.get().binaryDecoder(value, 5, value.length - 5, null);
      System.out.println(new SpecificDatumReader<>(schema).read(null, decoder));
    }
  }

  /** Never called: that it compiles is the claim. Names that two packages have can be used side by side. */
  static boolean sent(Communicationmessage message, MessageStatus status, banking.events.LoanTransactionEvent event) {
    Channel channel = message.getType();
    communications.status.Channel told = status.getType();
    communications.status.Place source = status.getSource();
    Instant occurredAt = event.getOccurredAt();
    BigDecimal amount = event.getTransaction().getAmount();
    return channel.name().equals(told.name())
        && status.getTo() == State.SENT
        && source.getOffset() >= 0
        && occurredAt.isBefore(status.getAt())
        && amount.signum() > 0;
  }
}
