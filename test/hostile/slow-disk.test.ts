/** The disk of a control plane takes seconds for a flush: the change waits for it, and everything else is answered. */
import t from "tap";
import { injectedCalls } from "../support/faults/machine-faults.ts";
import { closeCalls, eventually, type Called } from "../support/peers/call.ts";
import { startPlane } from "../support/processes/plane-process.ts";

/** Microseconds of each flush. */
const DELAY = 3_000_000;
const SERVICE = "/apis/mesh.wherry.dev/v1alpha1/namespaces/shop/services/slow";
const SLOW_LINE = /the disk of .*store\.sqlite is slow: changes wait/;

t.teardown(closeCalls);

void t.test("a slow flush holds the writer alone", async (t) => {
  const plane = await startPlane(t.testdir());
  t.teardown(() => plane.process.stop());
  const giveBack = injectedCalls("fdatasync,fsync", `delay_enter=${DELAY}`)(
    plane.process,
    "",
  );
  if (giveBack === undefined) {
    t.pass("strace is missing");
    return;
  }
  const ended: string[] = [];
  let port = 80;
  const change = async (): Promise<Called> => {
    port += 1;
    const spec = {
      selector: { app: "slow" },
      ports: [{ name: "http", port }],
    };
    const kind = "Service";
    const metadata = { name: "slow", namespace: "shop" };
    const apiVersion = "mesh.wherry.dev/v1alpha1";
    const body = { apiVersion, kind, metadata, spec };
    const written = await plane.ask("PUT", SERVICE, body);
    ended.push("written");
    return written;
  };
  // The first may be over before strace has taken hold.
  let written = change();
  await eventually(
    "it is logged",
    20_000,
    async () => {
      if (ended.splice(0).length > 0) written = change();
      return await Promise.resolve(plane.process.log);
    },
    (log) => SLOW_LINE.test(log),
  );
  for (const path of ["/readyz", "/livez", SERVICE]) {
    const { status, text } = await plane.ask("GET", path);
    t.ok(status === 200 || path === SERVICE, `${path}: ${status} ${text}`);
    ended.push(path);
  }
  t.match((await written).status, /^20[01]$/);
  await giveBack();
  t.same(ended, ["/readyz", "/livez", SERVICE, "written"]);
  const { text } = await plane.ask("GET", "/metrics");
  t.match(
    text,
    /wherry_machine_errors_total\{part="store",error="SLOW"\} [1-9]/,
  );
  t.equal(plane.process.ended, undefined);
});
