/** Examples of every command, for `--help` and the reference. A test parses each of them. */
import type { Command } from "commander";

/** By the command's words; each line is typed in a shell as it stands. */
const EXAMPLES: Readonly<Record<string, readonly string[]>> = {
  dev: ["wherry dev", "wherry dev --any-ports --no-load"],
  "control-plane": [
    "wherry control-plane --profile development",
    "wherry control-plane --state /var/lib/wherry --advertise 10.0.0.2:15012",
    "wherry control-plane --advertise control-plane:15012 --bootstrap-tokens /run/wherry --bootstrap-account web=shop/web:app=web",
    "wherry control-plane --api 0.0.0.0:15080 --api-certificate api.crt --api-key api.key",
  ],
  sidecar: [
    "wherry sidecar --control-plane 10.0.0.2:15012 --token-file web.token --name web-1 --app-port http=8080",
    "wherry sidecar --control-plane 10.0.0.2:15012 --token-file web.token --upstream 7000=orders.shop",
    "wherry sidecar --control-plane control-plane:15012 --token-file /run/wherry/token --wait-for-token --name web-1",
    "wherry sidecar --resources config/examples/standalone.yaml --certificate web.crt --private-key web.key --trust-bundle root.crt --name web-1",
    "wherry sidecar --config config/systemd/sidecar.yaml --exit-with 4711",
  ],
  wait: [
    "wherry wait -- node server.js",
    "wherry wait --timeout 5s --application",
  ],
  apply: [
    "wherry apply -f config/examples/routes.yaml",
    "wherry apply -f config/examples --dry-run",
    "wherry apply -f config/examples/canary.yaml -f config/examples/routes.yaml --atomic",
  ],
  get: [
    "wherry get services",
    "wherry get httproutes -A -o wide",
    "wherry get tp orders -n shop -o yaml",
  ],
  describe: ["wherry describe authorizationpolicy no-orders -n shop"],
  delete: [
    "wherry delete httproute reviews -n shop",
    "wherry delete -f config/try/deny.yaml --ignore-not-found",
    "wherry delete -f config/try --dry-run",
    "wherry delete workload web-1 -n shop --deregister-only",
  ],
  status: ["wherry status", "wherry status --egress", "wherry status -o json"],
  lint: ["wherry lint config/examples", "wherry lint - -o json < mesh.yaml"],
  test: [
    "wherry test config/examples/tests/shop.yaml",
    "wherry test config/examples/tests/shop.yaml -o junit > report.xml",
  ],
  explain: [
    "wherry explain GET http://orders.shop/x/../admin --from guests/web -f config/examples/deny.yaml",
    "wherry explain GET http://orders.shop/orders --at shop/web-1",
    "wherry explain POST http://reviews.shop/ --from shop/web -H 'x-user: qa'",
  ],
  revoke: [
    "wherry revoke --instance shop/web-1 --reason 'its disk was copied'",
    "wherry revoke --serial 4f3a91c0 --until 48h",
    "wherry revoke --identity spiffe://cluster.local/ns/shop/sa/web",
    "wherry revoke --instance shop/web-1 --undo",
  ],
  "revoke list": ["wherry revoke list", "wherry revoke list -o json"],
  "token create": [
    "wherry token create -n shop --service-account web --label app=web --uses 10 --ttl 24h",
    "wherry token create --role editor --for-namespace shop",
  ],
  "token list": ["wherry token list"],
  "token revoke": ["wherry token revoke enrolment 271a8757"],
  "ca status": ["wherry ca status", "wherry ca status -o json"],
  "ca bundle": ["wherry ca bundle > roots.pem"],
  "ca rotate": [
    "wherry ca rotate --wait",
    "wherry ca rotate --wait --timeout 10m",
    "wherry ca rotate --abandon shop/orders-1",
  ],
  "store show": ["wherry store show"],
  "store accept": ["wherry store accept 271a8757-0f48-4406-b4db-a8dc3fa371db"],
  audit: [
    "wherry audit --since 2h",
    "wherry audit --kind httproute -n shop -o wide",
    "wherry audit --by ApiToken/9b2e4f6a-0f48-4406-b4db-a8dc3fa371db -o json",
  ],
  trace: ["wherry trace", "wherry trace --list", "wherry trace 5029d37a"],
  "demo list": ["wherry demo list"],
  "demo start": ["wherry demo start payments-v1-1"],
  "demo stop": ["wherry demo stop catalog-1/app"],
  "demo kill": ["wherry demo kill control-plane"],
  intercept: [
    "wherry intercept --dry-run",
    "wherry intercept --proxy-uid 1337 --exclude-inbound 22",
    "wherry intercept --remove",
  ],
};

/** The command's words without the program's name: "token create". */
export function wordsOf(command: Command): string {
  const { parent } = command;
  if (parent === null) return "";
  return `${wordsOf(parent)} ${command.name()}`.trim();
}

export function examplesOf(command: Command): readonly string[] {
  return EXAMPLES[wordsOf(command)] ?? [];
}

/** Shows the examples of `command` and of all below it at the end of their help. */
export function addExamples(command: Command): void {
  const examples = examplesOf(command);
  if (examples.length > 0)
    command.addHelpText("after", `\nExamples:\n  ${examples.join("\n  ")}`);
  for (const each of command.commands) addExamples(each);
}
