/** Paths are told apart by all of their text, though most are by its end. */
import t from "tap";
import { PathCounts } from "../../../src/proxy/observation/path-counts.ts";

const HOST = "orders.shop";

void t.test("paths that end alike are different paths", (t) => {
  const counts = new PathCounts();
  const paths = ["/a/orders", "/b/orders", "", "/", "/é", "/a/order"];
  for (const path of paths) {
    t.equal(counts.count(path), false, `${path} is new`);
    counts.add(path, HOST);
  }
  for (const [index, path] of paths.entries())
    for (let time = 0; time < index; time += 1)
      t.equal(counts.count(path), true);
  t.strictSame(
    counts.rows,
    paths.map((path, index) => ({ path, host: HOST, count: index + 1 })),
  );
  t.end();
});

void t.test("a text that is cut out of another counts as the same", (t) => {
  const counts = new PathCounts();
  counts.add("/orders/1234567890", HOST);
  t.equal(counts.count("GET /orders/1234567890 HTTP/1.1".slice(4, 22)), true);
  t.equal(counts.count("GET /orders/1234567891 HTTP/1.1".slice(4, 22)), false);
  t.end();
});
