/** The options of `wherry sidecar` become one value, which goes whole to the sidecar and into its threads. */
import { Command } from "commander";
import t from "tap";
import {
  withSidecarOptions,
  type SidecarCommandOptions,
} from "../../src/cli/sidecar-options.ts";
import {
  declaredOf,
  instanceNameOf,
  settingsOf,
} from "../../src/cli/sidecar-settings.ts";
import { DNS_NAME } from "../../src/resources/schema-parts.ts";
import {
  DEFAULT_SETTINGS,
  type SidecarSettings,
} from "../../src/sidecar/settings.ts";

const NAMES_FILE = ".wherry/sidecar/virtual-addresses.jsonl";

function settings(...options: readonly string[]): SidecarSettings {
  const command = withSidecarOptions(new Command("sidecar"));
  command.parse(options, { from: "user" });
  return settingsOf(command.opts<SidecarCommandOptions>());
}

void t.test("what is not said is the sidecar's default", (t) => {
  t.strictSame(settings(), DEFAULT_SETTINGS);
  t.end();
});

void t.test("what is said arrives", (t) => {
  const all: SidecarSettings = {
    concurrency: 3,
    scope: "all",
    ports: { outbound: 1, link: 3, admin: 4, metrics: 5 },
    host: "127.0.0.1",
    metricsHost: "127.0.0.1",
    publish: [{ port: 6, appPort: 7 }],
    upstream: [{ port: 8, to: "orders.shop:80" }],
    dns: {
      ...{ host: "::1", port: 12, file: NAMES_FILE },
      servers: [
        { host: "192.0.2.1", port: 53 },
        { host: "192.0.2.2", port: 54 },
      ],
    },
    appPorts: [9, 10],
    appAddress: "::1",
    accessLog: "all",
    accessLogFile: "/log",
    linkProtocol: "http/1.1",
    limits: { connections: 11 },
    trustedProxies: ["10.0.0.0/8"],
    drainTimeout: 12_000,
  };
  const said = settings(
    ...["--concurrency", "3", "--no-capture", "--scope", "all"],
    ...["--outbound-port", "1", "--link-port", "3"],
    ...["--admin-port", "4", "--metrics-port", "5"],
    ...["--host", "127.0.0.1", "--publish", "6=7"],
    ...["--upstream", "8=orders.shop:80"],
    ...["--dns", "[::1]:12", "--dns-upstream", "192.0.2.1,192.0.2.2:54"],
    ...["--app-port", "http=9", "--app-port", "admin=10"],
    ...["--app-address", "::1", "--access-log", "all"],
    ...["--access-log-file", "/log", "--link-protocol", "http/1.1"],
    ...["--max-connections", "11", "--trusted-proxy", "10.0.0.0/8"],
    ...["--drain-timeout", "12s"],
  );
  t.strictSame(said, all);
  const names = (each: SidecarSettings): string[] => Object.keys(each).sort();
  t.same(
    names({
      ...{ appPorts: [], accessLogFile: "", dns: { host: "", port: 0 } },
      ...DEFAULT_SETTINGS,
    }),
    names(all),
    "these are all that there are",
  );
  t.strictSame(structuredClone(said), said, "a thread gets the same");
  t.end();
});

void t.test("an application is on a port of its own", (t) => {
  for (const [fault, ...options] of [
    [/"0": expected the port that the application/, "--app-port", "http=0"],
    [/"0": expected the port that the application/, "--publish", "80=0"],
    [/expected a port/, "--app-port", "http="],
    [/http=15001: .*--outbound-port/, "--app-port", "http=15001"],
    [/http=15006: .*--inbound-port/, "--app-port", "http=15006"],
    [/http=7: .*--link-port/, "--app-port", "http=7", "--link-port", "7"],
  ] as const)
    t.throws(() => settings(...options), { message: fault });
  t.strictSame(
    settings("--no-capture", "--app-port", "http=15006").appPorts,
    [15_006],
    "what is not opened is free",
  );
  t.end();
});

void t.test("an upstream is a local port, or a Service alone", (t) => {
  const command = withSidecarOptions(new Command("sidecar"));
  command.parse(
    [
      ...["--upstream", "8=Orders.shop:80", "--upstream", "shop/payments"],
      ...["--upstream", "9=stock.shop"],
    ],
    { from: "user" },
  );
  const options = command.opts<SidecarCommandOptions>();
  t.same(settingsOf(options).upstream, [
    { port: 8, to: "Orders.shop:80" },
    { port: 9, to: "stock.shop" },
  ]);
  t.same(declaredOf(options), {
    services: ["shop/payments"],
    hosts: ["orders.shop", "stock.shop"],
  });
  t.end();
});

void t.test("files are all that there is", (t) => {
  t.equal(settings("--resources", "x").scope, "all");
  t.equal(settings("--resources", "x", "--scope", "all").scope, "all");
  t.throws(() => settings("--resources", "x", "--scope", "used"), {
    message: /--scope used/,
  });
  t.end();
});

void t.test("the resolver without an address, and with other servers", (t) => {
  const dns = { host: "127.0.0.1", port: 15053 };
  t.same(settings("--dns").dns, { ...dns, file: NAMES_FILE });
  t.same(settings("--dns", "--state", "/state").dns, {
    ...dns,
    file: "/state/virtual-addresses.jsonl",
  });
  for (const server of ["name.example:53", "192.0.2.1:0", "192.0.2.1:x"])
    t.throws(() => settings("--dns", "--dns-upstream", server), {
      message: /--dns-upstream/,
    });
  t.end();
});

void t.test("what cannot be is refused by its option's name", (t) => {
  for (const [option, value] of [
    ["--concurrency", "65"],
    ["--publish", "80"],
    ["--upstream", "orders"],
    ["--scope", "some"],
    ["--dns", "15053"],
    ["--dns", "localhost:15053"],
    ["--dns-upstream", "192.0.2.1"],
    ["--access-log", "some"],
    ["--link-protocol", "h3"],
    ["--drain-timeout", "soon"],
  ] as const)
    t.throws(() => settings(option, value), { message: new RegExp(option) });
  t.end();
});

void t.test("a name that no instance can have ends the start", (t) => {
  for (const name of ["_", "(none)", "my_host", "x".repeat(64), "a..b"]) {
    t.throws(() => instanceNameOf({}, name), {
      message: `the host name "${name}" cannot be the name of this instance: give one with --name, ${DNS_NAME.expected}`,
    });
    t.throws(() => instanceNameOf({ name }), {
      message: `invalid --name "${name}": expected ${DNS_NAME.expected}`,
    });
  }
  for (const name of ["web-1", "web-1.example.com", "x".repeat(63), ""])
    t.equal(instanceNameOf({ name }), name);
  t.end();
});
