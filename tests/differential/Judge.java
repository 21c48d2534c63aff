// The judge of the differential test: a real HBase, asked through its own Java client.
//
// Reads one JSON operation per line on stdin, writes one JSON answer per line on stdout; README.md lists
// both. Bytes (rows, qualifiers, values) travel as hex, family names and filter strings as plain text.
//
//   javac -cp 'DIR/lib/*' -d OUT Judge.java
//   java -cp 'OUT:DIR/lib/*' Judge [zookeeper host]

import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.hbase.Cell;
import org.apache.hadoop.hbase.CellUtil;
import org.apache.hadoop.hbase.CompareOperator;
import org.apache.hadoop.hbase.HBaseConfiguration;
import org.apache.hadoop.hbase.HConstants;
import org.apache.hadoop.hbase.KeepDeletedCells;
import org.apache.hadoop.hbase.TableName;
import org.apache.hadoop.hbase.client.Admin;
import org.apache.hadoop.hbase.client.Append;
import org.apache.hadoop.hbase.client.CheckAndMutate;
import org.apache.hadoop.hbase.client.CheckAndMutateResult;
import org.apache.hadoop.hbase.client.ColumnFamilyDescriptorBuilder;
import org.apache.hadoop.hbase.client.CompactionState;
import org.apache.hadoop.hbase.client.Connection;
import org.apache.hadoop.hbase.client.ConnectionFactory;
import org.apache.hadoop.hbase.client.Delete;
import org.apache.hadoop.hbase.client.Get;
import org.apache.hadoop.hbase.client.Increment;
import org.apache.hadoop.hbase.client.Mutation;
import org.apache.hadoop.hbase.client.Put;
import org.apache.hadoop.hbase.client.RegionInfo;
import org.apache.hadoop.hbase.client.Result;
import org.apache.hadoop.hbase.client.ResultScanner;
import org.apache.hadoop.hbase.client.RetriesExhaustedException;
import org.apache.hadoop.hbase.client.RetriesExhaustedWithDetailsException;
import org.apache.hadoop.hbase.client.Row;
import org.apache.hadoop.hbase.client.RowMutations;
import org.apache.hadoop.hbase.client.Scan;
import org.apache.hadoop.hbase.client.Table;
import org.apache.hadoop.hbase.client.TableDescriptorBuilder;
import org.apache.hadoop.hbase.filter.Filter;
import org.apache.hadoop.hbase.filter.ParseFilter;
import org.apache.hadoop.hbase.io.TimeRange;
import org.apache.hadoop.hbase.regionserver.BloomType;
import org.apache.hadoop.hbase.util.Bytes;
import org.apache.hbase.thirdparty.com.google.gson.JsonArray;
import org.apache.hbase.thirdparty.com.google.gson.JsonElement;
import org.apache.hbase.thirdparty.com.google.gson.JsonNull;
import org.apache.hbase.thirdparty.com.google.gson.JsonObject;
import org.apache.hbase.thirdparty.com.google.gson.JsonParser;
import org.apache.hbase.thirdparty.com.google.gson.JsonPrimitive;

public final class Judge {
  private final Connection connection;
  private final Admin admin;
  private final Set<TableName> minorCompactions = new HashSet<>();

  private Judge(Connection connection) throws IOException {
    this.connection = connection;
    this.admin = connection.getAdmin();
  }

  public static void main(String[] arguments) throws Exception {
    PrintStream out = new PrintStream(System.out, false, "UTF-8");
    System.setOut(System.err);  // whatever a library prints must not mix with the answers
    Configuration conf = HBaseConfiguration.create();
    conf.set("hbase.zookeeper.quorum", arguments.length > 0 ? arguments[0] : "localhost");
    // A wrong request must fail soon; a region that has just split needs a few tries.
    conf.setInt("hbase.client.retries.number", 4);
    conf.setInt("hbase.client.pause", 40);
    // Some reads never end on the server (see README.md): give them up, the caller goes on elsewhere.
    conf.setInt("hbase.rpc.timeout", 4000);
    conf.setInt("hbase.client.scanner.timeout.period", 4000);
    conf.setInt("hbase.client.operation.timeout", 8000);
    conf.setInt("hbase.client.meta.operation.timeout", 20000);
    try (Connection connection = ConnectionFactory.createConnection(conf)) {
      Judge judge = new Judge(connection);
      BufferedReader in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
      for (String line = in.readLine(); line != null; line = in.readLine()) {
        if (line.isEmpty()) continue;
        JsonObject answer;
        try {
          answer = judge.run(JsonParser.parseString(line).getAsJsonObject());
        } catch (Throwable problem) {
          answer = error(problem);
        }
        out.println(answer);
        out.flush();
      }
    }
  }

  // ---- operations

  private JsonObject run(JsonObject op) throws Exception {
    TableName name = TableName.valueOf(op.get("table").getAsString());
    switch (op.get("op").getAsString()) {
      case "create_table": createTable(name, op); return ok();
      case "drop": admin.disableTable(name); admin.deleteTable(name); return ok();
      case "flush": admin.flush(name); compact(name); return ok();
      case "compact": compact(name); return ok();
      case "major_compact": majorCompact(name); return ok();
      case "split": split(name, hex(op.get("key"))); return ok();
      default:
    }
    try (Table table = connection.getTable(name)) {
      switch (op.get("op").getAsString()) {
        case "put": table.put(put(op)); return ok();
        case "delete": table.delete(delete(op)); return ok();
        case "get": return results(table.get(get(op)));
        case "exists": return with("exists", new JsonPrimitive(table.exists(get(op))));
        case "scan": return scan(table, op);
        case "increment": return results(table.increment(increment(op)));
        case "append": return results(table.append(append(op)));
        case "mutate_row": return results(table.mutateRow(rowMutations(op)));
        case "check_and_mutate": return outcome(table.checkAndMutate(checkAndMutate(op)));
        case "batch": return batch(table, op);
        default: throw new IllegalArgumentException("unknown op " + op);
      }
    }
  }

  private void createTable(TableName name, JsonObject op) throws IOException {
    TableDescriptorBuilder table = TableDescriptorBuilder.newBuilder(name);
    // Nothing is compacted but on request, so that both sides hold the same files: the store's own check
    // runs every 10 s times this factor.
    if (op.get("minor_compactions").getAsBoolean()) minorCompactions.add(name);
    table.setValue("hbase.server.compactchecker.interval.multiplier", "1000000");
    for (JsonElement element : op.getAsJsonArray("families")) {
      JsonObject family = element.getAsJsonObject();
      ColumnFamilyDescriptorBuilder builder =
          ColumnFamilyDescriptorBuilder.newBuilder(Bytes.toBytes(family.get("name").getAsString()));
      for (Map.Entry<String, JsonElement> attribute : family.entrySet()) {
        String value = attribute.getValue().getAsString();
        switch (attribute.getKey()) {
          case "name": break;
          case "VERSIONS": builder.setMaxVersions(Integer.parseInt(value)); break;
          case "MIN_VERSIONS": builder.setMinVersions(Integer.parseInt(value)); break;
          case "TTL": builder.setTimeToLive(Integer.parseInt(value)); break;
          case "KEEP_DELETED_CELLS": builder.setKeepDeletedCells(KeepDeletedCells.valueOf(value)); break;
          case "NEW_VERSION_BEHAVIOR": builder.setNewVersionBehavior(Boolean.parseBoolean(value)); break;
          case "BLOOMFILTER": builder.setBloomFilterType(BloomType.valueOf(value)); break;
          default: throw new IllegalArgumentException("unknown family attribute " + attribute.getKey());
        }
      }
      table.setColumnFamily(builder.build());
    }
    JsonArray splits = op.getAsJsonArray("splits");
    if (splits == null || splits.size() == 0) {
      admin.createTable(table.build());
      return;
    }
    byte[][] keys = new byte[splits.size()][];
    for (int i = 0; i < keys.length; i++) keys[i] = hex(splits.get(i));
    admin.createTable(table.build(), keys);
  }

  /** What a store does by itself after a flush, but done when this returns. */
  private void compact(TableName name) throws Exception {
    if (!minorCompactions.contains(name)) return;
    admin.compact(name);
    awaitCompaction(name);
  }

  private void majorCompact(TableName name) throws Exception {
    admin.flush(name);
    admin.majorCompact(name);
    awaitCompaction(name);
  }

  /** The request marks its stores as compacting before it is answered, so an idle table is a done one. */
  private void awaitCompaction(TableName name) throws Exception {
    for (int tries = 0; tries < 3000; tries++) {
      if (admin.getCompactionState(name) == CompactionState.NONE) return;
      Thread.sleep(10);
    }
    throw new IOException("compaction of " + name + " did not end within 30 s");
  }

  /** Rewrites the table before and after, for daughters compact by themselves at a moment nobody chose. */
  private void split(TableName name, byte[] key) throws Exception {
    majorCompact(name);
    for (RegionInfo region : admin.getRegions(name)) {
      if (region.containsRow(key)) {
        admin.splitRegionAsync(region.getRegionName(), key).get();
        break;
      }
    }
    Thread.sleep(500);
    awaitCompaction(name);
    majorCompact(name);
  }

  private JsonObject scan(Table table, JsonObject op) throws Exception {
    List<Result> rows = new ArrayList<>();
    try (ResultScanner scanner = table.getScanner(scanOf(op))) {
      for (Result row : scanner) rows.add(row);
    }
    return results(rows.toArray(new Result[0]));
  }

  private JsonObject batch(Table table, JsonObject op) throws Exception {
    List<Row> actions = new ArrayList<>();
    for (JsonElement element : op.getAsJsonArray("actions")) actions.add(action(element.getAsJsonObject()));
    Object[] outcomes = new Object[actions.size()];
    try {
      table.batch(actions, outcomes);
    } catch (RetriesExhaustedWithDetailsException partly) {
      // The failures stand in `outcomes`, each at its action's place.
    }
    JsonArray answers = new JsonArray();
    for (Object outcome : outcomes) {
      if (outcome instanceof Throwable) answers.add(error((Throwable) outcome));
      else if (outcome instanceof CheckAndMutateResult) answers.add(outcome((CheckAndMutateResult) outcome));
      else answers.add(results((Result) outcome));
    }
    return with("outcomes", answers);
  }

  // ---- building requests

  private static Row action(JsonObject op) throws Exception {
    switch (op.get("op").getAsString()) {
      case "get": return get(op);
      case "mutate_row": return rowMutations(op);
      case "check_and_mutate": return checkAndMutate(op);
      default: return mutation(op);
    }
  }

  private static Mutation mutation(JsonObject op) throws IOException {
    switch (op.get("op").getAsString()) {
      case "put": return put(op);
      case "delete": return delete(op);
      case "increment": return increment(op);
      case "append": return append(op);
      default: throw new IllegalArgumentException("unknown mutation " + op);
    }
  }

  private static Put put(JsonObject op) {
    Put put = has(op, "ts") ? new Put(hex(op.get("row")), op.get("ts").getAsLong()) : new Put(hex(op.get("row")));
    for (JsonElement element : op.getAsJsonArray("cells")) {
      JsonArray cell = element.getAsJsonArray();
      byte[] family = text(cell.get(0));
      if (cell.get(2).isJsonNull()) put.addColumn(family, hex(cell.get(1)), hex(cell.get(3)));
      else put.addColumn(family, hex(cell.get(1)), cell.get(2).getAsLong(), hex(cell.get(3)));
    }
    if (has(op, "ttl")) put.setTTL(op.get("ttl").getAsLong());
    return put;
  }

  private static Delete delete(JsonObject op) throws IOException {
    Delete delete =
        has(op, "ts") ? new Delete(hex(op.get("row")), op.get("ts").getAsLong()) : new Delete(hex(op.get("row")));
    for (JsonElement element : op.getAsJsonArray("markers")) {
      JsonArray marker = element.getAsJsonArray();
      byte[] family = text(marker.get(1));
      byte[] qualifier = marker.get(2).isJsonNull() ? null : hex(marker.get(2));
      boolean stamped = !marker.get(3).isJsonNull();
      long stamp = stamped ? marker.get(3).getAsLong() : 0;
      switch (marker.get(0).getAsString()) {
        case "column":
          if (stamped) delete.addColumn(family, qualifier, stamp); else delete.addColumn(family, qualifier);
          break;
        case "columns":
          if (stamped) delete.addColumns(family, qualifier, stamp); else delete.addColumns(family, qualifier);
          break;
        case "family":
          if (stamped) delete.addFamily(family, stamp); else delete.addFamily(family);
          break;
        case "family_version": delete.addFamilyVersion(family, stamp); break;
        default: throw new IllegalArgumentException("unknown marker " + marker);
      }
    }
    return delete;
  }

  private static Increment increment(JsonObject op) throws IOException {
    Increment increment = new Increment(hex(op.get("row")));
    for (JsonElement element : op.getAsJsonArray("amounts")) {
      JsonArray amount = element.getAsJsonArray();
      increment.addColumn(text(amount.get(0)), hex(amount.get(1)), amount.get(2).getAsLong());
    }
    TimeRange range = range(op, "time_range");
    if (range != null) increment.setTimeRange(range.getMin(), range.getMax());
    return increment;
  }

  private static Append append(JsonObject op) {
    Append append = new Append(hex(op.get("row")));
    for (JsonElement element : op.getAsJsonArray("cells")) {
      JsonArray cell = element.getAsJsonArray();
      append.addColumn(text(cell.get(0)), hex(cell.get(1)), hex(cell.get(2)));
    }
    TimeRange range = range(op, "time_range");
    if (range != null) append.setTimeRange(range.getMin(), range.getMax());
    return append;
  }

  private static RowMutations rowMutations(JsonObject op) throws IOException {
    RowMutations mutations = new RowMutations(hex(op.get("row")));
    for (JsonElement element : op.getAsJsonArray("mutations")) mutations.add(mutation(element.getAsJsonObject()));
    return mutations;
  }

  private static CheckAndMutate checkAndMutate(JsonObject op) throws Exception {
    CheckAndMutate.Builder builder = CheckAndMutate.newBuilder(hex(op.get("row")));
    if (has(op, "filter")) {
      builder.ifMatches(filter(op));
    } else {
      JsonArray column = op.getAsJsonArray("column");
      byte[] value = op.get("value").isJsonNull() ? null : hex(op.get("value"));
      if (!has(op, "compare")) builder.ifNotExists(text(column.get(0)), hex(column.get(1)));
      else builder.ifMatches(text(column.get(0)), hex(column.get(1)), operator(op.get("compare")), value);
    }
    TimeRange range = range(op, "time_range");
    if (range != null) builder.timeRange(range);
    JsonObject action = op.getAsJsonObject("action");
    switch (action.get("op").getAsString()) {
      case "put": return builder.build(put(action));
      case "delete": return builder.build(delete(action));
      case "increment": return builder.build(increment(action));
      case "append": return builder.build(append(action));
      default: return builder.build(rowMutations(action));
    }
  }

  private static CompareOperator operator(JsonElement symbol) {
    switch (symbol.getAsString()) {
      case "<": return CompareOperator.LESS;
      case "<=": return CompareOperator.LESS_OR_EQUAL;
      case "=": return CompareOperator.EQUAL;
      case "!=": return CompareOperator.NOT_EQUAL;
      case ">=": return CompareOperator.GREATER_OR_EQUAL;
      case ">": return CompareOperator.GREATER;
      default: throw new IllegalArgumentException("unknown operator " + symbol);
    }
  }

  private static Filter filter(JsonObject op) throws Exception {
    return new ParseFilter().parseFilterString(op.get("filter").getAsString());
  }

  private static Get get(JsonObject op) throws Exception {
    Get get = new Get(hex(op.get("row")));
    if (has(op, "columns")) {
      for (JsonElement element : op.getAsJsonArray("columns")) {
        JsonArray column = element.getAsJsonArray();
        if (column.get(1).isJsonNull()) get.addFamily(text(column.get(0)));
        else get.addColumn(text(column.get(0)), hex(column.get(1)));
      }
    }
    if (has(op, "versions")) {
      if (all(op)) get.readAllVersions(); else get.readVersions(op.get("versions").getAsInt());
    }
    if (has(op, "timestamp")) get.setTimestamp(op.get("timestamp").getAsLong());
    TimeRange range = range(op, "time_range");
    if (range != null) get.setTimeRange(range.getMin(), range.getMax());
    if (has(op, "family_time_ranges")) {
      JsonObject ranges = op.getAsJsonObject("family_time_ranges");
      for (String family : ranges.keySet()) {
        TimeRange own = range(ranges, family);
        get.setColumnFamilyTimeRange(Bytes.toBytes(family), own.getMin(), own.getMax());
      }
    }
    if (has(op, "filter")) get.setFilter(filter(op));
    if (has(op, "store_limit")) get.setMaxResultsPerColumnFamily(op.get("store_limit").getAsInt());
    if (has(op, "store_offset")) get.setRowOffsetPerColumnFamily(op.get("store_offset").getAsInt());
    return get;
  }

  private static Scan scanOf(JsonObject op) throws Exception {
    Scan scan = new Scan();
    scan.withStartRow(hex(op.get("start")), !has(op, "start_inclusive") || op.get("start_inclusive").getAsBoolean());
    scan.withStopRow(hex(op.get("stop")), has(op, "stop_inclusive") && op.get("stop_inclusive").getAsBoolean());
    if (has(op, "columns")) {
      for (JsonElement element : op.getAsJsonArray("columns")) {
        JsonArray column = element.getAsJsonArray();
        if (column.get(1).isJsonNull()) scan.addFamily(text(column.get(0)));
        else scan.addColumn(text(column.get(0)), hex(column.get(1)));
      }
    }
    if (has(op, "versions")) {
      if (all(op)) scan.readAllVersions(); else scan.readVersions(op.get("versions").getAsInt());
    }
    if (has(op, "timestamp")) scan.setTimestamp(op.get("timestamp").getAsLong());
    TimeRange range = range(op, "time_range");
    if (range != null) scan.setTimeRange(range.getMin(), range.getMax());
    if (has(op, "family_time_ranges")) {
      JsonObject ranges = op.getAsJsonObject("family_time_ranges");
      for (String family : ranges.keySet()) {
        TimeRange own = range(ranges, family);
        scan.setColumnFamilyTimeRange(Bytes.toBytes(family), own.getMin(), own.getMax());
      }
    }
    if (has(op, "filter")) scan.setFilter(filter(op));
    if (has(op, "store_limit")) scan.setMaxResultsPerColumnFamily(op.get("store_limit").getAsInt());
    if (has(op, "store_offset")) scan.setRowOffsetPerColumnFamily(op.get("store_offset").getAsInt());
    if (has(op, "reverse")) scan.setReversed(op.get("reverse").getAsBoolean());
    if (has(op, "raw")) scan.setRaw(op.get("raw").getAsBoolean());
    if (has(op, "limit")) scan.setLimit(op.get("limit").getAsInt());
    if (has(op, "batch")) scan.setBatch(op.get("batch").getAsInt());
    if (has(op, "caching")) scan.setCaching(op.get("caching").getAsInt());
    return scan;
  }

  // ---- answers

  private static JsonObject ok() {
    return with("ok", new JsonPrimitive(true));
  }

  private static JsonObject with(String key, JsonElement value) {
    JsonObject answer = new JsonObject();
    answer.add(key, value);
    return answer;
  }

  private static JsonObject outcome(CheckAndMutateResult outcome) {
    JsonObject answer = outcome.getResult() == null ? new JsonObject() : results(outcome.getResult());
    answer.addProperty("success", outcome.isSuccess());
    return answer;
  }

  private static JsonObject results(Result... rows) {
    JsonArray list = new JsonArray();
    for (Result row : rows) {
      JsonArray cells = new JsonArray();
      if (row != null && row.rawCells() != null) {
        for (Cell cell : row.rawCells()) cells.add(cell(cell));
      }
      list.add(cells);
    }
    return with("results", list);
  }

  private static JsonArray cell(Cell cell) {
    JsonArray fields = new JsonArray();
    fields.add(Bytes.toHex(CellUtil.cloneRow(cell)));
    fields.add(new String(CellUtil.cloneFamily(cell), StandardCharsets.UTF_8));
    fields.add(Bytes.toHex(CellUtil.cloneQualifier(cell)));
    fields.add(cell.getTimestamp());
    fields.add(cell.getType().getCode() & 0xff);
    fields.add(Bytes.toHex(CellUtil.cloneValue(cell)));
    return fields;
  }

  private static JsonObject error(Throwable problem) {
    Throwable cause = problem;
    while (cause instanceof RetriesExhaustedException || cause instanceof UncheckedIOException) {
      if (cause instanceof RetriesExhaustedWithDetailsException
          && ((RetriesExhaustedWithDetailsException) cause).getNumExceptions() > 0) {
        cause = ((RetriesExhaustedWithDetailsException) cause).getCause(0);
      } else if (cause.getCause() != null) {
        cause = cause.getCause();
      } else {
        break;
      }
    }
    JsonObject answer = new JsonObject();
    answer.addProperty("error", cause.getClass().getSimpleName());
    String message = String.valueOf(cause.getMessage());
    answer.addProperty("message", message.split("\n")[0]);
    return answer;
  }

  // ---- reading JSON

  private static boolean has(JsonObject op, String key) {
    return op.has(key) && !(op.get(key) instanceof JsonNull);
  }

  private static boolean all(JsonObject op) {
    JsonPrimitive versions = op.getAsJsonPrimitive("versions");
    return versions.isString() && versions.getAsString().equals("all");
  }

  private static TimeRange range(JsonObject op, String key) {
    if (!has(op, key)) return null;
    JsonArray pair = op.getAsJsonArray(key);
    return TimeRange.between(pair.get(0).getAsLong(), pair.get(1).getAsLong());
  }

  private static byte[] hex(JsonElement value) {
    return value.isJsonNull() ? HConstants.EMPTY_BYTE_ARRAY : Bytes.fromHex(value.getAsString());
  }

  private static byte[] text(JsonElement value) {
    return Bytes.toBytes(value.getAsString());
  }
}
