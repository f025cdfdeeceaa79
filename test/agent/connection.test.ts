/** What the connections of one sidecar share: the TLS context is made once for each certificate, for a control plane that is away is dialled again and again. */
import { syncBuiltinESMExports } from "node:module";
import tls from "node:tls";
import t from "tap";
import { openClient } from "../../src/agent/connection.ts";
import { systemClock } from "../../src/core/clock.ts";
import type { Credentials } from "../../src/identity/credentials.ts";
import { fakeAuthority } from "../support/certificates/certificate-authority.ts";

/** The certificates that contexts were made with; undefined for one without. */
const made: unknown[] = [];
const { createSecureContext } = tls;
tls.createSecureContext = (options) => {
  made.push(options?.cert);
  return createSecureContext(options);
};
syncBuiltinESMExports();
t.teardown(() => {
  tls.createSecureContext = createSecureContext;
  syncBuiltinESMExports();
});

function open(trustBundle: string, credentials?: Credentials): void {
  openClient({
    address: "127.0.0.1:1",
    trustBundle,
    ...(credentials === undefined ? {} : { credentials }),
    clock: systemClock,
    maxMessageBytes: -1,
  }).close();
}

void t.test("a context is made once for each certificate", (t) => {
  const authority = fakeAuthority();
  const first = authority.credentials("web");
  const renewed = authority.credentials("web");
  const { trustBundle } = first;
  for (const credentials of [first, first, renewed, renewed, first])
    open(trustBundle, credentials);
  t.same(made.splice(0), [first.certificateChain, renewed.certificateChain]);
  t.end();
});

void t.test("a context trusts what it was made for", (t) => {
  const credentials = fakeAuthority().credentials("web");
  const other = fakeAuthority().credentials("web").trustBundle;
  open(credentials.trustBundle, credentials);
  open(other, credentials);
  open(credentials.trustBundle, credentials);
  t.equal(made.splice(0).length, 2, "another trust bundle has its own");
  open(other);
  open(other);
  t.same(made.splice(0), [undefined, undefined], "nobody's is kept");
  t.end();
});
