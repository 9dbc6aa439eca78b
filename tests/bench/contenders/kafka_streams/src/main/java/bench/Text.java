package bench;

import java.math.BigDecimal;
import java.math.RoundingMode;
import java.util.HashMap;
import java.util.HexFormat;
import java.util.Map;

/** Values as the template shows them. */
final class Text {
  private static final HexFormat HEX = HexFormat.of();

  /** The currencies whose ISO 4217 minor unit is not 2. */
  private static final Map<String, Integer> CURRENCY_DIGITS = new HashMap<>();

  static {
    digits(0, "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF");
    digits(3, "BHD IQD JOD KWD LYD OMR TND");
    digits(4, "CLF UYW");
  }

  private Text() {}

  private static void digits(int count, String currencies) {
    for (String currency : currencies.split(" ")) {
      CURRENCY_DIGITS.put(currency, count);
    }
  }

  /** Appends an amount with at least the digits of its currency; further ones stay unless zero. */
  static void appendMoney(StringBuilder text, BigDecimal amount, String currency) {
    int digits = CURRENCY_DIGITS.getOrDefault(currency, 2);
    BigDecimal shown = amount.stripTrailingZeros();
    if (shown.scale() < digits) {
      shown = shown.setScale(digits, RoundingMode.UNNECESSARY);
    }
    text.append(shown.toPlainString());
  }

  /** Appends a text as it stands within the quotes of JSON. Only what JSON demands is escaped. */
  static void appendEscaped(StringBuilder escaped, String text) {
    int begin = 0;
    for (int at = 0; at < text.length(); at++) {
      char character = text.charAt(at);
      if (character >= ' ' && character != '"' && character != '\\') {
        continue;
      }
      escaped.append(text, begin, at);
      begin = at + 1;
      switch (character) {
        case '"', '\\' -> escaped.append('\\').append(character);
        case '\n' -> escaped.append("\\n");
        case '\r' -> escaped.append("\\r");
        case '\t' -> escaped.append("\\t");
        case '\b' -> escaped.append("\\b");
        case '\f' -> escaped.append("\\f");
        default -> escaped.append("\\u").append(HEX.toHexDigits(character));
      }
    }
    escaped.append(text, begin, text.length());
  }
}
