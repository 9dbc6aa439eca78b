import java.io.File;
import java.util.Arrays;
import java.util.List;
import org.apache.avro.Schema;
import org.apache.avro.SchemaParser;
import org.apache.avro.compiler.specific.SpecificCompiler;
import org.apache.avro.generic.GenericData.StringType;

/** Arguments: tools or plugin, folder to write to, whether decimals are BigDecimal, files in their order. */
public class Generate {
  public static void main(String[] given) throws Exception {
    File folder = new File(given[1]);
    List<File> files = Arrays.stream(given).skip(3).map(File::new).toList();
    if (given[0].equals("tools")) { // as `avro-tools compile schema` of 1.8 to 1.12: each file knows those before it
      Schema.Parser parser = new Schema.Parser();
      for (File file : files) {
        write(new SpecificCompiler(parser.parse(file)), folder, given[2]);
      }
    } else { // as avro-maven-plugin from 1.12 on: all files know each other
      SchemaParser parser = new SchemaParser();
      for (File file : files) {
        parser.parse(file);
      }
      write(new SpecificCompiler(parser.getParsedNamedSchemas()), folder, given[2]);
    }
  }

  private static void write(SpecificCompiler compiler, File folder, String bigDecimals) throws Exception {
    compiler.setStringType(StringType.String);
    compiler.setEnableDecimalLogicalType(Boolean.parseBoolean(bigDecimals));
    compiler.compileToDestination(null, folder);
  }
}
