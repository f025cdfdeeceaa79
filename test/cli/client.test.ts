/** A control plane that is busy puts reads off: the commands ask again when it says so. */
import t from "tap";
import { fakeClock } from "../support/clocks/fake-clock.ts";
import { runCli, withServer, type Ran } from "../support/control-plane/cli.ts";

/** Runs `get services` against a control plane that answers 429 to the first `busy` requests. */
async function got(
  t: Parameters<typeof withServer>[0],
  busy: number,
  retryAfter: string,
): Promise<Ran & { readonly waited: number; readonly requests: number }> {
  const clock = fakeClock();
  let requests = 0;
  const server = await withServer(t, (_request, response) => {
    requests += 1;
    response.statusCode = requests <= busy ? 429 : 200;
    response.setHeader("retry-after", retryAfter);
    response.end(
      JSON.stringify(
        requests <= busy
          ? { kind: "Status", message: "busy" }
          : { kind: "List", items: [] },
      ),
    );
  });
  const over = new AbortController();
  let waited = 0;
  const running = runCli(["get", "services", "--server", server], {
    clock,
    environment: { WHERRY_TOKEN: "x" },
  }).finally(() => over.abort());
  // As long as it waits, time goes on.
  while (!over.signal.aborted) {
    await new Promise((resolve) => setImmediate(resolve));
    if (clock.pending === 0) continue;
    clock.advance(1000);
    waited += 1;
  }
  return { ...(await running), waited, requests };
}

void t.test("a read that is put off is repeated, and said so", async (t) => {
  const { code, err, waited, requests } = await got(t, 2, "3");
  t.equal(code, 0);
  t.equal(
    err,
    "the control plane is busy: trying again in 3 s (1 of 5)\n" +
      "the control plane is busy: trying again in 3 s (2 of 5)\n" +
      "no services in namespace default (-A looks in all)\n",
  );
  t.equal(requests, 3);
  t.equal(waited, 6, "seconds");
});

void t.test("not for ever, and not for as long as it likes", async (t) => {
  const { code, err, waited, requests } = await got(t, 100, "3600");
  t.equal(code, 1);
  t.match(err, /trying again in 30 s \(5 of 5\)\nerror: busy\n$/);
  t.equal(requests, 6);
  t.equal(waited, 150, "seconds");
});

void t.test("a wait that cannot be read is a second", async (t) => {
  const { code, waited } = await got(t, 1, "soon");
  t.equal(code, 0);
  t.equal(waited, 1);
});
