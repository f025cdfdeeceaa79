/** What somebody without a token can hold of the API: few connections, one request each, for seconds; and good callers get in beside them (law 15). */
import { once } from "node:events";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { connect, type Socket } from "node:net";
import { connect as connectTls } from "node:tls";
import { tmpdir } from "node:os";
import { join } from "node:path";
import t from "tap";
import { startControlPlane } from "../../../../src/control-plane/control-plane.ts";
import { systemClock, type Clock } from "../../../../src/core/clock.ts";
import { silentLogger } from "../../../../src/core/log.ts";
import { fakeAuthority } from "../../../support/certificates/certificate-authority.ts";
import {
  until,
  type Scope,
} from "../../../support/control-plane/push-control-plane.ts";

interface Plane {
  readonly port: number;
  readonly token: string;
  /** Lets time pass at once, for everything that looks at it from time to time. */
  readonly skip: (ms: number) => void;
}

async function start(
  t: Scope,
  tls?: { readonly certificate: string; readonly privateKey: string },
): Promise<Plane> {
  const directory = await mkdtemp(join(tmpdir(), "wherry-red-"));
  let skipped = 0;
  const sweeps = new Set<() => void>();
  const clock: Clock = {
    ...systemClock,
    now: () => systemClock.now() + skipped,
    every(ms, run) {
      const cancel = systemClock.every(ms, run);
      if (ms <= 1000) sweeps.add(run);
      return () => {
        sweeps.delete(run);
        cancel();
      };
    },
  };
  const plane = await startControlPlane({
    stateDirectory: directory,
    store: "memory",
    trustDomain: "cluster.local",
    api: {
      host: "127.0.0.1",
      port: 0,
      ...(tls === undefined ? {} : { tls }),
    },
    push: { host: "127.0.0.1", port: 0 },
    clock,
    logger: silentLogger,
    profile: "development",
  });
  t.after(async () => {
    await plane.close();
    await rm(directory, { recursive: true, force: true });
  });
  return {
    port: Number(new URL(plane.apiUrl).port),
    token: (await readFile(plane.adminTokenFile, "utf8")).trim(),
    skip(ms) {
      skipped += ms;
      for (const run of sweeps) run();
    },
  };
}

async function open(t: Scope, port: number, from: string): Promise<Socket> {
  const socket = connect({ port, host: "127.0.0.1", localAddress: from });
  t.after(() => void socket.destroy());
  socket.on("error", () => undefined);
  await once(socket, "connect");
  return socket;
}

/** What comes until `enough` has, or the connection is over. */
function read(
  socket: Socket,
  enough: (text: string) => boolean,
): Promise<string> {
  return new Promise((resolve) => {
    let text = "";
    socket.on("data", (chunk: Buffer) => {
      text += chunk.toString("latin1");
      if (enough(text)) resolve(text);
    });
    socket.on("close", () => resolve(text));
  });
}

const statusOf = (text: string): number =>
  Number(/^HTTP\/1\.1 (\d{3})/.exec(text)?.[1]);

function status(port: number, token: string): Promise<number> {
  return fetch(`http://127.0.0.1:${port}/status`, {
    headers: { authorization: `Bearer ${token}`, connection: "close" },
  }).then(({ status }) => status);
}

void t.test(
  "connections that say nothing are gone after 15 s; those that said who they are stay",
  async (t) => {
    const { port, token, skip } = await start(t);
    const mute = await open(t, port, "127.0.0.1");
    mute.resume();
    const halfway = await open(t, port, "127.0.0.1");
    halfway.resume();
    halfway.write("GET /status HTTP/1.1\r\nHost: a\r\n");
    const known = await open(t, port, "127.0.0.1");
    const response = read(known, (text) => text.includes("\r\n\r\n"));
    known.write(
      `GET /status HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer ${token}\r\n\r\n`,
    );
    t.equal(statusOf(await response), 200);
    skip(14_000);
    t.equal(mute.closed, false);
    skip(1000);
    await until(() => mute.closed && halfway.closed);
    t.equal(known.closed, false);
  },
);

void t.test("the same with a certificate, from the accept on", async (t) => {
  const { certificateChain, privateKey } = fakeAuthority().credentials("api");
  const { port, token, skip } = await start(t, {
    certificate: certificateChain,
    privateKey,
  });
  const mute = await open(t, port, "127.0.0.1");
  mute.resume();
  const shake = async (): Promise<Socket> => {
    const socket = connectTls({ port, rejectUnauthorized: false });
    t.after(() => void socket.destroy());
    socket.on("error", () => undefined);
    await once(socket, "secureConnect");
    return socket;
  };
  const shaken = await shake();
  shaken.resume();
  const known = await shake();
  const response = read(known, (text) => text.includes("\r\n\r\n"));
  known.write(
    `GET /status HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer ${token}\r\n\r\n`,
  );
  t.equal(statusOf(await response), 200);
  skip(14_000);
  t.equal(mute.closed || shaken.closed, false);
  skip(1000);
  await until(() => mute.closed && shaken.closed);
  t.equal(known.closed, false);
});

void t.test(
  "without a token there is one request a connection, and its body is not waited for",
  async (t) => {
    const { port } = await start(t);
    for (const [head, code] of [
      ["GET /livez HTTP/1.1\r\nHost: a\r\n\r\n", 200],
      ["GET /status HTTP/1.1\r\nHost: a\r\n\r\n", 401],
      [
        "PUT /apis/mesh.wherry.dev/v1alpha1/namespaces/shop/services/a HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 2000000\r\n\r\n{",
        401,
      ],
    ] as const) {
      const socket = await open(t, port, "127.0.0.1");
      const response = read(socket, () => false);
      socket.write(head);
      const text = await response;
      t.equal(statusOf(text), code);
      t.match(text, /\r\nconnection: close\r\n/i);
      t.equal(text.split("HTTP/1.1 ").length, 2, "one response");
    }
  },
);

void t.test(
  "five sources fill the API with silent connections, and a good token works at once",
  { timeout: 60_000 },
  async (t) => {
    const { port, token, skip } = await start(t);
    const sockets: Socket[] = [];
    for (let source = 1; source <= 5; source += 1)
      sockets.push(
        ...(await Promise.all(
          Array.from({ length: 260 }, () => open(t, port, `127.0.1.${source}`)),
        )),
      );
    for (const socket of sockets) socket.resume();
    await until(() => sockets.filter(({ closed }) => !closed).length <= 768);
    // They are there for a second: from now on the oldest makes room.
    skip(1000);
    t.equal(await status(port, token), 200);
  },
);

/** The text of another token. */
async function another(port: number, token: string): Promise<string> {
  const response = await fetch(`http://127.0.0.1:${port}/tokens/api`, {
    method: "POST",
    headers: {
      authorization: `Bearer ${token}`,
      "content-type": "application/json",
      connection: "close",
    },
    body: JSON.stringify({ role: "editor" }),
  });
  return ((await response.json()) as { readonly token: string }).token;
}

void t.test("of bodies that tokens bring, 32 are read at a time", async (t) => {
  const { port, token } = await start(t);
  const tokens = [token];
  while (tokens.length < 5) tokens.push(await another(port, token));
  const headOf = (by: string): string =>
    `PUT /apis/mesh.wherry.dev/v1alpha1/namespaces/shop/services/a HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer ${by}\r\nContent-Type: application/json\r\nContent-Length: 2000000\r\n\r\n`;
  const slow: Socket[] = [];
  const codes: number[] = [];
  for (let count = 0; count < 40; count += 1) {
    const socket = await open(t, port, "127.0.0.1");
    slow.push(socket);
    void read(socket, (text) => text.includes("\r\n\r\n")).then((text) =>
      codes.push(statusOf(text)),
    );
    socket.write(`${headOf(tokens[count % 5] ?? "")}{`);
  }
  await until(() => codes.length === 8);
  t.same(new Set(codes), new Set([503]));
  t.equal(await status(port, token), 200, "what has no body goes on");
  for (const socket of slow) socket.destroy();
  await until(async () => {
    const socket = await open(t, port, "127.0.0.1");
    const response = read(socket, (text) => text.includes("\r\n\r\n"));
    socket.write(headOf(token).replace("2000000", "2"));
    socket.write("{}");
    return statusOf(await response) === 422;
  });
  t.pass("the places are free again");
});

void t.test(
  "one token holds 256 connections, and its oldest goes first",
  async (t) => {
    const { port, token } = await start(t);
    const sockets: Socket[] = [];
    for (let count = 0; count < 257; count += 1) {
      const socket = await open(t, port, "127.0.0.1");
      sockets.push(socket);
      const response = read(socket, (text) => text.includes("\r\n\r\n"));
      socket.write(
        `GET /store HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer ${token}\r\n\r\n`,
      );
      t.equal(statusOf(await response), 200);
    }
    await until(() => sockets[0]?.closed === true);
    t.equal(sockets.filter(({ closed }) => closed).length, 1);
  },
);
