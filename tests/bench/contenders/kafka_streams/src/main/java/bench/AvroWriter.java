package bench;

import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.ByteBuffer;
import org.apache.avro.Schema;
import org.apache.avro.io.BinaryEncoder;
import org.apache.avro.io.EncoderFactory;
import org.apache.avro.specific.SpecificDatumWriter;
import org.apache.avro.specific.SpecificRecord;

/** Writes framed values of one schema. Not thread-safe: its buffers are used again. */
final class AvroWriter<T extends SpecificRecord> {
  static final int FRAME_BYTES = 5; // 0, and the id of the schema

  private final byte[] frame;
  private final SpecificDatumWriter<T> writer;
  private final ByteArrayOutputStream stream = new ByteArrayOutputStream(1024);
  private BinaryEncoder encoder;

  AvroWriter(Schema schema, int id) {
    frame = ByteBuffer.allocate(FRAME_BYTES).put((byte) 0).putInt(id).array();
    writer = new SpecificDatumWriter<>(schema);
  }

  byte[] write(T value) {
    stream.reset();
    stream.writeBytes(frame);
    encoder = EncoderFactory.get().binaryEncoder(stream, encoder);
    try {
      writer.write(value, encoder);
      encoder.flush();
    } catch (IOException error) {
      throw new UncheckedIOException(error);
    }
    return stream.toByteArray();
  }
}
