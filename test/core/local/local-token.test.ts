/** The token of this machine's pages: made once, kept from others, and nothing else is taken for it. */
import {
  chmodSync,
  readdirSync,
  readFileSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import t from "tap";
import {
  localToken,
  openLocalToken,
  readLocalToken,
} from "../../../src/core/local/local-token.ts";
import { temporaryDirectory } from "../../support/control-plane/push-control-plane.ts";
import { whileReadOnly } from "../../support/faults/read-only.ts";

void t.test("it is made once, for its owner alone, and stays", async (t) => {
  const file = join(t.testdir(), "state", "sidecar-admin.token");
  const token = await openLocalToken(file);
  const text = readFileSync(file, "utf8").trim();
  t.equal(statSync(file).mode & 0o777, 0o600);
  t.equal(token.file, file);
  t.ok(token.admits(`Bearer ${text}`));
  t.ok((await openLocalToken(file)).admits(`Bearer ${text}`));
  t.equal(await readLocalToken(file), text);
});

void t.test("those who start at once share one", async (t) => {
  const directory = t.testdir();
  const file = join(directory, "token");
  const made = await Promise.all(
    Array.from({ length: 8 }, () => openLocalToken(file)),
  );
  const text = readFileSync(file, "utf8").trim();
  for (const token of made) t.ok(token.admits(`Bearer ${text}`));
  t.strictSame(readdirSync(directory), ["token"], "nothing else is left");
});

void t.test("nothing else is admitted", (t) => {
  const text = "x".repeat(43);
  const token = localToken("file", text);
  t.ok(token.admits(`Bearer ${text}`));
  t.ok(token.admits(`bearer  ${text} `));
  for (const field of [
    undefined,
    "",
    "Bearer",
    "Bearer ",
    text,
    `Basic ${text}`,
    `Bearer ${text}x`,
    `Bearer ${text.slice(1)}`,
    `Bearer ${text} ${text}`,
    `Bearer ${"x".repeat(100_000)}`,
  ])
    t.notOk(token.admits(field), (field ?? "none").slice(0, 60));
  t.end();
});

void t.test(
  "one that others can read, or that is none, is refused",
  async (t) => {
    const file = join(t.testdir(), "token");
    writeFileSync(file, "x".repeat(43), { mode: 0o600 });
    chmodSync(file, 0o644);
    await t.rejects(openLocalToken(file), { message: /is open to others/ });
    chmodSync(file, 0o600);
    writeFileSync(file, "short");
    await t.rejects(openLocalToken(file), { message: /is damaged: remove it/ });
  },
);

void t.test("one in a directory that may only be read is read", async (t) => {
  const directory = join(await temporaryDirectory(t), "state");
  const file = join(directory, "token");
  await openLocalToken(file);
  const text = readFileSync(file, "utf8").trim();
  await whileReadOnly(directory, async () => {
    t.ok((await openLocalToken(file)).admits(`Bearer ${text}`));
    await t.rejects(openLocalToken(`${file}-2`), { code: "EACCES" });
  });
});
