// Transparent capture: applications that know nothing of the mesh, on hosts of their own, and what is on the wire between them.
import t from "tap";
import { eventually } from "../support/peers/call.ts";
import {
  allowOnly,
  PROXY,
  requestsTo,
  startCapturedMesh,
  WHERRY,
  type CapturedMesh,
} from "../support/meshes/captured-mesh.ts";
import {
  callByName,
  callByNft,
  NAME_SERVERS,
  VERSION_2,
} from "../support/meshes/captured-names.ts";
import { takeOverCaptured } from "../support/meshes/captured-take-over.ts";
import {
  curl,
  rulesOf,
  talk,
  type Answer,
  type Talk,
} from "../support/meshes/captured-calls.ts";
import {
  CASES,
  clientCommand,
  INTEROP_MISSING,
  serverCommand,
  serviceOf,
} from "../support/processes/grpc-interop.ts";
import { needs } from "../support/processes/tools.ts";
import {
  DATABASES_MISSING,
  databaseSessions,
} from "../support/meshes/database-sessions.ts";
import { whyNoHosts, type Host } from "../support/meshes/hosts.ts";
import { watchWire } from "../support/meshes/wire-watch.ts";

const HTTP = 8080;
const LINK = 15008;
const GRPC = 10000;
const CALLER = "spiffe://cluster.local/ns/shop/sa/caller";
const CALLEE = "spiffe://cluster.local/ns/shop/sa/callee";

/** A rule that somebody else has set. */
const FOREIGN = ["-t", "nat", "-A", "OUTPUT", "-p", "udp", "-j", "RETURN"];

const countOf = (text: string, part: string): number =>
  text.split(part).length - 1;

const url = (address: string, port: number, path: string): string =>
  `http://${address.includes(":") ? `[${address}]` : address}:${port}${path}`;

function capture(mesh: CapturedMesh): void {
  const { network, caller, callee, outside } = mesh;
  const families = [
    { family: "IPv4", of: (host: Host): string => host.ipv4 },
    { family: "IPv6", of: (host: Host): string => host.ipv6 },
  ] as const;
  t.teardown(() => mesh.close());

  void t.test(
    "rules stand once, in both families, beside others",
    async (t) => {
      for (const tool of ["iptables", "ip6tables"])
        await callee.run([tool, ...FOREIGN]);
      const once = await rulesOf(callee);
      for (const port of [15001, 15006])
        t.equal(countOf(once, `--to-ports ${port}`), 2, `to ${port}`);
      const dry = await callee.run([...WHERRY, "intercept", "--dry-run"]);
      t.match(dry.stdout, "# iptables-restore");
      t.match(dry.stdout, "# ip6tables-restore");
      t.equal(await rulesOf(callee), once, "a dry run changes nothing");
      const again = await callee.run([...WHERRY, "intercept"]);
      t.match(again, { code: 0, stdout: "in IPv4 and IPv6" });
      t.equal(await rulesOf(callee), once, "nor does installing them again");
    },
  );

  void t.test(
    "a call to the other host's address crosses as mTLS, authorized by the caller's identity",
    async (t) => {
      const path = "/plain-path";
      let answer: Answer | undefined;
      const seen = await watchWire(network, callee, async () => {
        answer = await curl(
          caller,
          url(callee.ipv4, HTTP, `${path}?plain=query`),
          ["-d", "plain-body", "-H", "x-plain: plain-field"],
        );
      });
      t.match(answer, { status: 200, by: "callee" });
      t.equal(answer?.text, "plain answer of callee to plain-body");
      t.equal(seen.packets(HTTP), 0, "nothing to or from the application");
      t.ok(seen.packets(LINK) > 0, "but over the link");
      for (const text of ["plain-path", "plain-body", "plain-field", "answer"])
        t.notOk(seen.has(text), `"${text}" is not on the wire`);
      t.strictSame(callee.strangers(), [], "the sidecar alone came to it");
      t.ok(callee.requests().includes(`POST ${path}?plain=query`));

      const [inbound] = await eventually(
        "the callee's access log",
        5000,
        () => Promise.resolve(callee.accesses(path)),
        (records) => records.length > 0,
      );
      t.match(inbound, {
        direction: "inbound",
        status: 200,
        peer: CALLER,
        destination: "callee.shop:80",
      });
      const [outbound] = await eventually(
        "the caller's access log",
        5000,
        () => Promise.resolve(caller.accesses(path)),
        (records) => records.length > 0,
      );
      t.match(outbound, {
        direction: "outbound",
        destination: "callee.shop:80",
        endpoint: `${callee.ipv4}:${LINK}`,
        traceId: inbound?.traceId,
      });

      const spans = await eventually(
        "the trace",
        10_000,
        () =>
          Promise.resolve(
            mesh.spans.filter(({ traceId }) => traceId === inbound?.traceId),
          ),
        (found) => found.length >= 4,
      );
      const chain = [
        ["caller", "server"],
        ["caller", "client"],
        ["callee", "server"],
        ["callee", "client"],
      ].map(([instance, kind]) =>
        spans.find((span) => span.instance === instance && span.kind === kind),
      );
      for (const [index, span] of chain.entries())
        t.equal(
          span?.parentSpanId,
          index === 0 ? "" : chain[index - 1]?.spanId,
          `${span?.instance ?? "?"}'s ${span?.kind ?? "?"} span has its parent`,
        );
    },
  );

  void t.test("of two Services with one address, Host chooses", async (t) => {
    await mesh.apply(VERSION_2);
    let count = 0;
    const goesTo = async (host: string, more: readonly string[] = []) => {
      const path = `/version-${(count += 1)}`;
      const asked = url(callee.ipv4, HTTP, path);
      await curl(caller, asked, ["-H", `host: ${host}`, ...more]);
      const [record] = await eventually(
        "the access log",
        5000,
        () => Promise.resolve(caller.accesses(path)),
        (records) => records.length > 0,
      );
      return record?.destination;
    };
    t.equal(
      await eventually(
        "the second Service is known",
        10_000,
        () => goesTo("callee-v2.shop"),
        (destination) => destination === "callee-v2.shop:80",
      ),
      "callee-v2.shop:80",
    );
    for (const [host, expected, ...more] of [
      ["callee-v2.shop:8080", "callee-v2.shop:80"],
      ["callee-v2", "callee-v2.shop:80", "--http2-prior-knowledge"],
      ["callee.shop", "callee.shop:80"],
      [`${callee.ipv4}:8080`, "callee.shop:80"],
      ["nobody.example", "callee.shop:80"],
    ] as const)
      t.equal(await goesTo(host, more), expected, host);
    t.strictSame(callee.strangers(), []);
  });

  void t.test(
    "every case of gRPC's interoperability suite holds",
    needs(INTEROP_MISSING),
    async (t) => {
      await mesh.apply(serviceOf("callee", GRPC));
      const failureOf = async (name: string): Promise<string> => {
        const command = clientCommand(callee.ipv4, GRPC, name);
        const { code, stderr } = await caller.run(command);
        return code === 0 ? "" : `${code}: ${stderr}`;
      };
      await eventually(
        "the Service is known",
        20_000,
        () => failureOf("empty_unary"),
        (failure) => failure === "",
      );
      const seen = await watchWire(network, callee, async () => {
        for (const name of CASES) t.equal(await failureOf(name), "", name);
      });
      t.equal(seen.packets(GRPC), 0, "nothing past the link");
      t.ok(seen.packets(LINK) > 0);
    },
  );

  void t.test("calls go by name", (t) => callByName(t, mesh, GRPC));

  void t.test("sidecars are replaced", (t) =>
    takeOverCaptured(t, mesh, INTEROP_MISSING.length > 0 ? undefined : GRPC),
  );

  void t.test("a call to an IPv6 address is carried too", async (t) => {
    let answer: Answer | undefined;
    const seen = await watchWire(network, caller, async () => {
      answer = await curl(callee, url(caller.ipv6, HTTP, "/plain-six"));
    });
    t.match(answer, { status: 200, by: "caller" });
    t.equal(seen.packets(HTTP), 0);
    t.ok(seen.packets(LINK) > 0);
    t.notOk(seen.has("plain-six"));
    const [inbound] = await eventually(
      "the access log",
      5000,
      () => Promise.resolve(caller.accesses("/plain-six")),
      (records) => records.length > 0,
    );
    t.match(inbound, { direction: "inbound", peer: CALLEE });
    t.strictSame(caller.strangers(), []);
  });

  void t.test(
    "bytes cross as a CONNECT stream, each half ended by itself",
    async (t) => {
      const text = "plain-bytes ";
      const times = 50_000;
      const talks: Talk[] = [];
      const seen = await watchWire(network, callee, async () => {
        for (const [port, order, count] of [
          [9000, "after the greeting", times],
          [9000, "speaks first", 1],
          [9001, "after the end", 1],
        ] as const)
          talks.push(await talk(caller, callee.ipv4, port, order, text, count));
      });
      const greeting = "greeting of callee\n";
      const sent = text.length * times;
      t.match(
        talks[0],
        { how: "closed", start: greeting, end: `seen ${sent}` },
        "the server speaks first, and last, after the client's end",
      );
      t.equal(
        talks[0]?.length,
        `${greeting}\nseen ${sent}`.length + sent,
        "every byte came back",
      );
      t.match(talks[1], { how: "closed", end: `seen ${text.length}` });
      t.match(talks[2], { how: "closed", start: "all I have to say" });
      await callee.application.prints(JSON.stringify({ after: text }));
      for (const port of [9000, 9001]) t.equal(seen.packets(port), 0);
      t.ok(seen.packets(LINK) > 0);
      for (const words of ["plain-bytes", "greeting of", "all I have"])
        t.notOk(seen.has(words), `"${words}" is not on the wire`);
      t.strictSame(callee.strangers(), []);
    },
  );

  void t.test(
    "who is not allowed is refused, with the policy's name",
    async (t) => {
      const asked = url(callee.ipv4, HTTP, "/allowed");
      await mesh.apply(allowOnly("callee", "somebody-else"));
      const refused = await eventually(
        "the refusal",
        5000,
        () => curl(caller, asked),
        ({ status }) => status !== 200,
      );
      t.match(refused, {
        status: 403,
        reason: "NOT_ALLOWED; policy=shop/callee-callers",
        by: "",
      });
      t.match(
        await talk(caller, callee.ipv4, 9000, "speaks first", "knock"),
        { length: 0 },
        "bytes neither",
      );
      await mesh.apply(allowOnly("callee", "caller"));
      await eventually(
        "service again",
        5000,
        () => curl(caller, asked),
        ({ status }) => status === 200,
      );
    },
  );

  for (const { family, of } of families) {
    void t.test(
      `plaintext past the caller's sidecar is refused: ${family}`,
      async (t) => {
        const before = callee.requests().length;
        const path = `/straight-${family}`;
        const straight = url(of(callee), HTTP, path);
        const answers: Answer[] = [];
        const seen = await watchWire(network, callee, async () => {
          answers.push(
            // As the proxy's user, whom the rules let through.
            await curl(caller, straight, [], { uid: PROXY }),
            await curl(outside, straight),
          );
        });
        for (const answer of answers)
          t.match(answer, { status: 403, by: "" }, answer.text);
        t.ok(seen.packets(HTTP) > 10, "it did go to the application's port");
        t.ok(seen.has(path), "and this look at the wire sees plaintext");
        t.match(
          await talk(outside, of(callee), 9000, "speaks first", "knock"),
          { length: 0 },
          "bytes are cut off unanswered",
        );
        await eventually(
          "the reason in the log",
          5000,
          () => Promise.resolve(callee.accesses(path)),
          (records) =>
            records.length === 2 &&
            records.every(({ reason }) => reason === "MTLS_REQUIRED"),
        );
        t.equal(callee.requests().length, before, "the application saw none");
        t.strictSame(callee.strangers(), []);
      },
    );

    void t.test(
      `no way leads to the sidecar's own ports: ${family}`,
      async (t) => {
        for (const port of [15001, 15000])
          t.match(await curl(outside, url(of(callee), port, "/")), {
            status: 421,
          });
        for (const port of [15006, LINK])
          t.match(
            await curl(outside, url(of(callee), port, "/")),
            { status: 0 },
            `${port} closes a connection that is not for it`,
          );
        const loopback = family === "IPv4" ? "127.0.0.1" : "::1";
        for (const port of [15006, LINK])
          t.match(
            await talk(
              callee,
              loopback,
              port,
              "speaks first",
              "GET / HTTP/1.1\r\nhost: a\r\n\r\n",
            ),
            { length: 0 },
            `${port} from the host itself`,
          );
        t.match(callee.sidecar.printed, '"reason":"not captured"');
        for (const [from, to] of [
          [outside, callee],
          [caller, outside],
        ] as const)
          t.match(
            await talk(from, of(to), HTTP, "speaks first", ""),
            { how: "closed", length: 0 },
            "who comes and goes without a word keeps no connection open",
          );
      },
    );

    void t.test(
      `a destination outside the mesh is passed through: ${family}`,
      async (t) => {
        const path = `/outside-${family}`;
        const seenBefore = requestsTo(mesh.outsideApplication).length;
        t.match(await curl(caller, url(of(outside), HTTP, path)), {
          status: 200,
          by: "outside",
        });
        t.strictSame(requestsTo(mesh.outsideApplication).slice(seenBefore), [
          `GET ${path}`,
        ]);
        const [record] = await eventually(
          "the access log",
          5000,
          () => Promise.resolve(caller.accesses(path)),
          (records) => records.length > 0,
        );
        t.match(
          record,
          { direction: "outbound", destination: "outside" },
          "it was captured",
        );
        t.match(
          await talk(caller, of(outside), 9000, "speaks first", "\u0001bytes"),
          { how: "closed", end: "seen 6" },
          "bytes as well",
        );
        t.match(
          await talk(caller, of(outside), 9000, "after the greeting", "knock"),
          { how: "closed", end: "seen 5" },
          "and a server that speaks first",
        );
      },
    );
  }

  void t.test("databases", needs(DATABASES_MISSING), (t) =>
    databaseSessions(t, mesh),
  );
  void t.test("calls go by nftables", (t) => callByNft(t, mesh, GRPC));

  void t.test("without the rules everything is as it was", async (t) => {
    const { code } = await callee.run([...WHERRY, "intercept", "--remove"]);
    t.equal(code, 0);
    const rules = await rulesOf(callee);
    t.notMatch(rules, "WHERRY");
    t.equal(countOf(rules, "-A OUTPUT -p udp -j RETURN"), 2);
    for (const { of } of families)
      t.match(await curl(outside, url(of(callee), HTTP, "/bare")), {
        status: 200,
        by: "callee",
      });
    const again = await callee.run([...WHERRY, "intercept", "--remove"]);
    t.equal(again.code, 0, "removing twice is no error");
  });
}

const missing = whyNoHosts();
if (missing === undefined) {
  const interop = { command: serverCommand(GRPC), port: `grpc=${GRPC}` };
  const second = INTEROP_MISSING.length === 0 ? interop : undefined;
  capture(await startCapturedMesh(second, NAME_SERVERS));
} else if (process.env["WHERRY_REQUIRE"] === "all") t.fail(missing);
else t.pass(missing, { skip: missing });
