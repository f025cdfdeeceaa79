/** Where a flag's value comes from: the command line, the environment, the --config file, the default. */
import { Command } from "commander";
import t from "tap";
import {
  addressOf,
  applyConfigFile,
  metricsDestination,
  CONFIG_OPTION,
  listOption,
  option,
  pairsOf,
  portOf,
  spanDestination,
} from "../../src/cli/settings.ts";

/** The values that a command with a few options of each sort ends up with. */
async function valuesOf(
  argv: readonly string[],
): Promise<Record<string, unknown>> {
  let values: Record<string, unknown> = {};
  const command = new Command("try")
    .exitOverride()
    .option(CONFIG_OPTION, "")
    .addOption(option("--drain-timeout <duration>", "", "30s"))
    .addOption(option("--weight <number>", ""))
    .addOption(listOption("--publish <ports>", ""))
    .option("--no-capture", "")
    .option("--dry-run", "")
    .action((options: Record<string, unknown>) => void (values = options));
  command.hook("preAction", (_self, action) => applyConfigFile(action));
  await command.parseAsync(argv, { from: "user" });
  return values;
}

void t.test(
  "command line before environment before file before default",
  async (t) => {
    const folder = t.testdir({ "w.yaml": "drain-timeout: 10s\nweight: 3\n" });
    const config = ["--config", `${folder}/w.yaml`];
    t.match(await valuesOf([]), { drainTimeout: "30s", weight: undefined });
    t.match(await valuesOf(config), { drainTimeout: "10s", weight: "3" });
    process.env["WHERRY_DRAIN_TIMEOUT"] = "20s";
    t.teardown(() => delete process.env["WHERRY_DRAIN_TIMEOUT"]);
    t.match(await valuesOf(config), { drainTimeout: "20s", weight: "3" });
    t.match(await valuesOf([...config, "--drain-timeout", "5s"]), {
      drainTimeout: "5s",
    });
  },
);

void t.test("lists and switches in a file", async (t) => {
  const rows: readonly (readonly [string, object])[] = [
    ["publish: [80=8080, 81=8081]", { publish: ["80=8080", "81=8081"] }],
    ["publish: 80=8080,81=8081", { publish: ["80=8080", "81=8081"] }],
    ["no-capture: true", { capture: false }],
    ["no-capture: false", { capture: true }],
    ["", { capture: true }],
    ["dry-run: true", { dryRun: true }],
  ];
  for (const [text, values] of rows) {
    const folder = t.testdir({ "w.yaml": `${text}\n` });
    t.match(await valuesOf(["--config", `${folder}/w.yaml`]), values, text);
  }
});

void t.test("lists on the command line and in the environment", async (t) => {
  t.match(await valuesOf(["--publish", "1=2,3=4", "--publish", "5=6"]), {
    publish: ["1=2", "3=4", "5=6"],
  });
  process.env["WHERRY_PUBLISH"] = "7=8,9=10";
  t.teardown(() => delete process.env["WHERRY_PUBLISH"]);
  t.match(await valuesOf([]), { publish: ["7=8", "9=10"] });
});

void t.test(
  "a file that says something else is refused in words",
  async (t) => {
    const rows: readonly (readonly [string, RegExp])[] = [
      [
        "speed: 3",
        /there is no option --speed; "wherry try --help" lists them/,
      ],
      ["capture: false", /there is no option --capture/],
      ["dry-run: 1", /dry-run is a switch: true or false/],
      ["weight: { a: 1 }", /weight takes text or a number/],
      ["weight: [1]", /weight takes text or a number/],
      ["- a", /expected a mapping of option names to values/],
      ["a: [", /w\.yaml: /],
    ];
    for (const [text, message] of rows) {
      const folder = t.testdir({ "w.yaml": `${text}\n` });
      await t.rejects(
        valuesOf(["--config", `${folder}/w.yaml`]),
        { name: "UserError", message },
        text,
      );
    }
    await t.rejects(valuesOf(["--config", "/nowhere.yaml"]), /ENOENT/);
  },
);

void t.test("ports, pairs and addresses", (t) => {
  t.equal(portOf("--p", "0"), 0);
  t.equal(portOf("--p", "65535"), 65_535);
  for (const text of ["", "-1", "65536", "80.5", "http", " 80", "0x50"])
    t.throws(() => portOf("--p", text), { name: "UserError" }, text);
  t.strictSame(pairsOf("--l", ["a=1,b=2", "c=x=y", "d="]), {
    a: "1",
    b: "2",
    c: "x=y",
    d: "",
  });
  for (const text of ["a", "=1"])
    t.throws(() => pairsOf("--l", [text]), /is not of the form KEY=VALUE/);
  t.strictSame(addressOf("--a", "cp.example:15012"), {
    host: "cp.example",
    port: 15_012,
  });
  t.strictSame(addressOf("--a", "[::1]:0"), { host: "::1", port: 0 });
  for (const text of ["::1:80", "host", "host:", ":80", "[::1]", "h:99999"])
    t.throws(() => addressOf("--a", text), { name: "UserError" }, text);
  t.end();
});

void t.test("where spans go, and how", (t) => {
  const otlp = "http://127.0.0.1:4318";
  const zipkin = "http://127.0.0.1:9411/api/v2/spans";
  for (const [options, environment, expected] of [
    [{}, {}, undefined],
    [{ otlpEndpoint: "" }, {}, undefined],
    [{}, { OTEL_EXPORTER_OTLP_ENDPOINT: otlp }, [otlp, "http/protobuf"]],
    [{ otlpEndpoint: otlp, otlpProtocol: "grpc" }, {}, [otlp, "grpc"]],
    [
      { otlpEndpoint: otlp },
      { OTEL_EXPORTER_OTLP_PROTOCOL: "grpc" },
      [otlp, "grpc"],
    ],
    [
      { otlpEndpoint: otlp },
      { OTEL_EXPORTER_OTLP_PROTOCOL: "" },
      [otlp, "http/protobuf"],
    ],
    [
      { otlpEndpoint: "https://127.0.0.1:4317" },
      {},
      ["https://127.0.0.1:4317", "http/protobuf"],
    ],
    [
      { otlpEndpoint: "https://otel.test:4317", otlpProtocol: "grpc" },
      {},
      ["https://otel.test:4317", "grpc"],
    ],
    [{ zipkinEndpoint: zipkin }, {}, [zipkin, "zipkin"]],
    [{}, { OTEL_EXPORTER_ZIPKIN_ENDPOINT: zipkin }, [zipkin, "zipkin"]],
    [
      { otlpEndpoint: otlp },
      { OTEL_EXPORTER_ZIPKIN_ENDPOINT: zipkin },
      [otlp, "http/protobuf"],
    ],
    [
      { zipkinEndpoint: zipkin },
      { OTEL_EXPORTER_OTLP_ENDPOINT: otlp },
      [zipkin, "zipkin"],
    ],
  ] as const) {
    const [endpoint, protocol] = expected ?? [];
    t.strictSame(
      spanDestination(options, environment),
      expected === undefined ? undefined : { endpoint, protocol },
    );
  }
  for (const [options, message] of [
    [
      { otlpEndpoint: otlp, otlpProtocol: "http/json" },
      /http\/protobuf or grpc/,
    ],
    [
      { otlpEndpoint: "https://127.0.0.1:4317", otlpProtocol: "grpc" },
      /expected a host name/,
    ],
    [
      { otlpEndpoint: "https://[::1]:4317", otlpProtocol: "grpc" },
      /expected a host name/,
    ],
    [{ otlpEndpoint: otlp, zipkinEndpoint: zipkin }, /not both/],
    [{ zipkinEndpoint: "127.0.0.1:9411" }, /expected a URL/],
  ] as const)
    t.throws(() => spanDestination(options, {}), message);
  const interval = { otlpMetricsInterval: "10s" };
  const both = { otlpEndpoint: otlp, zipkinEndpoint: zipkin, ...interval };
  t.match(spanDestination(both, {}), { protocol: "zipkin" });
  t.match(metricsDestination(both, {}), { endpoint: otlp });
  t.equal(metricsDestination({ otlpEndpoint: otlp }, {}), undefined);
  t.throws(() => metricsDestination(interval, {}), /needs --otlp-endpoint/);
  t.end();
});
