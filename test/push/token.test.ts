import t from "tap";
import {
  formatToken,
  hashSecret,
  makeSecret,
  parseToken,
} from "../../src/push/token.ts";

const CA = "ab".repeat(32);

void t.test(
  "a token comes back as it was, with and without an address",
  (t) => {
    for (const token of [
      { id: "0123456789abcdef", ca: CA, secret: makeSecret() },
      {
        id: "0123456789abcdef",
        ca: CA,
        secret: makeSecret(),
        address: "cp.example:15012",
      },
    ]) {
      const text = formatToken(token);
      t.match(text, /^wherry1\.[\w-]+\.[\w-]+$/);
      t.same(parseToken(text), token);
      t.same(parseToken(`${text}\n`), token, "as it comes out of a file");
    }
    t.end();
  },
);

void t.test("what is no token is refused", (t) => {
  const text = formatToken({ id: "a", ca: CA, secret: "s" });
  const facts = (value: unknown): string =>
    `wherry1.${Buffer.from(JSON.stringify(value)).toString("base64url")}.s`;
  for (const [name, bad] of [
    ["empty", ""],
    ["another prefix", text.replace("wherry1", "wherry2")],
    ["no secret", text.slice(0, -1)],
    ["a part too many", `${text}.x`],
    ["not JSON", "wherry1.AAAA.s"],
    ["JSON null", facts(null)],
    ["no id", facts({ ca: CA })],
    ["an id that is no name", facts({ id: "../x", ca: CA })],
    ["no fingerprint", facts({ id: "a" })],
    ["a short fingerprint", facts({ id: "a", ca: "ab" })],
    ["too long", facts({ id: "a", ca: CA, address: "x".repeat(2000) })],
  ] as const)
    t.equal(parseToken(bad), undefined, name);
  t.end();
});

void t.test("secrets are long, different, and kept as a hash", (t) => {
  const secret = makeSecret();
  t.equal(Buffer.from(secret, "base64url").length, 32);
  t.not(makeSecret(), secret);
  t.match(hashSecret(secret), /^[0-9a-f]{64}$/);
  t.end();
});
