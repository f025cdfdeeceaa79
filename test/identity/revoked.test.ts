/** What a revocation concerns: identity, instance or serial number, up to when, and until when. */
import t from "tap";
import {
  normalSerial,
  proofOf,
  Revoked,
  type Proof,
  type Revocation,
} from "../../src/identity/revoked.ts";
import { readCertificates } from "../../src/identity/pem.ts";
import { parseSpiffeId } from "../../src/identity/spiffe.ts";
import { fakeAuthority } from "../support/certificates/certificate-authority.ts";

const WEB = "spiffe://cluster.local/ns/shop/sa/web";
const NOW = 1_000_000;
const proven: Proof = {
  uri: WEB,
  instance: "shop/web-1",
  certificate: { serial: "A1", begins: 500_000 },
};

function faultOf(
  revocation: Omit<Revocation, "name">,
  proof: Proof = proven,
  times: readonly number[] = [NOW],
): boolean {
  const revoked = new Revoked([{ name: "one", ...revocation }]);
  return revoked.faultOf(proof, times) !== undefined;
}

void t.test("a certificate stands, or does not", (t) => {
  const noInstance = { ...proven, instance: undefined };
  const rows: readonly (readonly [string, boolean, boolean])[] = [
    ["its identity", faultOf({ identity: WEB }), true],
    ["another identity", faultOf({ identity: `${WEB}2` }), false],
    ["its instance", faultOf({ instance: "shop/web-1" }), true],
    ["another instance", faultOf({ instance: "shop/web-2" }), false],
    ["the name in another namespace", faultOf({ instance: "x/web-1" }), false],
    [
      "an instance, of a certificate that names none",
      faultOf({ instance: "shop/web-1" }, noInstance),
      false,
    ],
    ["its serial number", faultOf({ serial: "A1" }), true],
    ["another serial number", faultOf({ serial: "A2" }), false],
    [
      "another serial number of its instance",
      faultOf({ serial: "A2", instance: "shop/web-1" }),
      false,
    ],
    [
      "its serial number, with the name of another instance",
      faultOf({ serial: "A1", instance: "shop/web-2" }),
      true,
    ],
    [
      "those that begin up to its begin",
      faultOf({ instance: "shop/web-1", beginsUpTo: 500_000 }),
      true,
    ],
    [
      "those that begin before it",
      faultOf({ instance: "shop/web-1", beginsUpTo: 499_999 }),
      false,
    ],
    ["until later", faultOf({ identity: WEB, until: NOW + 1 }), true],
    ["until now", faultOf({ identity: WEB, until: NOW }), false],
    [
      "over by one clock of two",
      faultOf({ identity: WEB, until: NOW + 1 }, proven, [NOW + 5, NOW]),
      true,
    ],
  ];
  for (const [what, fault, expected] of rows) t.equal(fault, expected, what);
  t.equal(Revoked.NONE.faultOf(proven, [NOW]), undefined);
  t.end();
});

void t.test("the fault names what is revoked, and by what", (t) => {
  const of = (revocation: Omit<Revocation, "name">): string | undefined =>
    new Revoked([{ name: "stolen", ...revocation }]).faultOf(proven, [NOW]);
  t.equal(
    of({ identity: WEB }),
    `the identity ${WEB} is revoked by the Revocation stolen`,
  );
  t.equal(
    of({ instance: "shop/web-1" }),
    "the instance shop/web-1 is revoked by the Revocation stolen",
  );
  t.equal(
    of({ serial: "A1" }),
    "the certificate with the serial number A1 is revoked by the Revocation stolen",
  );
  t.end();
});

void t.test("an end that proves nothing", (t) => {
  const claim: Proof = { ...proven, certificate: undefined };
  const whole = { name: "whole", instance: "shop/web-1" };
  const some = { name: "some", serial: "A1", instance: "shop/web-1" };
  const upTo = { name: "up to", instance: "shop/web-1", beginsUpTo: 1 };
  const rows: readonly (readonly [Revocation, Revocation[], boolean])[] = [
    [whole, [], true],
    [whole, [whole], true],
    // It was registered anew since.
    [some, [], true],
    [some, [some], false],
    [upTo, [], true],
    [upTo, [upTo], false],
    [upTo, [{ ...upTo, beginsUpTo: 0 }], true],
  ];
  for (const [revocation, before, expected] of rows)
    t.equal(
      new Revoked([revocation]).claimFault(
        claim,
        [NOW],
        new Revoked(before),
      ) !== undefined,
      expected,
      `${revocation.name} after ${before.length}`,
    );
  t.end();
});

void t.test("whether it puts out more than another", (t) => {
  const one: Revocation = { name: "one", instance: "shop/web-1" };
  const two: Revocation = { name: "two", serial: "A1" };
  const rows: readonly (readonly [Revocation[], Revocation[], boolean])[] = [
    [[], [], false],
    [[one], [one], false],
    [[one], [one, two], false],
    [[], [one], false],
    [[one], [], true],
    [[one, two], [one], true],
    [[two], [one], true],
    [[{ ...one, instance: "shop/web-2" }], [one], true],
    [[{ name: "one", identity: WEB }], [one], true],
    [[{ ...one, until: 5 }], [one], true],
    [[{ ...one, beginsUpTo: 5 }], [{ ...one, beginsUpTo: 4 }], true],
  ];
  for (const [now, before, expected] of rows)
    t.equal(
      new Revoked(now).goesBeyond(new Revoked(before)),
      expected,
      JSON.stringify([now, before]),
    );
  t.end();
});

void t.test("what a certificate proves", (t) => {
  const mesh = fakeAuthority();
  const pems = mesh.issue({ binding: { name: "web-7", labels: {} } });
  const [leaf] = readCertificates(pems.certificateChain, "chain");
  const id = parseSpiffeId(WEB);
  if (leaf === undefined || id === undefined) throw new Error("no leaf");
  const proof = proofOf(leaf, WEB, id);
  t.equal(proof.instance, "shop/web-7");
  t.equal(proof.certificate?.serial, normalSerial(leaf.serialNumber));
  t.equal(proof.certificate?.begins, leaf.validFromDate.getTime());
  for (const [text, expected] of [
    ["00:a1:B2", "A1B2"],
    ["a1b2", "A1B2"],
    ["0", "0"],
    ["000", "0"],
  ] as const)
    t.equal(normalSerial(text), expected);
  t.end();
});
