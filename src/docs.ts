/** `npm run docs`: writes the tables of the README on which the code has the last word. With `--check` it only says whether they are right. */
import { readFileSync, writeFileSync } from "node:fs";
import { API_REASONS } from "./control-plane/api/errors.ts";
import { REASONS } from "./mesh/reasons.ts";
import type { Code } from "./mesh/codes.ts";
import { GRPC_STATUSES } from "./mesh/grpc-status.ts";
import { REFUSALS } from "./wire/refusal.ts";

const README = new URL("../README.md", import.meta.url);

/** By the name in the comments between which each stands. */
const TABLES: Readonly<Record<string, () => string>> = {
  reasons: () =>
    table(
      ["code", "HTTP", "gRPC", "why", "what to do"],
      keysOf(REASONS).map((code) => [
        `\`${code}\``,
        statusesOf(code).join(", "),
        String(GRPC_STATUSES[REASONS[code].response.grpc]),
        REASONS[code].text,
        REASONS[code].hint,
      ]),
    ),
  "reasons of the API": () =>
    table(
      ["reason", "HTTP", "when"],
      keysOf(API_REASONS).map((reason) => [
        `\`${reason}\``,
        String(API_REASONS[reason].status),
        API_REASONS[reason].text,
      ]),
    ),
};

const text = readFileSync(README, "utf8");
const right = Object.entries(TABLES).reduce(put, text);
if (right === text) process.stdout.write("README.md: the tables are right\n");
else if (process.argv.includes("--check")) {
  process.stderr.write(
    "README.md: a table is not what the code says: run npm run docs\n",
  );
  process.exitCode = 1;
} else {
  writeFileSync(README, right);
  process.stdout.write("README.md: written\n");
}

/** That of the proxy, then those that the codec of HTTP/1 has for single faults of the request. */
function statusesOf(code: Code): readonly number[] {
  const own = Object.values(REFUSALS)
    .filter((refusal) => refusal.code === code)
    .map(({ status }) => status);
  return [...new Set([REASONS[code].response.status, ...own])];
}

function put(page: string, [name, make]: [string, () => string]): string {
  const begin = `<!-- ${name}: by npm run docs -->\n`;
  const from = page.indexOf(begin);
  const to = page.indexOf("<!-- end -->", from);
  if (from < 0 || to < 0)
    throw new Error(
      `README.md: there is no "${begin.trim()}" with an "<!-- end -->" behind it: put them where the table is to stand`,
    );
  return `${page.slice(0, from + begin.length)}\n${make()}\n${page.slice(to)}`;
}

/** As prettier would write it. */
function table(head: readonly string[], rows: readonly string[][]): string {
  const widths = head.map((title, column) =>
    Math.max(title.length, ...rows.map((row) => row[column]?.length ?? 0)),
  );
  const line = (cells: readonly string[], fill = " "): string =>
    `| ${cells.map((cell, column) => cell.padEnd(widths[column] ?? 0, fill)).join(" | ")} |\n`;
  const rule = head.map(() => "-");
  return line(head) + line(rule, "-") + rows.map((row) => line(row)).join("");
}

function keysOf<K extends string>(record: Readonly<Record<K, unknown>>): K[] {
  return Object.keys(record) as K[];
}
