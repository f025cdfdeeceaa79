/** Bytes through the mesh: declared tcp ports over the link, CONNECT, local upstream ports, and what lies outside. */
import { once } from "node:events";
import { createServer, type RequestListener } from "node:http";
import {
  connect,
  createServer as createTcpServer,
  type AddressInfo,
  type Server,
  type Socket,
} from "node:net";
import t from "tap";
import {
  listening,
  memoryAgent,
  resource,
  send,
  until,
  withPair,
  type Pair,
} from "../support/meshes/pair.ts";
import { startSidecar } from "../../src/sidecar/sidecar.ts";

/** Speaks first, then repeats what comes, and says goodbye when the client has ended. */
const greeter = (socket: Socket): void => {
  socket.on("error", () => undefined);
  socket.write("welcome;");
  socket.on("data", (chunk: Buffer) => socket.write(chunk));
  socket.on("end", () => socket.end(";goodbye"));
};

async function dial(port: number): Promise<Socket> {
  const socket = connect({ port, host: "127.0.0.1", allowHalfOpen: true });
  await once(socket, "connect");
  return socket;
}

async function all(socket: Socket): Promise<string> {
  let text = "";
  for await (const chunk of socket) text += String(chunk);
  return text;
}

/** Waits until the socket is gone, with or without an error. */
function closed(socket: Socket): Promise<void> {
  socket.on("error", () => undefined);
  // Without a reader the peer's end goes unnoticed.
  socket.on("end", () => socket.end());
  socket.resume();
  return new Promise((resolve) => {
    if (socket.closed) resolve();
    else socket.on("close", () => resolve());
  });
}

/** Opens a tunnel by CONNECT on the outbound listener; resolves with the socket after the head. */
async function tunnel(
  port: number,
  target: string,
): Promise<{ socket: Socket; status: number; head: string; rest: string }> {
  const socket = await dial(port);
  socket.on("error", () => undefined);
  socket.write(`CONNECT ${target} HTTP/1.1\r\nHost: ${target}\r\n\r\n`);
  let text = "";
  while (!text.includes("\r\n\r\n")) {
    const [chunk] = (await once(socket, "data")) as [Buffer];
    text += chunk.toString("latin1");
  }
  const end = text.indexOf("\r\n\r\n") + 4;
  return {
    socket,
    status: Number(text.split(" ")[1]),
    head: text.slice(0, end),
    rest: text.slice(end),
  };
}

const tcp = { appProtocol: "tcp", rawApp: () => greeter } as const;
const toOrders = { upstream: [{ port: 0, to: "orders.shop" }] };

function upstreamPort(pair: Pair): number {
  return pair.caller.ports.upstreams.get("orders.shop") ?? 0;
}

void t.test(
  "a local port leads to a tcp service, whose server may speak first, and half-close crosses",
  async (t) => {
    await withPair({ ...tcp, caller: toOrders }, async (pair) => {
      const socket = await dial(upstreamPort(pair));
      const [first] = (await once(socket, "data")) as [Buffer];
      t.equal(first.toString(), "welcome;");
      socket.write("hello");
      socket.end();
      t.equal(await all(socket), "hello;goodbye");
      t.match(
        pair.log.filter(({ method }) => method === "CONNECT"),
        [
          { direction: "inbound", destination: "orders.shop:80", status: 200 },
          { direction: "outbound", destination: "orders.shop:80", status: 200 },
        ],
        "both sides tell of it",
      );
    });
  },
);

void t.test("CONNECT to a tcp service goes over the link", async (t) => {
  await withPair(tcp, async (pair) => {
    const { socket, status, rest } = await tunnel(
      pair.caller.ports.outbound ?? 0,
      "orders.shop:80",
    );
    t.equal(status, 200);
    socket.write("ping");
    socket.end();
    t.equal(rest + (await all(socket)), "welcome;ping;goodbye");
    t.match(
      pair.log.find(({ direction }) => direction === "inbound"),
      { peer: pair.authority.id("web") },
    );
  });
});

void t.test("a megabyte each way through a tunnel, unchanged", async (t) => {
  await withPair(
    {
      appProtocol: "tcp",
      rawApp: () => (socket) => {
        socket.on("error", () => undefined);
        socket.pipe(socket);
      },
      caller: toOrders,
    },
    async (pair) => {
      const socket = await dial(upstreamPort(pair));
      const sent = Buffer.alloc(1024 * 1024, "abcdefghij");
      const got: Buffer[] = [];
      socket.on("data", (chunk: Buffer) => got.push(chunk));
      socket.end(sent);
      await once(socket, "end");
      t.ok(Buffer.concat(got).equals(sent));
    },
  );
});

void t.test(
  "authorization of bytes: what only HTTP has is missing",
  async (t) => {
    await withPair({ ...tcp, caller: toOrders }, async (pair) => {
      pair.apply([
        resource("AuthorizationPolicy", "no-deletes", {
          selector: { matchLabels: { app: "orders" } },
          action: "DENY",
          rules: [{ to: [{ operation: { methods: ["DELETE"] } }] }],
        }),
      ]);
      const socket = await dial(upstreamPort(pair));
      await closed(socket);
      t.match(
        pair.log.find(({ direction }) => direction === "inbound"),
        { status: 403, reason: "DENIED", policy: "shop/no-deletes" },
        "a DENY by method takes the whole port (trap 3)",
      );
      const { status, head } = await tunnel(
        pair.caller.ports.outbound ?? 0,
        "orders.shop:80",
      );
      t.equal(status, 403, "CONNECT has words for it");
      t.match(head, /x-wherry-reason: DENIED; policy=shop\/no-deletes/);
    });
  },
);

void t.test("a reset of either end reaches the other", async (t) => {
  const sockets: Socket[] = [];
  await withPair(
    {
      appProtocol: "tcp",
      rawApp: () => (socket) => {
        socket.on("error", () => undefined);
        socket.on("data", () => undefined);
        sockets.push(socket);
        socket.write("x");
      },
      caller: toOrders,
      // No probe, whose connection would be one of those that are watched.
      callee: { appPorts: [] },
    },
    async (pair) => {
      const first = await dial(upstreamPort(pair));
      await once(first, "data");
      const appEnd = closed(sockets[0] ?? first);
      first.resetAndDestroy();
      await appEnd;
      const second = await dial(upstreamPort(pair));
      second.on("error", () => undefined);
      await once(second, "data");
      const callerEnd = closed(second);
      sockets[1]?.resetAndDestroy();
      await callerEnd;
      t.equal(
        await pair.metric(pair.caller, "wherry_active_requests", "outbound"),
        0,
      );
    },
  );
});

void t.test(
  "a tunnel that is cut off after the service has said all breaks for its sender",
  async (t) => {
    let got = "";
    await withPair(
      {
        appProtocol: "tcp",
        rawApp: () => (socket) => {
          socket.on("error", () => undefined);
          socket.on("data", (chunk: Buffer) => (got += chunk.toString()));
          socket.end("all");
        },
        caller: toOrders,
      },
      async (pair) => {
        const socket = await dial(upstreamPort(pair));
        socket.on("error", () => undefined);
        await once(socket.resume(), "end");
        socket.write("upload");
        await until(() => got === "upload");
        pair.apply([
          resource("AuthorizationPolicy", "nobody", {
            selector: { matchLabels: { app: "orders" } },
          }),
        ]);
        // A socket that has read the end hears of a reset when it writes.
        await until(() => {
          if (socket.writable) socket.write("more");
          return socket.closed;
        });
        await until(() => pair.log.length === 2);
        t.match(
          pair.log.find(({ direction }) => direction === "outbound"),
          { status: 200, reason: "UPSTREAM_RESET" },
        );
      },
    );
  },
);

async function withServer(
  server: Server,
  use: (port: number) => Promise<void>,
): Promise<void> {
  const port = await listening(server);
  try {
    await use(port);
  } finally {
    server.close();
    if ("closeAllConnections" in server)
      (server.closeAllConnections as () => void)();
  }
}

const outsider: RequestListener = (request, response) => {
  response.setHeader("x-wherry-reason", "DENIED");
  response.end(JSON.stringify(request.headers));
};

void t.test("HTTP to what is no service passes through, by Host", async (t) => {
  await withPair({}, async (pair) => {
    await withServer(createServer(outsider), async (port) => {
      const answer = await pair.call({
        host: `127.0.0.1:${port}`,
        headers: { "x-wherry-destination": "orders.shop:80" },
      });
      t.equal(answer.status, 200);
      t.equal(answer.reason, undefined, "a stranger's reason is no reason");
      const headers = JSON.parse(answer.text) as Record<string, string>;
      t.equal(headers["host"], `127.0.0.1:${port}`);
      t.notOk(headers["x-wherry-destination"]);
    });
  });
});

void t.test("CONNECT to what is no service is a tunnel to it", async (t) => {
  await withPair({}, async (pair) => {
    await withServer(
      createTcpServer({ allowHalfOpen: true }, greeter),
      async (port) => {
        const { socket, status, rest } = await tunnel(
          pair.caller.ports.outbound ?? 0,
          `127.0.0.1:${port}`,
        );
        t.equal(status, 200);
        socket.end("x");
        t.equal(rest + (await all(socket)), "welcome;x;goodbye");
      },
    );
  });
});

void t.test("an IPv6 address outside is told with its brackets", async (t) => {
  await withPair({}, async (pair) => {
    const server = createServer(outsider);
    server.listen(0, "::1");
    await once(server, "listening");
    const { port } = server.address() as AddressInfo;
    const host = `[::1]:${port}`;
    try {
      t.equal((await pair.call({ host })).status, 200);
      const { socket, status } = await tunnel(
        pair.caller.ports.outbound ?? 0,
        host,
      );
      t.equal(status, 200);
      socket.destroy();
      await until(() => pair.log.length === 2);
      t.match(pair.log, [{ endpoint: host }, { endpoint: host }]);
      t.match(
        pair.spans.find(({ kind }) => kind === "client"),
        { attributes: { "server.address": "::1", "server.port": port } },
      );
    } finally {
      server.close();
      server.closeAllConnections();
    }
  });
});

void t.test("a name that nobody knows is a 502 that says so", async (t) => {
  await withPair({}, async (pair) => {
    const answer = await pair.call({ host: "nowhere.invalid" });
    t.equal(answer.status, 502);
    t.equal(answer.reason, "UNKNOWN_DESTINATION");
    t.match(answer.text, /nowhere\.invalid/);
  });
});

void t.test("REGISTRY_ONLY refuses what is no service", async (t) => {
  await withPair(
    { mesh: { outboundTrafficPolicy: "REGISTRY_ONLY" } },
    async (pair) => {
      for (const host of ["127.0.0.1:9", "[2001:db8::1]:81"])
        t.match(await pair.call({ host }), {
          status: 502,
          reason: "UNKNOWN_DESTINATION",
          text: `UNKNOWN_DESTINATION: ${host} is not in the mesh`,
        });
      t.equal((await pair.call()).status, 200, "the mesh is not affected");
    },
  );
});

void t.test("a call to the sidecar's own listener is a loop", async (t) => {
  await withPair({}, async (pair) => {
    for (const port of [
      pair.caller.ports.outbound,
      pair.caller.ports.admin,
      pair.caller.ports.link,
    ]) {
      const answer = await pair.call({ host: `127.0.0.1:${port ?? 0}` });
      t.match(answer, { status: 508, reason: "LOOP" }, `port ${port ?? 0}`);
    }
  });
});

void t.test(
  "what is neither HTTP nor captured is refused or closed, and counted",
  async (t) => {
    await withPair({}, async (pair) => {
      for (const [octets, reason, answer] of [
        ["\u0000\u0001\u0002 garbage\r\n", "BAD_REQUEST", /^HTTP\/1\.1 400 /],
        ["\u0016\u0003\u0001\u0002\u0000", "not HTTP", /^$/],
      ] as const) {
        const socket = await dial(pair.caller.ports.outbound ?? 0);
        let received = "";
        socket.on("error", () => undefined);
        socket.on("data", (chunk: Buffer) => (received += chunk.toString()));
        socket.write(octets);
        await closed(socket);
        t.match(received, answer, reason);
        t.equal(
          await pair.metric(
            pair.caller,
            "wherry_refusals_total",
            "outbound",
            reason,
          ),
          1,
        );
      }
    });
  },
);

void t.test(
  "a connection to the inbound port that was not captured is closed",
  async (t) => {
    await withPair({}, async (pair) => {
      const socket = await dial(pair.callee.ports.inbound ?? 0);
      socket.on("error", () => undefined);
      socket.resume();
      await closed(socket);
      t.equal(
        await pair.metric(
          pair.callee,
          "wherry_refusals_total",
          "captured",
          "not captured",
        ),
        1,
      );
    });
  },
);

void t.test("before there is any config, calls are told so", async (t) => {
  const sidecar = await startSidecar({
    agent: () => Promise.resolve(memoryAgent(undefined, undefined)),
    ports: { outbound: 0, admin: 0 },
    accessLog: "none",
  });
  try {
    const answer = await send(sidecar.ports.outbound ?? 0);
    t.match(answer, { status: 503, reason: "NO_CONFIG" });
    t.equal(answer.headers["retry-after"], "1");
  } finally {
    await sidecar.destroy();
  }
});

void t.test(
  "an instance without a sidecar is called in plaintext",
  async (t) => {
    await withPair({ plaintext: true }, async (pair) => {
      const answer = await pair.call();
      t.equal(answer.status, 200);
      const { headers } = JSON.parse(answer.text) as {
        headers: Record<string, string>;
      };
      t.notOk(
        headers["x-wherry-destination"],
        "it is told nothing of the mesh",
      );
    });
  },
);
