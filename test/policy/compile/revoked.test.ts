/** An identity that is revoked is so under each trust domain that counts as one with its own, also once these change. */
import t from "tap";
import { compileSnapshot } from "../../../src/policy/compile/compile.ts";
import type { Snapshot } from "../../../src/policy/snapshot.ts";
import type { Resource } from "../../../src/resources/envelope.ts";
import {
  mesh,
  self,
  VERSION,
} from "../../support/resources/policy-fixtures.ts";

const idIn = (trustDomain: string): string =>
  `spiffe://${trustDomain}/ns/shop/sa/web`;

const revocation = (spec: object): Resource => ({
  apiVersion: "mesh.wherry.dev/v1alpha1",
  kind: "Revocation",
  metadata: { name: "stolen" },
  spec,
});

function compile(
  aliases: readonly string[],
  spec: object,
  previous?: Snapshot,
): Snapshot {
  const resources = [
    mesh({
      trustDomain: "cluster.local",
      ...(aliases.length === 0 ? {} : { trustDomainAliases: aliases }),
    }),
    revocation(spec),
  ];
  return compileSnapshot(resources, self(), VERSION, { previous });
}

function isOut({ revoked }: Snapshot, trustDomain: string): boolean {
  const certificate = { serial: "A1", begins: 0 };
  const proof = { uri: idIn(trustDomain), instance: "shop/web-1", certificate };
  return revoked.faultOf(proof, [1]) !== undefined;
}

void t.test("under each name of its domain", (t) => {
  const rows: readonly (readonly [string, string[], string, boolean])[] = [
    ["cluster.local", [], "cluster.local", true],
    ["cluster.local", [], "old.example", false],
    ["cluster.local", ["old.example"], "old.example", true],
    ["old.example", ["old.example"], "cluster.local", true],
    ["old.example", ["old.example", "b.example"], "b.example", true],
    ["old.example", ["old.example"], "b.example", false],
    ["b.example", ["old.example"], "b.example", true],
    ["b.example", ["old.example"], "cluster.local", false],
  ];
  for (const [revoked, aliases, peer, expected] of rows)
    t.equal(
      isOut(compile(aliases, { identity: idIn(revoked) }), peer),
      expected,
      `${revoked}, aliases ${aliases.join() || "none"}: ${peer}`,
    );
  t.end();
});

void t.test("from one config to the next", (t) => {
  const spec = { identity: idIn("cluster.local") };
  const first = compile([], spec);
  const second = compile(["old.example"], spec, first);
  t.equal(isOut(first, "old.example"), false);
  t.equal(isOut(second, "old.example"), true);
  t.equal(compile(["old.example"], spec, second).revoked, second.revoked);
  t.equal(isOut(compile([], spec, second), "old.example"), false);
  t.end();
});
