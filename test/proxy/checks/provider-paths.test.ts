/** A provider with a path prefix is asked within it alone. */
import t from "tap";
import { watchSource } from "../../../src/core/watch.ts";
import type { Snapshot } from "../../../src/policy/snapshot.ts";
import type {
  Answer,
  Asked,
} from "../../../src/proxy/checks/providers/answer.ts";
import { ProviderClients } from "../../../src/proxy/checks/providers/clients.ts";
import {
  providersOf,
  type Provider,
} from "../../../src/resources/mesh/providers.ts";
import { fakeClock } from "../../support/clocks/fake-clock.ts";
import { httpScript } from "../../support/checks/providers.ts";
import { scriptedStream } from "../../support/checks/scripted-stream.ts";

function providerOf(address: string, pathPrefix: string): Provider {
  const [provider] = providersOf([
    { name: "opa", http: { address, pathPrefix } },
  ]);
  if (provider === undefined) throw new Error("there is no provider");
  return provider;
}

const WITHIN = [
  ...["/", "/a", "/a..b/..c", "/...", "/a/.../b", "/.%2Fa", "/a?b=/../c"],
  ...["/;..", "/a;b", "/%2E%2Fa"],
];

const OUTSIDE = [
  ...["/..", "/../healthz", "/..%2f..%2Fhealthz", "/a/..%5Cb", "/a\\..\\b"],
  ...["/%2e%2E/b", "/.%2e", "/a%2F%2e%2e", "/..;x/b", "/..%3Bx/b", "/../?a"],
];

void t.test("no path leads out of the prefix", async (t) => {
  const script = await httpScript((_request, response) => response.end());
  const clients = new ProviderClients(
    watchSource<Snapshot | undefined>(undefined),
    fakeClock(),
  );
  const ask = (prefix: string, target: string): Promise<Answer> =>
    new Promise((resolve) =>
      clients.of(providerOf(script.address, prefix)).ask(
        {
          ...{ stream: scriptedStream({}, {}, true), read: { target } },
          ...{ body: undefined, partial: false },
        } as unknown as Asked,
        resolve,
      ),
    );
  try {
    for (const target of WITHIN)
      t.equal((await ask("/check", target)).kind, "allowed", target);
    t.equal(script.asked.length, WITHIN.length);
    for (const target of OUTSIDE)
      t.match(
        await ask("/check", target),
        { kind: "denied", status: 400 },
        target,
      );
    t.equal(script.asked.length, WITHIN.length, "nobody is asked");
    t.equal((await ask("", "/..%2fhealthz")).kind, "allowed", "no prefix");
  } finally {
    clients.close();
    await script.close();
  }
});
