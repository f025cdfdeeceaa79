/** Slips of the first month: each is told in one line that says what to do, or does no harm. */
import { cp, mkdir, mkdtemp, rm, symlink } from "node:fs/promises";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import t from "tap";
import {
  fakeAuthority,
  type FakeAuthority,
} from "../support/certificates/certificate-authority.ts";
import { findFaketime } from "../support/clocks/shifted-machine.ts";
import { listening } from "../support/meshes/pair.ts";
import { closeCalls, eventually } from "../support/peers/call.ts";
import { ROOT } from "../support/processes/demo.ts";
import { OPEN_RESOURCES } from "../support/processes/lone-sidecar.ts";
import { startPlane } from "../support/processes/plane-process.ts";
import {
  startFileSidecar,
  startSidecarProcess,
  untilReady,
  type SidecarProcess,
  type SidecarProcessOptions,
} from "../support/processes/sidecar-process.ts";
import { needs } from "../support/processes/tools.ts";

const WITHIN = 60_000;
const directory = await mkdtemp(join(tmpdir(), "wherry-slips-"));
const application = createServer((_request, response) => response.end("hello"));
const appPort = await listening(application);
t.jobs = 3;
t.teardown(async () => {
  closeCalls();
  application.closeAllConnections();
  application.close();
  await rm(directory, { recursive: true, force: true });
});

const [plane, foreign] = await Promise.all([
  startPlane(join(directory, "plane")),
  startPlane(join(directory, "foreign")),
]);
t.teardown(() => Promise.all([plane.process.stop(), foreign.process.stop()]));

// ── files ───────────────────────────────────────────────────────────────────

interface Files {
  readonly resources: string;
  readonly certificateChain: string;
  readonly privateKey: string;
  readonly trustBundle: string;
}

const crlf = (text: string): string => text.replaceAll("\n", "\r\n");
const bom = (text: string): string => `\uFEFF${text}`;
const each = (files: Files, change: (text: string) => string): Files => ({
  resources: change(files.resources),
  certificateChain: change(files.certificateChain),
  privateKey: change(files.privateKey),
  trustBundle: change(files.trustBundle),
});

const authority = fakeAuthority();
const stranger = fakeAuthority({ trustDomain: "other.mesh" });
const filesOf = (issuer: FakeAuthority): Files => ({
  resources: OPEN_RESOURCES,
  ...issuer.issue({ id: issuer.id("orders") }),
});
const good = filesOf(authority);
const other = filesOf(stranger);

/** The files, and the line that a sidecar ends with; undefined: it serves. */
const FILES: Readonly<Record<string, readonly [Files, RegExp | undefined]>> = {
  "lines that end in CRLF": [each(good, crlf), undefined],
  "a byte order mark": [each(good, (text) => bom(crlf(text))), undefined],
  "key and certificate swapped": [
    {
      ...good,
      certificateChain: good.privateKey,
      privateKey: good.certificateChain,
    },
    /error: certificate: it is a private key; are the files of certificate and key swapped\?\n$/,
  ],
  "the key of another certificate": [
    { ...good, privateKey: other.privateKey },
    /error: private key: it does not belong to the \(first\) certificate; .*\n$/,
  ],
  "the roots of another mesh": [
    { ...good, trustBundle: other.trustBundle },
    /error: certificate: "CN=test issuing authority" is signed by none of the trusted roots\n$/,
  ],
};

for (const [name, [files, line]] of Object.entries(FILES))
  void t.test(name, async (t) => {
    const { resources, ...credentials } = files;
    const starts = startFileSidecar({
      ...{ name: "orders-1", app: "orders", resources, credentials },
      directory: join(directory, name.replaceAll(" ", "-")),
      more: ["--app-port", `http=${appPort}`],
    });
    if (line === undefined) {
      const sidecar = await starts;
      t.teardown(() => sidecar.process.stop());
      await untilReady(name, sidecar, "/readyz?application");
    } else await t.rejects(starts, { message: line });
  });

// ── a control plane ─────────────────────────────────────────────────────────

async function enrol(
  name: string,
  more: Partial<SidecarProcessOptions>,
): Promise<SidecarProcess> {
  const sidecar = await startSidecarProcess({
    ...{ push: plane.push, account: name, application: appPort },
    state: join(directory, name),
    token: await plane.token(name),
    ...more,
  });
  t.teardown(() => sidecar.process.stop());
  return sidecar;
}

function says(sidecar: SidecarProcess, line: RegExp): Promise<unknown> {
  return eventually(
    `it says ${String(line)}`,
    WITHIN,
    () => Promise.resolve(sidecar.process.log),
    (log) => line.test(log),
  );
}

void t.test("a token of another mesh", async () => {
  const token = await foreign.token("token");
  await says(
    await enrol("token", { token }),
    /is not the one that made the token: .* Check the address, or make a token there with `wherry token create`/,
  );
});

void t.test("the port of the API in place of that for sidecars", async () => {
  const push = plane.api.slice("http://".length);
  await says(
    await enrol("wrong-port", { push }),
    /cannot be reached: it does not speak TLS; give the port for sidecars \(--push, 15012\), not that of the API/,
  );
});

void t.test("a port at which nobody listens", async () => {
  await says(
    await enrol("no-port", { push: "127.0.0.1:1" }),
    /the control plane at 127\.0\.0\.1:1 cannot be reached: connect ECONNREFUSED/,
  );
});

const library = findFaketime();
for (const minutes of [-5, 5])
  void t.test(
    `a clock that is ${minutes} min off`,
    needs(library === undefined ? ["faketime"] : []),
    async () => {
      const sidecar = await enrol(minutes < 0 ? "behind" : "ahead", {
        environment: {
          LD_PRELOAD: library ?? "",
          FAKETIME: `${minutes < 0 ? "" : "+"}${minutes}m`,
          FAKETIME_DONT_FAKE_MONOTONIC: "1",
          DONT_FAKE_MONOTONIC: "1",
        },
      });
      await untilReady("the sidecar", sidecar, "/readyz?application");
    },
  );

void t.test("a checkout without .git, with a blank in its path", async () => {
  const checkout = join(directory, "a check out");
  await mkdir(checkout);
  for (const name of ["src", "package.json", "package-lock.json"])
    await cp(join(ROOT, name), join(checkout, name), { recursive: true });
  await symlink(join(ROOT, "node_modules"), join(checkout, "node_modules"));
  const sidecar = await enrol("blank", {
    main: join(checkout, "src", "wherry.js"),
    environment: { WHERRY_TRUST_CHECKOUT: "1" },
  });
  await untilReady("the sidecar", sidecar, "/readyz?application");
});
