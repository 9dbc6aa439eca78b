package bench;

import static java.nio.charset.StandardCharsets.UTF_8;

import java.util.HexFormat;
import java.util.UUID;
import org.bouncycastle.crypto.digests.Blake2bDigest;

/** Identities that every run gives again. Not thread-safe: the digest is used again. */
final class Identity {
  private static final byte SEPARATOR = 0x1f;
  private static final int BITS = 128;
  private static final HexFormat HEX = HexFormat.of();

  private final Blake2bDigest digest = new Blake2bDigest(BITS);
  private final byte[] sum = new byte[BITS / 8];

  /** The digest of the parts, as hexadecimal digits. */
  String of(String... parts) {
    for (int number = 0; number < parts.length; number++) {
      if (number > 0) {
        digest.update(SEPARATOR);
      }
      byte[] bytes = parts[number].getBytes(UTF_8);
      digest.update(bytes, 0, bytes.length);
    }
    digest.doFinal(sum, 0); // and begins anew
    return HEX.formatHex(sum);
  }

  /**
   * A stream event's id: the digits of its message's key, with the bits of a version 8 uuid set.
   */
  static UUID eid(String key) {
    long high = HexFormat.fromHexDigitsToLong(key, 0, 16);
    long low = HexFormat.fromHexDigitsToLong(key, 16, 32);
    return new UUID(high & ~0xf000L | 0x8000L, low & ~(0xc0L << 56) | 0x80L << 56);
  }
}
