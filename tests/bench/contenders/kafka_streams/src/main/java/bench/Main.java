package bench;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import java.util.Optional;
import java.util.Properties;
import java.util.Set;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.stream.IntStream;
import org.apache.kafka.clients.consumer.ConsumerConfig;
import org.apache.kafka.clients.producer.ProducerConfig;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;
import org.apache.kafka.common.serialization.Serializer;
import org.apache.kafka.streams.CloseOptions;
import org.apache.kafka.streams.CloseOptions.GroupMembershipOperation;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.StreamsConfig;
import org.apache.kafka.streams.Topology;
import org.apache.kafka.streams.errors.StreamsUncaughtExceptionHandler.StreamThreadExceptionResponse;
import org.apache.kafka.streams.processor.StreamPartitioner;

/**
 * A contender of the bench: the one template in Java, exactly once, as Kafka Streams does it best.
 *
 * <p>Its settings are the environment variables BENCH_…; it runs until SIGTERM and prints nothing
 * but errors.
 */
public final class Main {
  private static final Duration CLOSE_TIMEOUT = Duration.ofSeconds(10);
  private static final int MAX_PARTITIONS = 1_000;

  private Main() {}

  public static void main(String[] arguments) throws IOException {
    Path state = Files.createTempDirectory("bench-kafka-streams");
    AtomicBoolean failed = new AtomicBoolean();
    KafkaStreams streams = new KafkaStreams(topology(), properties(state));
    streams.setUncaughtExceptionHandler(
        error -> {
          error.printStackTrace();
          failed.set(true);
          new Thread(() -> System.exit(1)).start();
          return StreamThreadExceptionResponse.SHUTDOWN_CLIENT;
        });
    Runtime.getRuntime()
        .addShutdownHook(
            new Thread(
                () -> {
                  streams.close(
                      CloseOptions.timeout(CLOSE_TIMEOUT)
                          .withGroupMembershipOperation(GroupMembershipOperation.LEAVE_GROUP));
                  delete(state);
                  Runtime.getRuntime().halt(failed.get() ? 1 : 0); // else SIGTERM would be 143
                }));
    streams.start();
  }

  private static Topology topology() throws IOException {
    Mapper.Settings settings = Mapper.Settings.ofEnvironment();
    Serializer<Output> bytes = (topic, output) -> output.bytes();
    List<Optional<Set<Integer>>> partitions =
        IntStream.range(0, MAX_PARTITIONS).mapToObj(Set::of).map(Optional::of).toList();
    StreamPartitioner<byte[], Output> ofSource =
        (topic, key, output, count) -> partitions.get(output.partition());
    Topology topology = new Topology();
    topology.addSource(
        "events",
        new ByteArrayDeserializer(),
        new ByteArrayDeserializer(),
        setting("BENCH_EVENTS"));
    topology.addProcessor("mapper", () -> new Mapper(settings), "events");
    for (Mapper.Sink sink : Mapper.Sink.values()) {
      String topic = setting(sink.topicVariable);
      topology.addSink(sink.name(), topic, new ByteArraySerializer(), bytes, ofSource, "mapper");
    }
    return topology;
  }

  private static Properties properties(Path state) {
    Properties properties = new Properties();
    properties.put(StreamsConfig.APPLICATION_ID_CONFIG, setting("BENCH_GROUP"));
    properties.put(StreamsConfig.BOOTSTRAP_SERVERS_CONFIG, setting("BENCH_BOOTSTRAP"));
    properties.put(StreamsConfig.PROCESSING_GUARANTEE_CONFIG, StreamsConfig.EXACTLY_ONCE_V2);
    properties.put(StreamsConfig.COMMIT_INTERVAL_MS_CONFIG, setting("BENCH_COMMIT_MS"));
    properties.put(StreamsConfig.NUM_STREAM_THREADS_CONFIG, 1);
    properties.put(StreamsConfig.BUFFERED_RECORDS_PER_PARTITION_CONFIG, setting("BENCH_BATCH"));
    properties.put(StreamsConfig.STATE_DIR_CONFIG, state.toString());
    properties.put(ConsumerConfig.AUTO_OFFSET_RESET_CONFIG, "earliest");
    properties.put(ConsumerConfig.MAX_POLL_RECORDS_CONFIG, setting("BENCH_BATCH"));
    properties.put(ConsumerConfig.FETCH_MAX_WAIT_MS_CONFIG, setting("BENCH_FETCH_WAIT_MS"));
    properties.put(ProducerConfig.BATCH_SIZE_CONFIG, 256 * 1024);
    properties.put(ProducerConfig.LINGER_MS_CONFIG, 5);
    properties.put(ProducerConfig.COMPRESSION_TYPE_CONFIG, "lz4");
    return properties;
  }

  static String setting(String name) {
    String value = System.getenv(name);
    if (value == null || value.isEmpty()) {
      throw new IllegalStateException(name + " is not set");
    }
    return value;
  }

  private static void delete(Path folder) {
    try (var files = Files.walk(folder)) {
      files.sorted((one, other) -> other.compareTo(one)).forEach(file -> file.toFile().delete());
    } catch (IOException error) {
      error.printStackTrace();
    }
  }
}
