import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.List;
import java.util.Locale;
import java.util.Random;
import org.apache.hadoop.hbase.HBaseConfiguration;
import org.apache.hadoop.hbase.TableName;
import org.apache.hadoop.hbase.client.Admin;
import org.apache.hadoop.hbase.client.ColumnFamilyDescriptorBuilder;
import org.apache.hadoop.hbase.client.CompactionState;
import org.apache.hadoop.hbase.client.Connection;
import org.apache.hadoop.hbase.client.ConnectionFactory;
import org.apache.hadoop.hbase.client.Get;
import org.apache.hadoop.hbase.client.Put;
import org.apache.hadoop.hbase.client.Result;
import org.apache.hadoop.hbase.client.ResultScanner;
import org.apache.hadoop.hbase.client.Scan;
import org.apache.hadoop.hbase.client.Table;
import org.apache.hadoop.hbase.client.TableDescriptorBuilder;

/**
 * One client of HBase, driven by lines on its standard input.
 *
 * <pre>
 * java HBaseBench prepare ROWS         make the tables, load ROWS rows, flush, compact
 * java HBaseBench fresh                make the table for writes anew
 * java HBaseBench WORK CLIENT ROWS WARM_UP_S WARM_UP_OPS
 * </pre>
 *
 * The last form connects, warms up, prints {@code ready}, and then answers every {@code go SECONDS} with one
 * JSON line {@code {work, ops, seconds, p50_us, p99_us}}; it ends with its input. The same protocol, keys and rows
 * as benchmarks/network/worker.py and data.py.
 */
public final class HBaseBench {
  static final byte[] FAMILY = bytes("cf");
  static final byte[] COUNTER = bytes("n");
  static final int CELLS = 10;
  static final int BATCH = 100;
  static final int SCAN_CALL = 1000;
  static final int POOL = 2000;
  static final int COUNTERS = 1000;
  static final long KEYS_PER_CLIENT = 20_000_000L;
  static final TableName READ = TableName.valueOf("bench_read");
  static final TableName WRITE = TableName.valueOf("bench_write");

  final byte[][] qualifiers = new byte[CELLS][];
  final byte[][][] pool = new byte[POOL][][];
  final Random random;
  final long rows;
  final long client;
  long written;

  HBaseBench(long client, long rows) {
    this.client = client;
    this.rows = rows;
    this.random = new Random(20020327L + client);
    byte[] payload = new byte[1 << 20];
    new Random(20020327L).nextBytes(payload);
    for (int i = 0; i < CELLS; i++) qualifiers[i] = bytes(String.format("c%02d", i));
    for (int n = 0; n < POOL; n++) {
      pool[n] = new byte[CELLS][];
      for (int i = 0; i < CELLS; i++) {
        byte[] value = Arrays.copyOf(Arrays.copyOfRange(payload, offset(n, i), offset(n, i) + 50), 100);
        System.arraycopy(bytes(String.format("%050d", n)), 0, value, 50, 50);
        pool[n][i] = value;
      }
    }
  }

  static int offset(int n, int i) {
    return (n * 37 + i * 11) % ((1 << 20) - 50);
  }

  static byte[] bytes(String text) {
    return text.getBytes(StandardCharsets.US_ASCII);
  }

  static byte[] key(long number) {
    byte[] digits = new byte[16];
    long left = number * 2654435761L % 1_000_000_000_000_000L;
    for (int i = 15; i >= 0; i--, left /= 10) digits[i] = (byte) ('0' + left % 10);
    return digits;
  }

  byte[] randomKey() {
    return key((long) (random.nextDouble() * rows));
  }

  Put put(long number) {
    byte[][] values = pool[(int) (number % POOL)];
    Put put = new Put(key(number));
    for (int i = 0; i < CELLS; i++) put.addColumn(FAMILY, qualifiers[i], values[i]);
    return put;
  }

  long nextNumber() {
    return (client + 1) * KEYS_PER_CLIENT + written++;
  }

  /** Something to repeat; returns how many operations (rows, for works that count rows) one call was. */
  interface Op extends AutoCloseable {
    int run() throws Exception;

    default void close() {}
  }

  Op work(String name, Table read, Table write) {
    switch (name) {
      case "batch_put":
        return () -> {
          List<Put> puts = new ArrayList<>(BATCH);
          for (int i = 0; i < BATCH; i++) puts.add(put(nextNumber()));
          write.put(puts);
          return BATCH;
        };
      case "single_put":
        return () -> {
          write.put(put(nextNumber()));
          return 1;
        };
      case "get":
        return () -> {
          expect(read.get(new Get(randomKey())).size(), CELLS);
          return 1;
        };
      case "multi_get":
        return () -> {
          List<byte[]> keys = new ArrayList<>(BATCH);
          for (int i = 0; i < BATCH; i++) keys.add(randomKey());
          Collections.sort(keys, Arrays::compareUnsigned);
          List<Get> gets = new ArrayList<>(BATCH);
          for (byte[] key : keys) gets.add(new Get(key));
          for (Result result : read.get(gets)) expect(result.size(), CELLS);
          return BATCH;
        };
      case "full_scan":
        return new FullScan(read);
      case "scan_100":
        return () -> {
          Scan scan = new Scan().withStartRow(randomKey()).setLimit(BATCH).setCaching(BATCH)
              .setReadType(Scan.ReadType.PREAD);
          int seen = 0;
          try (ResultScanner scanner = read.getScanner(scan)) {
            for (Result result : scanner) {
              expect(result.size(), CELLS);
              seen++;
            }
          }
          if (seen > BATCH) throw new IllegalStateException("more rows than the limit: " + seen);
          return 1;
        };
      case "increment":
        return () -> {
          write.incrementColumnValue(key(random.nextInt(COUNTERS)), FAMILY, COUNTER, 1);
          return 1;
        };
      default:
        throw new IllegalArgumentException("no work " + name);
    }
  }

  static void expect(int found, int wanted) {
    if (found != wanted) throw new IllegalStateException("a row of " + found + " cells instead of " + wanted);
  }

  /** Rows of the whole table, again and again; the scanner's defaults (2 MB an answer) are what the manual advises. */
  static final class FullScan implements Op {
    final Table table;
    ResultScanner scanner;

    FullScan(Table table) {
      this.table = table;
    }

    @Override
    public int run() throws Exception {
      if (scanner == null) scanner = table.getScanner(new Scan());
      for (int i = 0; i < SCAN_CALL; i++) {
        Result result = scanner.next();
        if (result == null) {
          scanner.close();
          scanner = null;
          return i;
        }
        expect(result.size(), CELLS);
      }
      return SCAN_CALL;
    }

    @Override
    public void close() {
      if (scanner != null) scanner.close();
    }
  }

  /** Repeats the work until both the time and the operations are reached; then the figures of what it did. */
  static String measure(String name, Op op, double seconds, long minimumOps) throws Exception {
    long[] samples = new long[1 << 16];
    int count = 0;
    long ops = 0;
    long begin = System.nanoTime();
    long end = begin + (long) (seconds * 1e9);
    long now = begin;
    while (now < end || ops < minimumOps) {
      ops += op.run();
      long after = System.nanoTime();
      if (count == samples.length) samples = Arrays.copyOf(samples, count * 2);
      samples[count++] = after - now;
      now = after;
    }
    long[] sorted = Arrays.copyOf(samples, count);
    Arrays.sort(sorted);
    return String.format(Locale.ROOT,
        "{\"work\": \"%s\", \"ops\": %d, \"seconds\": %.6f, \"p50_us\": %.1f, \"p99_us\": %.1f}",
        name, ops, (now - begin) / 1e9, sorted[count / 2] / 1e3, sorted[Math.min(count - 1, count * 99 / 100)] / 1e3);
  }

  static void recreate(Admin admin, TableName name) throws Exception {
    if (admin.tableExists(name)) {
      if (admin.isTableEnabled(name)) admin.disableTable(name);
      admin.deleteTable(name);
    }
    admin.createTable(TableDescriptorBuilder.newBuilder(name)
        .setColumnFamily(ColumnFamilyDescriptorBuilder.newBuilder(FAMILY).setMaxVersions(1).build()).build());
  }

  static void prepare(Connection connection, long rows) throws Exception {
    HBaseBench bench = new HBaseBench(0, rows);
    try (Admin admin = connection.getAdmin(); Table table = connection.getTable(READ)) {
      recreate(admin, WRITE);
      recreate(admin, READ);
      for (long begin = 0; begin < rows; begin += BATCH) {
        List<Put> puts = new ArrayList<>(BATCH);
        for (long n = begin; n < Math.min(rows, begin + BATCH); n++) puts.add(bench.put(n));
        table.put(puts);
      }
      admin.flush(READ);
      admin.majorCompact(READ);
      do Thread.sleep(1000);
      while (admin.getCompactionState(READ) != CompactionState.NONE);
    }
  }

  public static void main(String[] arguments) throws Exception {
    try (Connection connection = ConnectionFactory.createConnection(HBaseConfiguration.create())) {
      if (arguments[0].equals("prepare")) {
        prepare(connection, Long.parseLong(arguments[1]));
        return;
      }
      if (arguments[0].equals("fresh")) {
        try (Admin admin = connection.getAdmin()) {
          recreate(admin, WRITE);
        }
        return;
      }
      String name = arguments[0];
      HBaseBench bench = new HBaseBench(Long.parseLong(arguments[1]), Long.parseLong(arguments[2]));
      try (Table read = connection.getTable(READ); Table write = connection.getTable(WRITE)) {
        try (Op op = bench.work(name, read, write)) {
          measure(name, op, Double.parseDouble(arguments[3]), Long.parseLong(arguments[4]));
        }
        System.out.println("ready");
        BufferedReader commands = new BufferedReader(new InputStreamReader(System.in));
        for (String line = commands.readLine(); line != null; line = commands.readLine()) {
          String[] words = line.trim().split(" ");
          if (!words[0].equals("go")) throw new IllegalArgumentException("no command " + line);
          try (Op op = bench.work(name, read, write)) {
            System.out.println(measure(name, op, Double.parseDouble(words[1]), 0));
          }
        }
      }
    }
  }
}
